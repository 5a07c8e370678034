"""IMAGE_PROCESSING on real photos, on pictures made here whose pixels are known, and on payloads that are no good."""

from __future__ import annotations

import io
import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageStat
from tests.processors import pictures as make
from tests.processors.pictures import opened, photo, processed, saved

from async_processor.config import ImageConfig, ProcessorConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError
from async_processor.model import LaneName
from async_processor.processors.image_headers import ImageHeader
from async_processor.processors.image_operations import MAX_OPERATIONS
from async_processor.processors.image_processing import processor_spec, read_request
from async_processor.processors.providers.pillow_images import Picture, UndecodableError

SPEC = processor_spec(ProcessorConfig())
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(mode: str = "RGB") -> Image.Image:
    """4 x 2 pixels: red and green above, blue and white below, each 2 x 1."""
    image = Image.new("RGB", (4, 2))
    for at, colour in (((0, 0), RED), ((2, 0), GREEN), ((0, 1), BLUE), ((2, 1), WHITE)):
        image.paste(colour, (*at, at[0] + 2, at[1] + 1))
    return image.convert(mode)


def done(image: Image.Image, *operations: dict, **payload: object) -> Image.Image:
    """What becomes of a picture, written without loss."""
    return opened(processed({"image_data": saved(image), "operations": list(operations), **payload})["image_data"])


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    right, bottom = image.width - 1, image.height - 1
    return [image.convert("RGB").getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of the values, 0 to 255."""
    found = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(found) / len(found)


def refused(payload: dict, config: ImageConfig | None = None) -> InvalidPayloadError:
    with pytest.raises(InvalidPayloadError) as caught:
        processed(payload, config)
    return caught.value


def test_it_runs_in_the_process_lane_and_travels_there():
    assert (SPEC.lane, SPEC.wants_context, SPEC.is_async) == (LaneName.PROCESS, True, False)
    again = pickle.loads(pickle.dumps(SPEC.func))  # noqa: S301 - our own bytes
    assert (again.func, again.keywords) == (SPEC.func.func, SPEC.func.keywords)


async def test_it_is_ready_and_its_example_works():
    assert SPEC.readiness is not None
    assert SPEC.example is not None

    readiness = await SPEC.readiness()
    result = processed(SPEC.example())

    assert (readiness.provider, readiness.offline, readiness.problem) == ("pillow", True, None)
    assert opened(result["image_data"]).size == (8, 8)


def test_a_photo_that_was_taken_sideways_is_turned_upright_first():
    data = photo("landscape-exif6.jpg")

    result = processed({"image_data": data, "operations": [{"operation": "resize", "width": 900}]})

    assert (result["original_width"], result["original_height"], result["orientation"]) == (1_800, 1_200, 6)
    assert (result["format"], result["width"], result["height"]) == ("JPEG", 900, 600)
    image = opened(result["image_data"])
    assert image.size == (900, 600)
    # Turned by hand: what is left in the file lies on top once it is upright.
    by_hand = opened(data).transpose(Image.Transpose.ROTATE_270).resize((900, 600), Image.Resampling.LANCZOS)
    assert difference(image, by_hand) < 3.0
    assert difference(image, by_hand.transpose(Image.Transpose.ROTATE_180)) > 20.0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_comes_out_upright(form: str, orientation: int):
    upright = quarters().resize((64, 32), Image.Resampling.NEAREST)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    result = processed({"image_data": saved(stored, form, exif=exif), "output_format": "PNG"})

    image = opened(result["image_data"])
    assert image.size == (64, 32)
    assert result["orientation"] == orientation
    assert difference(image, upright) < 25.0  # the losses of JPEG at so hard edges; another orientation is far beyond
    assert [max(colour) > 150 for colour in corners(image)] == [True] * 4


def test_the_result_tells_what_was_done():
    data = photo("chelsea.png")

    result = processed(
        {
            "image_data": data,
            "operations": [{"operation": "Thumbnail", "width": 100}, {"operation": "grayscale"}],
            "output_format": "webp",
            "quality": 70,
            "child_id": "child-1",
        }
    )

    image_data = result.pop("image_data")
    assert json.loads(json.dumps(result)) == result == {
        "format": "WEBP", "width": 100, "height": 67, "original_format": "PNG", "original_width": 451,
        "original_height": 300, "original_frames": 1, "operations": ["thumbnail", "grayscale"], "orientation": 1,
        "warnings": [], "provider": "pillow", "offline": True,
    }  # fmt: skip
    assert type(image_data) is bytes
    image = Image.open(io.BytesIO(image_data))
    assert (image.format, image.size) == ("WEBP", (100, 67))


@pytest.mark.parametrize("name", ["chelsea.png", "rocket.jpg", "landscape-exif6.jpg"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_photos_survive_being_written_anew(name: str, form: str):
    data = photo(name)
    result = processed({"image_data": data, "operation": "thumbnail", "width": 256, "output_format": form})

    written = Image.open(io.BytesIO(result["image_data"]))
    assert (written.format, written.size) == (form, (result["width"], result["height"]))
    assert max(written.size) == 256
    assert sum(ImageStat.Stat(written.convert("L")).stddev) > 20, "a photo, not one colour"


# ---- operations, one by one


@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ({"width": 20}, (20, 10)),
        ({"height": 20}, (40, 20)),
        ({"width": 30, "height": 30}, (30, 30)),
        ({"width": 30, "height": 30, "fit": "contain"}, (30, 15)),
        ({"width": 30, "height": 30, "fit": "cover"}, (30, 30)),
        ({"width": 1}, (1, 1)),
        ({"width": 20.0, "height": None}, (20, 10)),
    ],
)
def test_resize(operation: dict, size: tuple[int, int]):
    image = done(quarters().resize((40, 20), Image.Resampling.NEAREST), {"operation": "resize", **operation})

    assert image.size == size


def test_resize_to_cover_keeps_the_middle_and_its_proportions():
    wide = Image.new("RGB", (90, 30), BLUE)
    wide.paste(RED, (30, 0, 60, 30))

    image = done(wide, {"operation": "resize", "width": 10, "height": 10, "fit": "cover"})

    assert image.getpixel((5, 5)) == RED
    assert difference(image, Image.new("RGB", (10, 10), RED)) < 3.0, "at the seams a filter sees a little beyond"


def test_thumbnail_never_enlarges():
    assert done(quarters(), {"operation": "thumbnail", "width": 100}).size == (4, 2)
    assert done(quarters(), {"operation": "thumbnail", "width": 100, "height": 1}).size == (2, 1)


def test_crop_takes_the_rectangle():
    image = done(quarters(), {"operation": "crop", "left": 1, "top": 1, "width": 2, "height": 1})

    assert [image.getpixel((x, 0)) for x in (0, 1)] == [BLUE, WHITE]


@pytest.mark.parametrize(
    ("degrees", "size", "seen"),
    [
        (90, (2, 4), [BLUE, RED, WHITE, GREEN]),
        (-270, (2, 4), [BLUE, RED, WHITE, GREEN]),
        (180, (4, 2), [WHITE, BLUE, GREEN, RED]),
        (270, (2, 4), [GREEN, WHITE, RED, BLUE]),
        (360, (4, 2), [RED, GREEN, BLUE, WHITE]),
    ],
)
def test_quarter_turns_are_clockwise_and_without_loss(degrees: float, size: tuple[int, int], seen: list):
    image = done(quarters(), {"operation": "rotate", "degrees": degrees})

    assert (image.size, corners(image), image.mode) == (size, seen, "RGB")


def test_other_turns_let_the_corners_show_through():
    turned = done(Image.new("RGB", (100, 100), RED), {"operation": "rotate", "degrees": 45})
    kept = done(Image.new("RGB", (100, 100), RED), {"operation": "rotate", "degrees": 45, "expand": False})

    assert (turned.mode, kept.size) == ("RGBA", (100, 100))
    assert turned.width == turned.height == pytest.approx(142, abs=1)
    assert turned.getpixel((0, 0))[3] == kept.getpixel((0, 0))[3] == 0
    assert turned.getpixel((71, 71)) == kept.getpixel((50, 50)) == (*RED, 255)


def test_a_small_turn_goes_clockwise():
    image = Image.new("RGB", (101, 101))
    image.paste(WHITE, (49, 0, 52, 50))  # a hand at twelve o'clock

    turned = done(image, {"operation": "rotate", "degrees": 30, "expand": False}).convert("L")

    assert turned.getpixel((70, 16)) > 200, "at one o'clock"
    assert turned.getpixel((30, 16)) < 50, "not at eleven"


def test_grayscale_has_no_colour_and_keeps_what_shows_through():
    image = quarters("RGBA")
    image.putalpha(100)

    assert done(quarters(), {"operation": "grayscale"}).mode == "L"
    grey = done(image, {"operation": "grayscale"})
    assert [grey.getpixel(at) for at in ((0, 0), (2, 0))] == [(76, 76, 76, 100), (150, 150, 150, 100)]


def test_blur_spreads_a_point_and_keeps_the_whole():
    image = Image.new("L", (41, 41))
    image.paste(255, (19, 19, 22, 22))

    blurred = done(image, {"operation": "blur", "radius": 3})

    assert 0 < blurred.getpixel((20, 20)) < 100
    assert blurred.getpixel((25, 20)) > 0
    assert ImageStat.Stat(blurred).mean[0] == pytest.approx(ImageStat.Stat(image).mean[0], rel=0.1)


def test_blur_does_not_let_hidden_colours_bleed_out():
    image = Image.new("RGBA", (21, 21), (*GREEN, 0))
    image.paste((*RED, 255), (0, 0, 10, 21))

    blurred = done(image, {"operation": "blur", "radius": 3})

    red, green, _, alpha = blurred.getpixel((10, 10))
    assert 0 < alpha < 255
    assert green < 10 < 200 < red


def test_sharpen_makes_edges_steeper():
    soft = quarters("L").resize((40, 20), Image.Resampling.BICUBIC)

    sharp = done(soft, {"operation": "sharpen", "radius": 2, "percent": 300})

    assert ImageStat.Stat(sharp).stddev[0] > ImageStat.Stat(soft).stddev[0] + 1


def test_enhance():
    grey = Image.new("RGB", (4, 4), (100, 60, 20))

    assert done(grey, {"operation": "enhance", "brightness": 0.5}).getpixel((0, 0)) == (50, 30, 10)
    assert done(grey, {"operation": "enhance", "color": 0}).getpixel((0, 0)) == (67, 67, 67)
    assert done(grey, {"operation": "enhance", "contrast": 0}).getpixel((0, 0)) == (67, 67, 67)
    assert done(grey, {"operation": "enhance", "contrast": 1, "brightness": 1}).getpixel((0, 0)) == (100, 60, 20)


def test_operations_are_carried_out_in_their_order():
    crop, shrink = {"operation": "crop", "width": 2, "height": 2}, {"operation": "resize", "width": 2, "height": 1}

    assert done(quarters(), crop, shrink).size == (2, 1)
    assert "lies within" in str(refused({"image_data": saved(quarters()), "operations": [shrink, crop]}))


def test_one_operation_may_stand_at_the_top():
    result = processed({"image_data": saved(quarters()), "operation": "resize", "width": 8, "height": 8})

    assert (result["operations"], result["width"], result["height"]) == (["resize"], 8, 8)


def test_without_operations_a_picture_is_only_written_anew():
    result = processed({"image_data": saved(quarters()), "output_format": "jpg"})

    assert (result["operations"], result["format"]) == ([], "JPEG")


# ---- formats


@pytest.mark.parametrize(
    ("form", "payload", "written"),
    [
        ("JPEG", {}, "JPEG"),
        ("WEBP", {}, "WEBP"),
        ("GIF", {}, "PNG"),
        ("PNG", {"operations": [{"operation": "convert", "format": "jpeg"}]}, "JPEG"),
        ("PNG", {"operations": [{"operation": "convert", "format": "webp"}], "output_format": "WEBP"}, "WEBP"),
        (
            "PNG",
            {"operations": [{"operation": "convert", "format": "webp"}, {"operation": "convert", "format": "JPG"}]},
            "JPEG",
        ),
    ],
)
def test_the_format_is_as_asked_for_or_as_it_came(form: str, payload: dict, written: str):
    result = processed({"image_data": saved(make.gradient(), form), **payload})

    assert Image.open(io.BytesIO(result["image_data"])).format == result["format"] == written


def test_two_formats_at_once_are_refused():
    payload = {
        "image_data": saved(quarters()),
        "operations": [{"operation": "convert", "format": "webp"}],
        "output_format": "png",
    }

    assert refused(payload).field == "output_format"


def test_quality_is_that_of_the_file():
    data = photo("rocket.jpg")
    sizes = [len(processed({"image_data": data, "quality": quality})["image_data"]) for quality in (10, 50, 95)]

    assert sizes == sorted(sizes)
    assert sizes[0] * 4 < sizes[2]


def test_what_shows_through_is_white_in_a_jpeg():
    clear = Image.new("RGBA", (8, 8), (*RED, 0))

    image = opened(processed({"image_data": saved(clear), "output_format": "JPEG"})["image_data"])

    assert image.getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"])
def test_pictures_of_any_mode_keep_their_colours(mode: str):
    grey = mode in ("1", "L", "LA", "I;16")
    colour = (255, 255, 255) if grey else RED
    image = Image.new("RGB", (8, 8), colour)
    if mode == "I;16":
        image = Image.new("I;16", (8, 8), 32_896)
        colour = (128, 128, 128)
    elif mode == "PA":
        image = image.convert("P")
        image.info["transparency"] = 255
    else:
        image = image.convert(mode)

    result = done(image, {"operation": "blur"}, {"operation": "resize", "width": 4})

    assert result.convert("RGB").getpixel((2, 2)) == colour


@pytest.mark.parametrize(("stored", "shown"), [(0, 0), (257, 1), (32_896, 128), (65_535, 255)])
def test_16_bits_of_grey_become_8(stored: int, shown: int):
    assert done_from(saved(Image.new("I;16", (2, 2), stored))).getpixel((1, 1)) == shown


def test_cmyk_becomes_colour_for_screens():
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")

    red, green, blue = done_from(data).getpixel((4, 4))

    assert red > 240
    assert max(green, blue) < 20


def done_from(data: bytes) -> Image.Image:
    return opened(processed({"image_data": data, "output_format": "PNG"})["image_data"])


def test_a_photo_with_a_preview_beside_it_is_a_jpeg():
    image = make.gradient(64, 48)
    data = saved(image, "MPO", save_all=True, append_images=[image.resize((32, 24))])

    result = processed({"image_data": data})

    assert (result["original_format"], result["format"], result["width"]) == ("JPEG", "JPEG", 64)


def test_a_large_picture_of_noise_is_written_at_the_best_quality():
    noise = Image.effect_noise((1_600, 1_200), 100)

    data = processed({"image_data": saved(noise, compress_level=1), "output_format": "JPEG", "quality": 100})[
        "image_data"
    ]

    assert difference(opened(data), noise) < 3.0


def test_of_an_animation_the_first_frame_is_used_with_a_warning():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])

    result = processed({"image_data": data})

    assert opened(result["image_data"]).convert("RGB").getpixel((4, 4)) == RED
    assert (result["original_frames"], result["format"]) == (3, "PNG")
    assert result["warnings"] == ["only the first of 3 frames was used"]


# ---- metadata


SECRET = b"48.8584N 2.2945E"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("operations", [[], [{"operation": "strip_metadata"}]])
def test_nothing_but_pixels_is_left(form: str, operations: list):
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    data = saved(make.gradient(), form, exif=exif, xmp=SECRET, comment=SECRET, dpi=(300, 300))
    assert SECRET in data

    result = processed({"image_data": data, "operations": operations})

    again = opened(result["image_data"])
    assert SECRET not in result["image_data"]
    assert dict(again.getexif()) == {}
    assert again.info.keys().isdisjoint({"exif", "xmp", "icc_profile", "comment", "dpi"})


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green are exchanged: whoever applies it sees it at once."""
    data = bytearray(profile("sRGB"))
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_applied_before_it_is_left_out(mode: str):
    image = Image.new(mode, (8, 8), RED)
    if mode == "RGBA":
        image.putalpha(200)

    plain = done_from(saved(image, icc_profile=profile("sRGB")))
    applied = done_from(saved(image, icc_profile=swapped_profile()))

    assert plain.convert("RGB").getpixel((4, 4)) == pytest.approx(RED, abs=2)
    assert applied.convert("RGB").getpixel((4, 4)) == pytest.approx(GREEN, abs=2)
    assert applied.getpixel((4, 4))[3:] == image.getpixel((4, 4))[3:]
    assert "icc_profile" not in applied.info


def test_a_grey_profile_is_no_matter_for_grey_with_transparency():
    grey = bytearray(profile("sRGB"))
    grey[16:20] = b"GRAY"

    result = processed({"image_data": saved(Image.new("LA", (4, 4), (90, 80)), icc_profile=bytes(grey))})

    assert result["warnings"] == []
    assert opened(result["image_data"]).getpixel((1, 1)) == (90, 90, 90, 80)


@pytest.mark.parametrize("junk", [b"junk", profile("sRGB")[:200]], ids=["no profile", "a cut one"])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_colour_profile_that_cannot_be_read_is_told(mode: str, junk: bytes):
    data = saved(Image.new(mode, (8, 8), 0), "JPEG", icc_profile=junk)

    result = processed({"image_data": data})

    assert result["warnings"] == ["the colour profile could not be read; colours were taken for sRGB"]


def test_broken_exif_is_no_reason_to_refuse_a_picture():
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 500):
        data = saved(make.gradient(), "JPEG", exif=exif)

        assert processed({"image_data": data})["orientation"] == 1


# ---- what is refused

PICTURE = saved(quarters())


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "is missing"),
        ({"image_data": "x"}, "not str"),
        ({"image_data": b""}, "is empty"),
        ({"image_data": PICTURE[:20]}, "ends within its header"),
        ({"image_data": PICTURE[:-30]}, "damaged or ends early"),
        ({"image_data": b"hello"}, "no format that is read here"),
        ({"image_data": make.png(0, 5, pixels=b"")}, "no pixels"),
        ({"image_data": make.png(5, 5, pixels=b"junk")}, "damaged or ends early"),
    ],
)
def test_what_is_no_picture_is_refused(payload: dict, says: str):
    error = refused(payload)

    assert (error.field, says in str(error)) == ("image_data", True), str(error)


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ("resize", "payload['operations'] must be a list"),
        (["resize"], "entry 0 is none"),
        ([{}], "payload['operations'][0]['operation'] is missing"),
        ([{"operation": "face_blur"}], "must be one of 'resize', 'crop', 'thumbnail'"),
        ([{"operation": "resize"}], "[0]['width'] is missing, and so is 'height'"),
        ([{"operation": "blur"}, {"operation": "resize", "width": 0}], "[1]['width'] must be a number from 1 to 65500"),
        ([{"operation": "resize", "width": 5, "height": 5, "fit": "squeeze"}], "[0]['fit'] must be one of 'fill'"),
        ([{"operation": "crop", "left": 3, "width": 2, "height": 1}], "lies within"),
        ([{"operation": "crop", "width": 2}], "[0]['height'] is missing"),
        ([{"operation": "rotate"}], "[0]['degrees'] is missing"),
        ([{"operation": "rotate", "degrees": 1, "expand": 1}], "[0]['expand'] must be true or false"),
        ([{"operation": "convert", "format": "tiff"}], "[0]['format'] must be one of 'JPEG', 'PNG', 'WEBP'"),
        ([{"operation": "enhance"}], "[0]['contrast'] is missing"),
        ([{"operation": "enhance", "contrast": 11}], "[0]['contrast'] must be a number from 0 to 10"),
        ([{"operation": "grayscale"}] * (MAX_OPERATIONS + 1), f"send at most {MAX_OPERATIONS}"),
    ],
)
def test_operations_that_cannot_be_done_are_named_with_their_place(operations: object, says: str):
    error = refused({"image_data": PICTURE, "operations": operations})

    assert error.field == "operations"
    assert says in str(error)


def test_one_operation_and_a_list_of_them_are_refused():
    error = refused({"image_data": PICTURE, "operation": "blur", "operations": []})

    assert error.field == "operation"


@pytest.mark.parametrize("quality", [0, 101, "high", float("nan")])
def test_quality_is_from_1_to_100(quality: object):
    assert refused({"image_data": PICTURE, "quality": quality}).field == "quality"


def test_a_picture_too_long_for_its_format_is_refused():
    strip = saved(Image.new("1", (16_384, 1)))

    assert processed({"image_data": strip, "output_format": "JPEG"})["width"] == 16_384
    assert "at most 16383 pixels a side" in str(refused({"image_data": strip, "output_format": "WEBP"}))


def test_the_configured_limits_hold():
    config = ImageConfig(max_image_bytes=2_000, max_pixels=100, max_frames=2)

    assert processed({"image_data": saved(Image.new("L", (10, 10)))}, config)["width"] == 10
    assert "at most 100 pixels" in str(refused({"image_data": saved(Image.new("L", (11, 10)))}, config))
    assert "at most 2 " in str(refused({"image_data": make.gif(3)}, config))
    assert "at most 2000 " in str(refused({"image_data": make.gif(3) + bytes(2_000)}, config))
    enlarge = {"image_data": PICTURE, "operations": [{"operation": "resize", "width": 15}]}
    assert "15 x 8 pixels" in str(refused(enlarge, config))
    turn = {"image_data": saved(Image.new("L", (10, 10))), "operations": [{"operation": "rotate", "degrees": 45}]}
    assert "at most 100 pixels" in str(refused(turn, config))


def test_more_pixels_than_the_decoder_takes_cannot_be_configured():
    with pytest.raises(ConfigurationError, match="at most 178956970"):
        processor_spec(ProcessorConfig(images=ImageConfig(max_pixels=200_000_000)))


def test_a_second_header_cannot_slip_a_larger_picture_past_the_limit():
    small, large = saved(make.gradient(), "JPEG"), make.jpeg_claiming(100, 100)
    at = small.index(b"\xff\xc0")
    length = 2 + int.from_bytes(small[at + 2 : at + 4], "big")

    both = small[: at + length] + large[at : at + length] + small[at + length :]
    assert Image.open(io.BytesIO(both)).size == (100, 100), "decoders go by the second"

    error = refused({"image_data": both}, ImageConfig(max_pixels=64 * 48))

    assert "damaged" in str(error)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_of_another_size_than_its_header_was_read_to_have_is_not_decoded(form: str):
    with pytest.raises(UndecodableError):
        Picture(saved(make.gradient(64, 48), form), ImageHeader(form, 64, 47))


def test_progress_only_grows():
    seen: list[float] = []
    processed({"image_data": PICTURE}, progress=lambda fraction, message: seen.append(fraction))

    assert seen == sorted(seen)
    assert seen


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=40)
    | st.integers(300, 5_000).map(lambda digits: 10**digits),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
NUMBERS = st.integers(-1, 60) | st.floats(-400, 400) | JUNK
NAMES = [
    "resize",
    "crop",
    "thumbnail",
    "rotate",
    "convert",
    "grayscale",
    "blur",
    "sharpen",
    "enhance",
    "strip_metadata",
]
PARAMETERS = ["width", "height", "left", "top", "degrees", "radius", "percent", "threshold", "contrast", "color"]
ENTRIES = st.fixed_dictionaries(
    {"operation": st.sampled_from(NAMES) | JUNK},
    optional={
        **dict.fromkeys(PARAMETERS, NUMBERS),
        "fit": st.sampled_from(["fill", "contain", "cover"]) | JUNK,
        "format": st.sampled_from(["jpg", "PNG", "webp"]) | JUNK,
        "expand": st.booleans() | JUNK,
    },
)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "image_data": st.sampled_from([PICTURE, saved(quarters(), "JPEG"), saved(quarters(), "GIF")]) | JUNK,
        "operations": st.lists(ENTRIES, max_size=4) | JUNK,
        "operation": st.sampled_from(NAMES) | JUNK,
        "output_format": st.sampled_from(["jpg", "PNG", "webp"]) | JUNK,
        "quality": NUMBERS,
        "anything else": JUNK,
    },
)


FIELDS = {"image_data", "operations", "operation", "output_format", "quality", "format", *PARAMETERS}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(PAYLOADS)
def test_any_payload_is_carried_out_or_refused(payload: dict):
    # B21
    try:
        result = processed(payload)
    except InvalidPayloadError as error:
        refusal = error
    else:
        assert opened(result["image_data"]).size == (result["width"], result["height"])
        return
    assert refusal.field in FIELDS


def test_a_request_is_read_without_the_library():
    request = read_request({"image_data": PICTURE, "operation": "blur"}, ImageConfig())

    assert (request.header.width, request.output_format, request.operations[0][0]) == (4, "PNG", "blur")
