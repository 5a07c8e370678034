"""What can be done to a picture: each operation, how it is read from a payload, and how large its result is.

Knows no library. Sizes are worked out here, before a pixel moves, so that nothing larger than allowed is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidPayloadError
from . import payload as read
from .payload import invalid

OPERATION, OPERATIONS = "operation", "operations"
OUTPUT_FORMATS = ("JPEG", "PNG", "WEBP")
MAX_OPERATIONS = 32
MAX_SIDE = 65_500
"""Longest side that can be asked for, in pixels: what JPEG can hold."""

Size = tuple[int, int]


@dataclass(slots=True, frozen=True)
class Resize:
    """To a size in pixels. With one side given the other keeps the proportions; with both, ``fit`` decides.

    ``fit``: "fill" stretches; "contain" makes it as large as fits; "cover" fills the size and cuts off what is over.
    """

    width: int | None
    height: int | None
    fit: str = "fill"

    def scaled(self, size: Size) -> Size:
        """The size to scale to, before anything is cut off."""
        across, down = (
            None if to is None else to / now for to, now in zip((self.width, self.height), size, strict=True)
        )
        if across is not None and down is not None and self.fit == "fill":
            return self.width or 1, self.height or 1
        factors = [factor for factor in (across, down) if factor is not None]
        factor = max(factors) if self.fit == "cover" else min(factors)
        return _times(size, factor)

    def target(self, size: Size) -> Size:
        if self.fit == "cover" and self.width is not None and self.height is not None:
            return self.width, self.height
        return self.scaled(size)


@dataclass(slots=True, frozen=True)
class Thumbnail:
    """As large as fits into a size, proportions kept; never larger than it was."""

    width: int
    height: int

    def target(self, size: Size) -> Size:
        return _times(size, min(1.0, self.width / size[0], self.height / size[1]))


@dataclass(slots=True, frozen=True)
class Crop:
    """Cut a rectangle out; in pixels, from the left and the top."""

    left: int
    top: int
    width: int
    height: int

    def target(self, size: Size) -> Size:
        if self.left + self.width > size[0] or self.top + self.height > size[1]:
            raise invalid(
                OPERATIONS,
                f"crops {self.width} x {self.height} pixels at {self.left}, {self.top}, but the picture has "
                f"{size[0]} x {size[1]} there; send a rectangle that lies within",
            )
        return self.width, self.height


@dataclass(slots=True, frozen=True)
class Rotate:
    """Turn clockwise by degrees. With ``expand`` the result is as large as the turned picture needs."""

    degrees: float
    expand: bool = True

    def target(self, size: Size) -> Size:
        """The size; at most this where it depends on how pixels are rounded."""
        if not self.expand or self.degrees % 180 == 0:
            return size
        if self.degrees % 90 == 0:
            return size[1], size[0]
        turn = math.radians(self.degrees)
        across, down = abs(math.cos(turn)), abs(math.sin(turn))
        width, height = size
        return math.ceil(width * across + height * down) + 1, math.ceil(width * down + height * across) + 1


@dataclass(slots=True, frozen=True)
class _SameSize:
    def target(self, size: Size) -> Size:
        return size


@dataclass(slots=True, frozen=True)
class Convert(_SameSize):
    """Write the result in another format, one of ``OUTPUT_FORMATS``."""

    format: str


@dataclass(slots=True, frozen=True)
class Grayscale(_SameSize):
    """Brightness only."""


@dataclass(slots=True, frozen=True)
class Blur(_SameSize):
    """Gaussian, by a radius (standard deviation) in pixels."""

    radius: float


@dataclass(slots=True, frozen=True)
class Sharpen(_SameSize):
    """Unsharp mask: ``percent`` of the difference to a blur of ``radius`` pixels, where it is over ``threshold``."""

    radius: float
    percent: int
    threshold: int


@dataclass(slots=True, frozen=True)
class Enhance(_SameSize):
    """Factors, 1.0 for no change: ``contrast`` about the mean, ``brightness`` from black, ``color`` from grey."""

    contrast: float
    brightness: float
    color: float


@dataclass(slots=True, frozen=True)
class StripMetadata(_SameSize):
    """Leave out what is not pixels: EXIF, places, comments. Done with every picture; so nothing is left to do."""


Operation = Resize | Thumbnail | Crop | Rotate | Convert | Grayscale | Blur | Sharpen | Enhance | StripMetadata


def read_operations(payload: Mapping[str, Any]) -> list[tuple[str, Operation]]:
    """The operations of a payload with their names: a list, or one whose parameters stand beside it; none if not given.

    Raises:
        InvalidPayloadError: naming the operation and the parameter.
    """
    if payload.get(OPERATION) is not None:
        if payload.get(OPERATIONS) is not None:
            raise invalid(OPERATION, f"is given, and so is payload[{OPERATIONS!r}]; send one of the two")
        return [_read_one(payload)]
    wanted = "a list such as [{'operation': 'resize', 'width': 512}]"
    items: Sequence[Any] = read.optional(payload, OPERATIONS, (list, tuple), wanted) or ()
    if len(items) > MAX_OPERATIONS:
        raise invalid(OPERATIONS, f"has {len(items)} entries; send at most {MAX_OPERATIONS}")
    return [_read_entry(number, item) for number, item in enumerate(items)]


def _read_entry(number: int, item: object) -> tuple[str, Operation]:
    if not isinstance(item, Mapping):
        raise invalid(OPERATIONS, f"must hold mappings such as {{'operation': 'blur'}}; entry {number} is none")
    try:
        return _read_one(item)
    except InvalidPayloadError as error:
        inner = error.message.removeprefix("payload")
    raise InvalidPayloadError(f"payload[{OPERATIONS!r}][{number}]{inner}", field=OPERATIONS)


def _read_one(item: Mapping[str, Any]) -> tuple[str, Operation]:
    name = read.choice(item, OPERATION, None, list(_READERS))
    return name, _READERS[name](item)


def _side(item: Mapping[str, Any], key: str) -> int | None:
    return None if item.get(key) is None else read.whole(item, key, None, 1, MAX_SIDE)


def _resize(item: Mapping[str, Any]) -> Operation:
    width, height = _side(item, "width"), _side(item, "height")
    if width is None and height is None:
        raise invalid("width", "is missing, and so is 'height'; send one of them or both, in pixels")
    return Resize(width, height, read.choice(item, "fit", "fill", ("fill", "contain", "cover")))


def _thumbnail(item: Mapping[str, Any]) -> Operation:
    width, height = _side(item, "width"), _side(item, "height")
    if width is None and height is None:
        raise invalid("width", "is missing, and so is 'height'; send the square or rectangle to fit into, in pixels")
    return Thumbnail(width or height or 1, height or width or 1)


def _crop(item: Mapping[str, Any]) -> Operation:
    return Crop(
        read.whole(item, "left", 0, 0, MAX_SIDE),
        read.whole(item, "top", 0, 0, MAX_SIDE),
        read.whole(item, "width", None, 1, MAX_SIDE),
        read.whole(item, "height", None, 1, MAX_SIDE),
    )


def _rotate(item: Mapping[str, Any]) -> Operation:
    expand = read.optional(item, "expand", bool, "true or false")
    return Rotate(read.number(item, "degrees", None, -360, 360), True if expand is None else expand)


def read_format(item: Mapping[str, Any], key: str, default: str | None) -> str:
    """A format to write, in any case; "jpg" will do."""
    name = item.get(key)
    if isinstance(name, str) and name.casefold() == "jpg":
        return "JPEG"
    return read.choice(item, key, default, OUTPUT_FORMATS)


def _sharpen(item: Mapping[str, Any]) -> Operation:
    return Sharpen(
        read.number(item, "radius", 2.0, 0, 100),
        read.whole(item, "percent", 150, 0, 1_000),
        read.whole(item, "threshold", 3, 0, 255),
    )


def _enhance(item: Mapping[str, Any]) -> Operation:
    factors = ("contrast", "brightness", "color")
    if all(item.get(name) is None for name in factors):
        raise invalid(
            factors[0], "is missing, and so are 'brightness' and 'color'; send one or more, 1.0 for no change"
        )
    contrast, brightness, color = (read.number(item, name, 1.0, 0, 10) for name in factors)
    return Enhance(contrast, brightness, color)


_READERS: dict[str, Callable[[Mapping[str, Any]], Operation]] = {
    "resize": _resize,
    "crop": _crop,
    "thumbnail": _thumbnail,
    "rotate": _rotate,
    "convert": lambda item: Convert(read_format(item, "format", None)),
    "grayscale": lambda _: Grayscale(),
    "blur": lambda item: Blur(read.number(item, "radius", 2.0, 0, 100)),
    "sharpen": _sharpen,
    "enhance": _enhance,
    "strip_metadata": lambda _: StripMetadata(),
}


def _times(size: Size, factor: float) -> Size:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
