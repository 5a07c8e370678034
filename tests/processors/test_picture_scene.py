"""The words of a prompt are in the drawing, and the same words give the same one."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageStat
from tests.processors.pictures import opened

from async_processor.processors.picture_scene import COLOURS, Thing, compose, seed_of, things_named
from async_processor.processors.providers.pillow_images import paint


def colours(prompt: str) -> set[tuple[int, int, int]]:
    return {shape.colour for shape in compose(prompt, 1, 1.0).shapes}


def drawn(prompt: str, size: tuple[int, int] = (120, 90), seed: int = 1):
    return opened(paint(compose(prompt, seed, size[0] / size[1]), size)).convert("RGB")


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ("a bear", [Thing("bear", None, 1)]),
        ("A purple TEDDY", [Thing("bear", COLOURS["purple"], 1)]),
        ("two red balloons", [Thing("balloon", COLOURS["red"], 2)]),
        ("balloons", [Thing("balloon", None, 3)]),
        ("a yellow house with flowers", [Thing("house", COLOURS["yellow"], 1), Thing("flower", None, 3)]),
        ("a forest", [Thing("tree", None, 5)]),
        ("tree, tree and tree", [Thing("tree", None, 1)]),
        ("quantum economics", [Thing("bear", None, 1)]),
        ("", [Thing("bear", None, 1)]),
    ],
)
def test_things_are_found_with_their_colours_and_numbers(prompt: str, things: list[Thing]):
    assert things_named(re.findall(r"[a-z]+", prompt.lower())) == things


def test_a_named_colour_is_that_of_the_thing():
    for name, colour in COLOURS.items():
        assert colour in colours(f"a {name} balloon"), name


def test_the_time_of_day_is_that_of_the_prompt():
    above = {
        prompt: sum(drawn(prompt).getpixel((60, 2))) for prompt in ("a bear at night", "a bear at sunset", "a bear")
    }

    assert above["a bear at night"] < above["a bear at sunset"] < above["a bear"]


def test_the_ground_is_that_of_the_prompt():
    sea, grass, snow = (drawn(f"a ball {place}").getpixel((2, 88)) for place in ("on the sea", "", "in the snow"))

    assert max(sea) == sea[2]
    assert max(grass) == grass[1]
    assert min(snow) > 200


def test_the_same_prompt_and_seed_give_the_same_bytes_and_others_do_not():
    scene = compose("a bear with three stars", 5, 1.0)

    assert paint(scene, (64, 64)) == paint(compose("a bear with three stars", 5, 1.0), (64, 64))
    assert compose("a bear with three stars", 6, 1.0) != scene
    assert seed_of("a") != seed_of("b")


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 16), (512, 512), (1_500, 1_400)])
def test_a_drawing_has_the_size_asked_for(size: tuple[int, int]):
    image = drawn("a bear, a tree and a house under the sun", size)

    assert image.size == size
    assert min(ImageStat.Stat(image).stddev) > 5, "there is something to see"


WORDS = [
    "bear", "sun", "moon", "stars", "clouds", "forest", "house", "garden", "balloons", "ball", "heart", "rainbow",
    "mountains", "boat", "red", "black", "seven", "many", "night", "snow", "sea", "and", "the", "élan", "\0", "🐻",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_any_prompt_gives_shapes_with_points_and_colours(words: list[str], seed: int, aspect: float):
    scene = compose(" ".join(words), seed, aspect)

    assert 2 < len(scene.shapes) < 1_000
    for shape in scene.shapes:
        assert len(shape.points) == 2 if shape.kind == "ellipse" else len(shape.points) > 2
        assert all(0 <= value <= 255 for value in shape.colour)
        if shape.kind == "ellipse":
            (left, top), (right, bottom) = shape.points
            assert left < right
            assert top < bottom


def test_nothing_depends_on_the_dice_of_others():
    random.seed(1)
    one = compose("a garden", 3, 1.0)
    random.seed(2)

    assert compose("a garden", 3, 1.0) == one
