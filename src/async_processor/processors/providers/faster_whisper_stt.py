"""Speech recognition by Whisper, with ``faster-whisper`` and a model from a folder of the operator's.

Nothing is ever downloaded. The library would: it takes a folder that is not there for the name of a model, and asks
a hub for a tokenizer that is missing. So the folder is looked at before the library is, and the hub's client is told
to stay offline.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError, ProcessorNotAvailableError
from ..extras import missing_extra, needs_extra
from ..recognition import Heard, HeardWord
from ..samples import silent

if TYPE_CHECKING:
    from ..samples import Samples

NAME = "faster-whisper"
_EXTRA, _NEEDED_FOR = "whisper", "AUDIO_TRANSCRIPTION with Whisper"
_FILES = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
# Whisper's windows are of 30 s, so an utterance of a moment costs as much as one of half a minute.
_PROBE_SAMPLES = 1_600


class FasterWhisper:
    """A ``LocalRecognizer``.

    Args:
        folder: of the model.
        threads: how many one recognition may use.
    """

    provider = NAME
    default_language = None

    def __init__(self, folder: str, threads: int) -> None:
        self._folder = Path(folder)
        self._threads = threads

    @property
    def model(self) -> str:
        return self._folder.resolve().name

    @property
    def languages(self) -> tuple[str, ...]:
        # "en" only, where the model is of English alone.
        return tuple(_load(self._folder, self._threads).supported_languages)

    def check(self) -> None:
        if missing_extra(_EXTRA, _NEEDED_FOR, "faster_whisper", "ctranslate2", "tokenizers"):
            raise MissingExtraError(_EXTRA, needed_for=_NEEDED_FOR)
        _check_files(self._folder)

    def recognise(self, samples: Samples, language: str | None) -> Heard:
        parts, found = _transcribe(_load(self._folder, self._threads), samples, language)
        words = [word for part in parts for word in part.words or ()]
        return Heard(
            text="".join(part.text for part in parts).strip(),
            # The library hands on numbers of NumPy's.
            words=tuple(
                HeardWord(word.word.strip(), float(word.start), float(word.end), float(word.probability))
                for word in words
            ),
            language=found,
        )


def _transcribe(model: Any, samples: Samples, language: str | None) -> tuple[list[Any], str]:
    # No sampling: the same recording gives the same words. Nothing of the text before as a prompt: a wrong word
    # would draw others after it.
    segments, info = model.transcribe(
        samples, language=language, temperature=0.0, condition_on_previous_text=False, word_timestamps=True
    )
    return list(segments), str(info.language)


@functools.lru_cache(maxsize=1)
def _load(folder: Path, threads: int) -> Any:
    """The model, kept for the life of the worker process."""
    # Read when the hub's client is imported, which the library does.
    os.environ["HF_HUB_OFFLINE"] = "1"
    with needs_extra(_EXTRA, needed_for=_NEEDED_FOR):
        from faster_whisper import WhisperModel
    _check_files(folder)
    try:
        # On processors, which count in 8 bit: a quarter of the memory of 32.
        model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
        # Some of what is broken shows only when it runs. English is the one language that every model has.
        _transcribe(model, silent(_PROBE_SAMPLES), "en")
    except Exception as error:  # a border: what readers of broken files raise has no list
        raise ProcessorNotAvailableError(
            f"the Whisper model in {str(folder)!r} cannot be used ({type(error).__name__}); {_REMEDY}"
        ) from error
    return model


_REMEDY = "copy it there anew, whole and in CTranslate2's format (SpeechConfig.whisper_model_dir)"


def _check_files(folder: Path) -> None:
    """Raise for a folder that the library would miss something in, or that holds what is not JSON where it must be."""
    if not folder.is_dir():
        raise ProcessorNotAvailableError(f"there is no folder {str(folder)!r}; {_REMEDY}")
    missing = [name for name in _FILES if not _has(folder, name)]
    if not any(_has(folder, name) for name in _VOCABULARIES):
        missing.append(" or ".join(_VOCABULARIES))
    if missing:
        raise ProcessorNotAvailableError(
            f"the Whisper model in {str(folder)!r} has no {', '.join(missing)} (or nothing in it); {_REMEDY}"
        )
    try:
        usable = isinstance(json.loads((folder / "config.json").read_bytes()), dict)
    except (ValueError, RecursionError):
        usable = False
    if not usable:
        raise ProcessorNotAvailableError(f"config.json in {str(folder)!r} is broken; {_REMEDY}")


def _has(folder: Path, name: str) -> bool:
    file = folder / name
    return file.is_file() and file.stat().st_size > 0
