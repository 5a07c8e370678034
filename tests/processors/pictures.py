"""Pictures for tests: the public sample photos, and what is made here, good and hostile."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image
from tests.processors.recordings import context, sample

from async_processor.config import ImageConfig
from async_processor.model import ProcessingTask, ProcessingType
from async_processor.processors.image_processing import process

__all__ = ["opened", "photo", "processed", "saved"]

PNG_MARK = b"\x89PNG\r\n\x1a\n"


def photo(name: str) -> bytes:
    """The bytes of a sample photo; skips the test where there are none."""
    return sample(name)


def processed(payload: dict, config: ImageConfig | None = None, progress=None) -> dict:
    task = ProcessingTask(ProcessingType.IMAGE_PROCESSING, payload)
    return process(task, context(task, progress=progress), config=config or ImageConfig())


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def gradient(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture whose every corner is of another colour."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.new("L", (width, height), 128))).convert(mode)


def png_chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *before_pixels: bytes, pixels: bytes | None = None, colour: int = 0) -> bytes:
    """A PNG of one grey, of any size; no big one is ever held here."""
    if pixels is None:
        pixels = _packed_zeros((width + 1) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"".join(
        [PNG_MARK, png_chunk(b"IHDR", head), *before_pixels, png_chunk(b"IDAT", pixels), png_chunk(b"IEND")]
    )


def _packed_zeros(count: int) -> bytes:
    """So many zeros in zlib's format (RFC 1950), put together from the same million again and again."""
    block, last = zlib.compressobj(9, wbits=-15), zlib.compressobj(9, wbits=-15)
    million = block.compress(bytes(1_000_000)) + block.flush(zlib.Z_FULL_FLUSH)
    rest = last.compress(bytes(count % 1_000_000)) + last.flush()
    checksum = count % 65_521 << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + million * (count // 1_000_000) + rest + struct.pack(">I", checksum)


def gif(frames: int, width: int = 1, height: int = 1) -> bytes:
    """A GIF of so many frames of one pixel on a screen of any size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose header tells any size."""
    data = bytearray(saved(gradient(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int, frames: int = 1) -> bytes:
    """An extended WebP that is nothing but its header and frames without content."""
    head = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + _three(width - 1) + _three(height - 1)
    body = head + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + (b"ANMF" + struct.pack("<I", 16) + bytes(16)) * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
