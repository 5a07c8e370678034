"""Pictures from a diffusion model in a local directory, with diffusers and torch."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
from collections.abc import Callable
from typing import Any

from ...errors import MissingExtraError, PermanentError
from ..extras import needs_extra
from ..model_directory import check_directory
from ..picture_request import PictureRequest

NAME = "diffusers"
TAKES = frozenset({"negative_prompt", "seed", "steps", "guidance_scale"})
_EXTRA, _NEEDED_FOR = "diffusers", "IMAGE_GENERATION with provider 'diffusers'"


def check(directory: str) -> None:
    """Find out whether the libraries and the model are there, without loading either.

    Raises:
        MissingExtraError: a library is not installed.
        ConfigurationError, PermanentError: the model is not there, damaged, or would run code.
    """
    if any(importlib.util.find_spec(name) is None for name in ("diffusers", "torch", "transformers")):
        raise MissingExtraError(_EXTRA, needed_for=_NEEDED_FOR)
    check_directory(directory)


def generate(
    directory: str, request: PictureRequest, seed: int, on_step: Callable[[float], None]
) -> tuple[bytes, int, int]:
    """Make one picture: a PNG, its width and its height. Takes seconds to minutes, and most of a processor.

    Args:
        on_step: told the part that is done, 0 to 1, after each step.

    Raises:
        MissingExtraError, ConfigurationError, PermanentError: as ``check``, or the model cannot do what was asked.
    """
    check_directory(directory)
    pipeline = _pipeline(directory)
    import torch

    options: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
    }

    def step_ended(pipe: Any, step: int, _: object, values: dict[str, Any]) -> dict[str, Any]:
        on_step((step + 1) / max(1, pipe.num_timesteps))
        return values

    try:
        image = pipeline(
            **{name: value for name, value in options.items() if value is not None},
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=step_ended,
        ).images[0]
    except (ValueError, TypeError) as error:
        # What a model does not take: a side that is no multiple of 8, a wish its pipeline does not know.
        raise PermanentError(f"the model in {directory!r} refused the request ({type(error).__name__})") from error
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue(), image.width, image.height


@functools.lru_cache(maxsize=1)
def _pipeline(directory: str) -> Any:
    """The model, loaded once per worker."""
    # Read when the libraries are imported, in this worker only. Nothing is ever fetched, whatever a model refers to.
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    with needs_extra(_EXTRA, needed_for=_NEEDED_FOR):
        import torch
        import transformers
        from diffusers import DiffusionPipeline
        from diffusers.utils import logging
    logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            directory, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:
        raise PermanentError(f"the model in {directory!r} cannot be loaded ({type(error).__name__})") from error
    for name, part in pipeline.components.items():
        # What the weights do not fill is left empty without an error, and fails at the first picture.
        if isinstance(part, torch.nn.Module) and any(item.is_meta for item in part.parameters()):
            raise PermanentError(f"the weights of {name!r} of the model in {directory!r} are not its own")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
