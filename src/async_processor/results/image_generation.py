"""The result of IMAGE_GENERATION."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import Result


@dataclass(slots=True, frozen=True, kw_only=True)
class ImageGenerationResult(Result):
    """A picture of what a prompt says.

    Attributes:
        image_data: the file.
        format: of the file, such as "PNG".
        width, height: in pixels.
        seed: the seed it was made with; None where the provider has none.
        provider: who made it; "procedural" for a drawing.
        model: the model that made it; None where there is none, or it is not known.
        generated: whether an image model made it.
        offline: whether it was made on this machine, without any request.
        warnings: what was left out, models that end, that it is a drawing, in words.
    """

    image_data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    seed: int | None
    provider: str
    model: str | None
    generated: bool
    offline: bool
    warnings: tuple[str, ...]
