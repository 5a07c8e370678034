"""The result of IMAGE_PROCESSING."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import Result


@dataclass(slots=True, frozen=True, kw_only=True)
class ImageProcessingResult(Result):
    """A picture, changed and written anew.

    Attributes:
        image_data: the file.
        format: of the file, such as "PNG".
        width, height: of it, in pixels.
        original_format: of what was sent.
        original_width, original_height: of what was sent, upright, in pixels.
        original_frames: how many pictures the file held.
        operations: names of what was done, in order.
        orientation: the EXIF orientation that was applied, 1 to 8; 1 for none.
        warnings: frames that were not used, a colour profile that could not be read, in words.
        provider: the library.
        offline: True.
    """

    image_data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    original_format: str
    original_width: int
    original_height: int
    original_frames: int
    operations: tuple[str, ...]
    orientation: int
    warnings: tuple[str, ...]
    provider: str
    offline: bool
