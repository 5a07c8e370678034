"""Decoding, changing and encoding pictures with Pillow."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..extras import needs_extra
from ..image_headers import PNG, PNG_PACKED_TEXTS, ImageHeader, png_without
from ..image_operations import Blur, Crop, Enhance, Grayscale, Operation, Resize, Rotate, Sharpen, Size, Thumbnail
from ..picture_scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "pillow"
_EXTRA = "images"
# EXIF 2.3, 4.6.4: how a stored picture is to be turned before it is shown.
_ORIENTATION = 0x0112
_WHITE = (255, 255, 255)


def check() -> None:
    """Find out whether Pillow is there.

    Raises:
        MissingExtraError: it is not.
    """
    with needs_extra(_EXTRA, needed_for="working on pictures"):
        import PIL.Image  # noqa: F401 - whether it can be loaded


class UndecodableError(Exception):
    """The bytes cannot be decoded; the text is the kind of the decoder's error."""


@contextmanager
def _decoding() -> Iterator[None]:
    """One name for all that a decoder raises on hostile bytes, and none of its warnings.

    Warnings are turned off for the whole process, which is why this is for the process lane only: there one attempt
    runs at a time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            raise UndecodableError(type(error).__name__) from error


class Picture:
    """A decoded picture, upright and in sRGB, one of the modes L, RGB and RGBA. Holds nothing but pixels.

    Args:
        data: the file; its header has been found to be within limits.
        header: what its header said.

    Attributes:
        orientation: the EXIF orientation that was applied; 1 for none.
        profile: "none"; "converted" if a colour profile was applied; "unusable" if there was one that could not be.

    Raises:
        MissingExtraError: Pillow is not installed.
        UndecodableError: the data is broken, ends too early, or is of another size than its header says.
    """

    def __init__(self, data: bytes, header: ImageHeader) -> None:
        with needs_extra(_EXTRA, needed_for="working on pictures"):
            from PIL import (
                Image,
                WebPImagePlugin,  # noqa: F401 - registers itself; else all fifty plugins were loaded for it
            )
        with _decoding():
            if header.format == PNG:
                data = png_without(data, PNG_PACKED_TEXTS)
            image = Image.open(io.BytesIO(data), formats=(header.format,))
            if image.size != (header.width, header.height):
                raise ValueError(image.size)
            image.load()
            self.orientation = _orientation(image)
            self._image, self.profile = _to_srgb(_plain(image), image.info.get("icc_profile"))
        self._image = _upright(self._image, self.orientation)
        self._image.info = {}  # some of it would be written along: comments, resolution, the profile

    @property
    def size(self) -> Size:
        return self._image.size

    def apply(self, operation: Operation) -> None:
        """Carry one operation out. Those that only concern the file do nothing to pixels."""
        change = _CHANGES.get(type(operation))
        if change is not None:
            self._image = change(self._image, operation)

    def encode(self, form: str, quality: int) -> bytes:
        """The picture as a file without any metadata. JPEG has no transparency: what shows through is white."""
        image = self._image
        if form == "JPEG" and image.mode == "RGBA":
            image = _on_white(image)
        options: dict[str, Any] = {} if form == PNG else {"quality": quality}
        if form == "JPEG":
            options["optimize"] = True
        target = io.BytesIO()
        image.save(target, form, **options)
        return target.getvalue()


def _orientation(image: Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata is no reason to refuse a picture: it is left out anyway
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _plain(image: Image) -> Image:
    """In a mode that every operation understands; CMYK is left for its colour profile."""
    if image.mode.startswith("I"):  # 16 bits of grey: converting alone would cut off what is over 255
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode == "CMYK" and "icc_profile" in image.info:
        return image
    has_alpha = image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info
    if image.mode in ("1", "L") and not has_alpha:
        return image.convert("L")
    return image.convert("RGBA" if has_alpha else "RGB")


def _to_srgb(image: Image, profile: object) -> tuple[Image, str]:
    """Apply a colour profile, because it is left out with the metadata: without it colours would be others."""
    if not isinstance(profile, bytes) or not profile or image.mode == "L":
        return image, "none"  # of grey a profile only tells a curve, which is near that of sRGB
    from PIL import ImageCms

    mode = "RGB" if image.mode == "CMYK" else image.mode
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() == "GRAY":
            return image.convert(mode), "none"  # of grey with transparency, or as a palette
        converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode=mode)
    except Exception:  # noqa: BLE001 - any kind of damage in a profile; the colours are then taken for sRGB
        return image.convert(mode), "unusable"
    return converted or image.convert(mode), "converted"


@functools.cache
def _srgb() -> Any:
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")


def _on_white(image: Image) -> Image:
    from PIL.Image import new

    flat = new("RGB", image.size, _WHITE)
    flat.paste(image, mask=image.getchannel("A"))
    return flat


# ---- operations


def _scale(image: Image, size: Size) -> Image:
    from PIL.Image import Resampling

    return image if size == image.size else image.resize(size, Resampling.LANCZOS)


def _resize(image: Image, operation: Resize) -> Image:
    width, height = operation.target(image.size)
    if operation.fit != "cover":
        return _scale(image, (width, height))
    # What would be cut off is not scaled at all.
    across, down = image.width / width, image.height / height
    kept = min(across, down)
    left, top = (image.width - width * kept) / 2, (image.height - height * kept) / 2
    from PIL.Image import Resampling

    return image.resize((width, height), Resampling.LANCZOS, box=(left, top, left + width * kept, top + height * kept))


def _rotate(image: Image, operation: Rotate) -> Image:
    from PIL.Image import Resampling, Transpose

    quarter_turns: dict[float, Transpose | None] = {
        0: None,
        90: Transpose.ROTATE_270,
        180: Transpose.ROTATE_180,
        270: Transpose.ROTATE_90,
    }
    degrees = operation.degrees % 360
    if degrees in quarter_turns and (operation.expand or degrees in (0, 180)):
        turn = quarter_turns[degrees]
        return image if turn is None else image.transpose(turn)
    # The corners that appear show through.
    return image.convert("RGBA").rotate(-degrees, Resampling.BICUBIC, expand=operation.expand)


def _grayscale(image: Image, _: Grayscale) -> Image:
    if image.mode == "RGBA":
        return image.convert("LA").convert("RGBA")
    return image.convert("L")


def _blur(image: Image, operation: Blur) -> Image:
    from PIL import ImageFilter

    return _filtered(image, ImageFilter.GaussianBlur(operation.radius))


def _sharpen(image: Image, operation: Sharpen) -> Image:
    from PIL import ImageFilter

    return _filtered(image, ImageFilter.UnsharpMask(operation.radius, operation.percent, operation.threshold))


def _filtered(image: Image, kernel: Any) -> Image:
    if image.mode != "RGBA":
        return image.filter(kernel)
    # Colours weighted with how much they show: what is transparent has some colour too, which must not bleed out.
    return image.convert("RGBa").filter(kernel).convert("RGBA")


def _enhance(image: Image, operation: Enhance) -> Image:
    from PIL import ImageEnhance

    for enhancer, factor in (
        (ImageEnhance.Contrast, operation.contrast),
        (ImageEnhance.Brightness, operation.brightness),
        (ImageEnhance.Color, operation.color),
    ):
        if factor != 1.0:
            image = enhancer(image).enhance(factor)
    return image


_CHANGES: dict[type, Callable[[Any, Any], Any]] = {
    Resize: _resize,
    Thumbnail: lambda image, it: _scale(image, it.target(image.size)),
    Crop: lambda image, it: image.crop((it.left, it.top, it.left + it.width, it.top + it.height)),
    Rotate: _rotate,
    Grayscale: _grayscale,
    Blur: _blur,
    Sharpen: _sharpen,
    Enhance: _enhance,
}


# ---- drawing

# Shapes are drawn so many times larger each way and then made smaller, which smooths their edges.
_OVERSAMPLED, _OVERSAMPLED_UP_TO_PIXELS = 2, 2_000_000


def paint(scene: Scene, size: Size) -> bytes:
    """A scene as a PNG of a size in pixels.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    with needs_extra(_EXTRA, needed_for="drawing pictures"):
        from PIL import Image, ImageDraw, ImageOps
    factor = _OVERSAMPLED if size[0] * size[1] <= _OVERSAMPLED_UP_TO_PIXELS else 1
    width, height = size[0] * factor, size[1] * factor
    canvas = ImageOps.colorize(Image.linear_gradient("L").resize((width, height)), scene.top, scene.bottom)
    pen = ImageDraw.Draw(canvas)
    for shape in scene.shapes:
        points = [(x * height, y * height) for x, y in shape.points]
        (pen.ellipse if shape.kind == "ellipse" else pen.polygon)(points, fill=shape.colour)
    target = io.BytesIO()
    (canvas.reduce(factor) if factor > 1 else canvas).save(target, PNG)
    return target.getvalue()
