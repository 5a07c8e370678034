"""What the header of a picture says: format, size, how many frames. No library is asked and no pixel is decoded.

A few hundred bytes can stand for gigabytes of pixels, so the size is looked at before a decoder sees anything. The walk
over a file's blocks is bounded by its length: what is cut into more pieces than any encoder makes is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

PNG, JPEG, WEBP, GIF = "PNG", "JPEG", "WEBP", "GIF"
FORMATS = (JPEG, PNG, WEBP, GIF)

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
# Encoders cut into pieces of kilobytes, GIF of 255 bytes. An eighth of that on average is beyond doubt.
_BYTES_PER_BLOCK, _BLOCKS = 32, 10_000
# Markers of JPEG that begin a frame (ITU T.81, table B.1): C0 to CF but for the tables C4 and CC, and C8.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE, _FILL = 0xDA, 0xD9, 0xFF
_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B


class HeaderError(Exception):
    """The bytes are no picture of a format that is read here; the text completes "the picture ..."."""


@dataclass(slots=True, frozen=True)
class ImageHeader:
    """What a header claims.

    Attributes:
        format: one of ``FORMATS``.
        width, height: in pixels, as stored: an orientation is not applied.
        frames: pictures in the file; of an animation, all that are announced or found.
    """

    format: str
    width: int
    height: int
    frames: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a PNG, JPEG, WebP or GIF.

    Raises:
        HeaderError: it is of another format, or ends before it tells the size.
    """
    try:
        header = _read(data)
    except IndexError:
        raise HeaderError("ends within its header") from None
    if header is None:
        raise HeaderError("is of no format that is read here")
    if not header.width or not header.height:
        raise HeaderError("says in its header that it has no pixels")
    return header


def _read(data: bytes) -> ImageHeader | None:
    if data.startswith(_PNG_MARK):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    return None


class _Budget:
    """How many blocks a file of this length may be cut into."""

    __slots__ = ("_left",)

    def __init__(self, data: bytes) -> None:
        self._left = _BLOCKS + len(data) // _BYTES_PER_BLOCK

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise HeaderError("is cut into more pieces than a picture is")


def _number(data: bytes, at: int, size: int, *, big: bool = False) -> int:
    piece = data[at : at + size]
    if len(piece) < size:
        raise IndexError(at)
    return int.from_bytes(piece, "big" if big else "little")


# ---- PNG: ISO/IEC 15948


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG: name, where it begins (with its length) and where it ends (with its checksum)."""
    budget = _Budget(data)
    at = len(_PNG_MARK)
    while at + 8 <= len(data):
        budget.spend()
        end = at + 12 + _number(data, at, 4, big=True)
        yield data[at + 4 : at + 8], at, end
        at = end


# What decoders unpack, a thousandfold; and all that holds words or places.
PNG_PACKED_TEXTS = frozenset({b"zTXt", b"iTXt"})
PNG_TEXTS = PNG_PACKED_TEXTS | {b"tEXt", b"eXIf"}


def png_without(data: bytes, names: Collection[bytes]) -> bytes:
    """A PNG without the chunks of these names.

    Raises:
        HeaderError: it is cut into more pieces than a picture is.
    """
    kept = [data[start:end] for name, start, end in png_chunks(data) if name not in names]
    return b"".join([data[: len(_PNG_MARK)], *kept])


def _png(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise HeaderError("does not begin with the header of a PNG")
    width, height = _number(data, 16, 4, big=True), _number(data, 20, 4, big=True)
    frames = 1
    for name, start, _ in png_chunks(data):
        if name == b"acTL":
            frames = max(1, _number(data, start + 8, 4, big=True))
        if name == b"IDAT":  # what animates a PNG comes before its pixels
            break
    return ImageHeader(PNG, width, height, frames)


# ---- JPEG: ITU T.81, annex B


def _jpeg(data: bytes) -> ImageHeader:
    at = 2
    budget = _Budget(data)
    while True:
        budget.spend()
        if data[at] != _FILL:
            raise HeaderError("is no JPEG after its first bytes")
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
        elif marker in _START_OF_FRAME:
            return ImageHeader(JPEG, _number(data, at + 7, 2, big=True), _number(data, at + 5, 2, big=True))
        elif marker in (_START_OF_SCAN, _END_OF_IMAGE):
            raise HeaderError("has no size in its header")
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stand alone, without a length
            at += 2
        else:
            at += 2 + max(2, _number(data, at + 2, 2, big=True))


# ---- WebP: RFC 9649


def _webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise HeaderError("is no WebP after its first bytes")
        return ImageHeader(WEBP, _number(data, 26, 2) & 0x3FFF, _number(data, 28, 2) & 0x3FFF)
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return ImageHeader(WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return ImageHeader(WEBP, _number(data, 24, 3) + 1, _number(data, 27, 3) + 1, _webp_frames(data))
    raise HeaderError("is no WebP after its first bytes")


def _webp_frames(data: bytes) -> int:
    budget = _Budget(data)
    at, frames = 12, 0
    while at + 8 <= len(data):
        budget.spend()
        frames += data[at : at + 4] == b"ANMF"
        size = _number(data, at + 4, 4)
        at += 8 + size + size % 2
    return max(1, frames)


# ---- GIF: GIF89a specification


def _gif(data: bytes) -> ImageHeader:
    width, height = _number(data, 6, 2), _number(data, 8, 2)
    budget = _Budget(data)
    at, frames = 13 + _gif_colours(data[10]), 0
    while at < len(data) and data[at] != _GIF_END:
        budget.spend()
        if data[at] == _GIF_EXTENSION:
            at = _gif_blocks_end(data, at + 2, budget)
        elif data[at] == _GIF_IMAGE:
            if not frames:  # decoders widen the screen to hold the first picture
                width = max(width, _number(data, at + 1, 2) + _number(data, at + 5, 2))
                height = max(height, _number(data, at + 3, 2) + _number(data, at + 7, 2))
            frames += 1
            at = _gif_blocks_end(data, at + 11 + _gif_colours(data[at + 9]), budget)
        else:
            at += 1  # decoders skip what they do not know, byte by byte
    if not frames:
        raise HeaderError("holds no picture")
    return ImageHeader(GIF, width, height, frames)


def _gif_colours(flags: int) -> int:
    """Bytes of the colour table that these flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(data: bytes, at: int, budget: _Budget) -> int:
    """Where a chain of sub-blocks ends; the end of the data if it is cut off there."""
    while at < len(data) and (size := data[at]):
        budget.spend()
        at += 1 + size
    return at + 1
