"""Headers are read as Pillow reads them, and hostile ones are refused in no time."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.processors import pictures as make

from async_processor.processors.image_headers import (
    PNG,
    PNG_PACKED_TEXTS,
    PNG_TEXTS,
    HeaderError,
    ImageHeader,
    png_without,
    read_header,
)

SIZES = [(1, 1), (2, 3), (255, 256), (640, 427), (1_000, 3)]
WAYS = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "jpeg with metadata": ("JPEG", {"exif": b"Exif\0\0junk", "icc_profile": b"p" * 70_000, "comment": b"c"}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "webp with EXIF": ("WEBP", {"exif": b"Exif\0\0junk"}),
    "gif": ("GIF", {}),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_a_picture_is_understood(way: str, size: tuple[int, int]):
    form, options = WAYS[way]

    assert read_header(make.saved(make.gradient(*size), form, **options)) == ImageHeader(form, *size, frames=1)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("frames", [2, 7])
def test_the_frames_of_an_animation_are_counted(form: str, frames: int):
    images = [Image.new("RGB", (20, 10), (20 * number, 0, 0)) for number in range(frames)]
    data = make.saved(images[0], form, save_all=True, append_images=images[1:])

    assert read_header(data) == ImageHeader(form, 20, 10, frames)


@pytest.mark.parametrize("name", ["chelsea.png", "rocket.jpg", "landscape-exif6.jpg"])
def test_real_photos_are_read_as_pillow_reads_them(name: str):
    data = make.photo(name)
    image = make.opened(data)

    assert read_header(data) == ImageHeader(image.format, *image.size)


def test_a_first_frame_beyond_the_screen_widens_it():
    data = bytearray(make.gif(1))
    data[data.index(b",") + 1 : data.index(b",") + 9] = struct.pack("<HHHH", 5, 6, 100, 200)

    header = read_header(bytes(data))

    assert (header.width, header.height) == (105, 206)


def test_no_cut_of_a_good_file_is_read_as_something_else():
    for form in ("PNG", "JPEG", "WEBP", "GIF"):
        whole = make.saved(make.gradient(), form)
        for length in range(len(whole)):
            try:
                header = read_header(whole[:length])
            except HeaderError:
                continue
            assert (header.format, header.width, header.height) == (form, 64, 48)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF0000WEBPVP8X"]),
)
def test_any_bytes_are_a_header_or_a_header_error(data: bytes, mark: bytes):
    try:
        header = read_header(mark + data)
    except HeaderError:
        return
    assert header.width > 0 < header.height


PIECES = {
    "a PNG of empty chunks": make.png(1, 1, pixels=b"") [:33] + (bytes(4) + b"abCd" + bytes(4)) * 400_000,
    "a JPEG of empty segments": b"\xff\xd8" + b"\xff\xfe\0\x02" * 1_000_000,
    "a JPEG of fill bytes": b"\xff\xd8" + b"\xff" * 5_000_000,
    "a WebP of empty chunks": make.webp_claiming(5, 5) + (b"JUNK" + bytes(4)) * 600_000,
    "a GIF of empty extensions": make.gif(0)[:-1] + b"!\xfe\0" * 1_500_000,
    "a GIF of blocks of one byte": make.gif(1)[:-2] + b"\x01\x01" * 2_500_000,
    "a GIF of unknown bytes": make.gif(0)[:-1] + b"\x01" * 5_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_a_file_of_very_many_pieces_is_given_up_early(name: str):
    data = PIECES[name]

    started = time.process_time()
    with pytest.raises(HeaderError):
        read_header(data)

    # All of its pieces would take ten times that; a tenth of it is what it takes on an idle machine.
    assert time.process_time() - started < 1.0


def test_only_texts_are_taken_out_of_a_png():
    text = make.png_chunk(b"zTXt", b"Comment\0\0junk") + make.png_chunk(b"iTXt", b"junk")
    plain = make.png_chunk(b"tEXt", b"Title\0a title")

    picture = make.png(3, 2, text, plain, text)

    assert png_without(picture, PNG_PACKED_TEXTS) == make.png(3, 2, plain)
    assert png_without(picture, PNG_TEXTS) == make.png(3, 2)
    assert read_header(make.png(3, 2, text)).format == PNG
