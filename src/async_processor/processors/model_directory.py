"""Whether a directory holds a diffusion model that can be loaded without running code from it. Needs no library.

Weights in the format of pickle run code when they are read, and so do ``.py`` files that a model brings: where there
are any, nothing is loaded. Weights as safetensors are only numbers behind a header of JSON; it is read here, so that a
file that is damaged is told before a library of a gigabyte is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, PermanentError

_INDEX = "model_index.json"
_RUNS_CODE = frozenset({".py", ".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})
# Where the classes of a model's parts may come from; all of these are within diffusers and transformers.
_LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion", "stable_diffusion_xl"})
# Parts that hold weights, by how their class is called; schedulers and tokenizers hold none.
_WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor")
_MAX_JSON_BYTES = 100_000_000


def check_directory(directory: str) -> None:
    """Find out whether a directory holds a whole model in the layout of diffusers.

    Raises:
        ConfigurationError: the directory, or a file that must be in it, is missing.
        PermanentError: what is in it is damaged, or would run code.
    """
    root = Path(directory)
    if not (root / _INDEX).is_file():
        raise ConfigurationError(
            f"no model in {directory!r}: it must be the directory that holds {_INDEX}, as diffusers saves it"
        )
    running = sorted(path.name for path in root.rglob("*") if path.suffix.lower() in _RUNS_CODE)
    if running:
        raise PermanentError(
            f"the model in {directory!r} holds {running[0]!r}, which would run code when it is loaded: "
            "use a copy whose weights are saved as safetensors, and remove that file"
        )
    for part, kind in _parts(root).items():
        _check_part(root / part, kind)


def _parts(root: Path) -> dict[str, str]:
    """The parts that the index lists, and the class of each."""
    found = {}
    for part, entry in _read_json(root / _INDEX).items():
        if part.startswith("_") or not isinstance(entry, list) or entry == [None, None]:
            continue  # about the model itself, a setting, or a part that it does without
        library, kind = entry if len(entry) == 2 else (None, None)
        if library not in _LIBRARIES or not isinstance(kind, str) or not part.isidentifier():
            raise PermanentError(
                f"{_INDEX} of the model in {str(root)!r} takes {part!r} from elsewhere than diffusers and "
                "transformers, which would run code that came with it"
            )
        found[part] = kind
    if not found:
        raise PermanentError(f"{_INDEX} of the model in {str(root)!r} lists no parts; fetch the model anew")
    return found


def _check_part(folder: Path, kind: str) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"the model in {str(folder.parent)!r} lacks its part {folder.name!r}")
    if kind.endswith(_WITHOUT_WEIGHTS):
        return
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ConfigurationError(f"the model in {str(folder.parent)!r} lacks {folder.name}/*.safetensors")
    for path in weights:
        _check_weights(path)


def _check_weights(path: Path) -> None:
    """Compare the header of a safetensors file with its size: eight bytes of length, JSON, and then the numbers."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, _MAX_JSON_BYTES):
                raise ValueError(length)
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends) == size
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise PermanentError(f"{str(path)!r} is damaged or was not copied whole; fetch the model anew")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping):
        raise PermanentError(f"{str(path)!r} is damaged; fetch the model anew")
    return value
