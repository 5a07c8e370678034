"""IMAGE_PROCESSING: change a picture and write it anew, without its metadata. Described in docs/image-processing.md."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import ImageConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import ConfigurationError, MissingExtraError
from ..model import LaneName, ProcessingTask
from ..results.image_processing import ImageProcessingResult
from . import payload as read
from .image_headers import GIF, HeaderError, ImageHeader, read_header
from .image_operations import (
    OPERATIONS,
    Convert,
    Operation,
    Size,
    read_format,
    read_operations,
)
from .payload import invalid
from .providers import pillow_images
from .providers.pillow_images import Picture, UndecodableError
from .registry import ProcessorSpec, Readiness, inspect_function

FIELD, OUTPUT_FORMAT, QUALITY = "image_data", "output_format", "quality"
DEFAULT_QUALITY = 85
# What each format can hold; JPEG as libjpeg has it.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "PNG": 2**31 - 1}
# Where Pillow itself refuses; above half of it warns.
_PILLOW_MAX_PIXELS = 178_956_970
_WANTED = "the bytes of a picture (JPEG, PNG, WebP or GIF)"


@dataclass(slots=True, frozen=True)
class ImageWish:
    """What a payload asks for, before its picture was looked at.

    Attributes:
        data: the file, as it came.
        operations: what to do, in this order, with the names under which it was asked for.
        output_format: what to write, one of ``OUTPUT_FORMATS``; None to go by what the picture is.
        quality: of JPEG and WebP, 1 to 100.
    """

    data: read.Buffer
    operations: tuple[tuple[str, Operation], ...]
    output_format: str | None
    quality: int


@dataclass(slots=True, frozen=True)
class ImageRequest:
    """One picture and what to do with it.

    Attributes:
        data: the file.
        header: what its header says, found to be within the limits.
        operations: what to do, in this order, with the names under which it was asked for.
        output_format: what to write, one of ``OUTPUT_FORMATS``: as it came unless asked for, and PNG for a GIF.
        quality: of JPEG and WebP, 1 to 100.
    """

    data: bytes
    header: ImageHeader
    operations: tuple[tuple[str, Operation], ...]
    output_format: str
    quality: int


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How IMAGE_PROCESSING runs: in the process lane, because it decodes bytes that nobody vouches for.

    Raises:
        ConfigurationError: more pixels are allowed than the decoder takes.
    """
    if config.images.max_pixels > _PILLOW_MAX_PIXELS:
        raise ConfigurationError(f"ImageConfig.max_pixels must be at most {_PILLOW_MAX_PIXELS}: Pillow takes no more")
    return inspect_function(
        functools.partial(process, config=config.images),
        lane=LaneName.PROCESS,
        check=lambda task: read_wish(task.payload, config.images),
        readiness=_readiness,
        example=_example,
    )


async def _readiness() -> Readiness:
    try:
        await asyncio.to_thread(pillow_images.check)  # importing it takes a while
    except MissingExtraError as error:
        return Readiness(provider=pillow_images.NAME, offline=True, problem=error.message)
    return Readiness(provider=pillow_images.NAME, offline=True)


def _example() -> dict[str, Any]:
    return {FIELD: _PIXEL, OPERATIONS: [{"operation": "resize", "width": 8, "height": 8}]}


# One grey pixel.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636800000082008177cd72b6"
    "0000000049454e44ae426082"
)


def process(task: ProcessingTask, context: TaskContext, *, config: ImageConfig) -> dict[str, Any]:
    """Turn the picture upright, carry out the operations in their order, and write it anew.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "images" is not installed.
    """
    request = read_request(task.payload, config)
    try:
        picture = Picture(request.data, request.header)
    except UndecodableError as error:
        problem = f"cannot be decoded ({error}): it is damaged or ends early; send the whole {request.header.format}"
        raise invalid(FIELD, problem) from error
    context.report_progress(0.5, "decoded")
    upright = picture.size
    for _, operation in request.operations:
        _check_target(operation.target(picture.size), config)
        picture.apply(operation)
    _check_file(picture.size, request.output_format)
    context.report_progress(0.8, "changed")
    return _result(request, picture, upright).as_dict()


def _result(request: ImageRequest, picture: Picture, upright: Size) -> ImageProcessingResult:
    width, height = picture.size
    return ImageProcessingResult(
        image_data=picture.encode(request.output_format, request.quality),
        format=request.output_format,
        width=width,
        height=height,
        original_format=request.header.format,
        original_width=upright[0],
        original_height=upright[1],
        original_frames=request.header.frames,
        operations=tuple(name for name, _ in request.operations),
        orientation=picture.orientation,
        warnings=tuple(_warnings(request, picture)),
        provider=pillow_images.NAME,
        offline=True,
    )


def _warnings(request: ImageRequest, picture: Picture) -> list[str]:
    found = []
    if request.header.frames > 1:
        found.append(f"only the first of {request.header.frames} frames was used")
    if picture.profile == "unusable":
        found.append("the colour profile could not be read; colours were taken for sRGB")
    return found


def read_wish(payload: Mapping[str, Any], config: ImageConfig) -> ImageWish:
    """What a payload asks for. Does not look at the picture, so it takes no time to speak of.

    Raises:
        InvalidPayloadError: the payload cannot be used; ``field`` names the key.
    """
    data = read.buffer(payload, FIELD, _WANTED, config.max_image_bytes, "ImageConfig.max_image_bytes")
    operations = read_operations(payload)
    return ImageWish(
        data,
        tuple(operations),
        _output_format(payload, operations),
        read.whole(payload, QUALITY, DEFAULT_QUALITY, 1, 100),
    )


def read_request(payload: Mapping[str, Any], config: ImageConfig) -> ImageRequest:
    """A payload as a request. Looks at the picture's header; decodes nothing and needs no library.

    Raises:
        InvalidPayloadError: the payload cannot be used; ``field`` names the key.
    """
    wish = read_wish(payload, config)
    data = bytes(wish.data)
    header = checked_header(data, config)
    return ImageRequest(
        data,
        header,
        wish.operations,
        wish.output_format or ("PNG" if header.format == GIF else header.format),
        wish.quality,
    )


def checked_header(data: bytes, config: ImageConfig) -> ImageHeader:
    """The header of a picture that is within the limits.

    Raises:
        InvalidPayloadError: it is no picture of a format that is read here, or is too large.
    """
    try:
        header = read_header(data)
    except HeaderError as error:
        raise invalid(FIELD, f"{error}; send {_WANTED}") from None
    if header.width * header.height > config.max_pixels:
        raise invalid(
            FIELD,
            f"is a picture of {header.width} x {header.height} pixels; send at most {config.max_pixels} pixels "
            "(ImageConfig.max_pixels)",
        )
    if header.frames > config.max_frames:
        raise invalid(FIELD, f"has {header.frames} frames; send at most {config.max_frames} (ImageConfig.max_frames)")
    return header


def _output_format(payload: Mapping[str, Any], operations: list[tuple[str, Operation]]) -> str | None:
    """What the last conversion says, else ``output_format``, else None."""
    wished = read_format(payload, OUTPUT_FORMAT, "") if payload.get(OUTPUT_FORMAT) is not None else None
    converted = next((item.format for _, item in reversed(operations) if isinstance(item, Convert)), None)
    if wished and converted and wished != converted:
        raise invalid(OUTPUT_FORMAT, f"is {wished}, but the last 'convert' says {converted}; send one of the two")
    return converted or wished


def _check_target(size: Size, config: ImageConfig) -> None:
    width, height = size
    if width * height > config.max_pixels:
        raise invalid(
            OPERATIONS,
            f"would make a picture of {width} x {height} pixels; send sizes that come to at most {config.max_pixels} "
            "pixels (ImageConfig.max_pixels)",
        )


def _check_file(size: Size, form: str) -> None:
    longest = LONGEST_SIDE[form]
    if max(size) > longest:
        raise invalid(
            OUTPUT_FORMAT,
            f"is {form}, which holds at most {longest} pixels a side, and the picture has {size[0]} x {size[1]}; "
            "send another format, or make it smaller",
        )
