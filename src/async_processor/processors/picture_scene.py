"""A simple scene made of what a prompt names: sky, ground, things and their colours. A stand-in for an image model.

It knows some sixty words and understands nothing else. What it makes is a list of plain shapes, back to front, in
units of the picture's height, so it has no size and needs no library. The same prompt and seed give the same scene.
"""

from __future__ import annotations

import math
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(slots=True, frozen=True)
class Shape:
    """One filled shape. Points are (x, y) from the left and the top, in heights of the picture.

    Attributes:
        kind: "ellipse" within the box that its two points span, or "polygon" through all of its points.
    """

    kind: Literal["ellipse", "polygon"]
    points: tuple[Point, ...]
    colour: Colour


@dataclass(slots=True, frozen=True)
class Scene:
    """What to paint: a sky that fades from ``top`` to ``bottom``, and shapes in this order."""

    top: Colour
    bottom: Colour
    shapes: tuple[Shape, ...]


@dataclass(slots=True, frozen=True)
class Thing:
    """Something that the prompt names: what it is, its colour if one stands before it, and how many."""

    name: str
    colour: Colour | None
    count: int


COLOURS: dict[str, Colour] = {
    "red": (214, 48, 49), "orange": (240, 140, 40), "yellow": (250, 210, 60), "green": (64, 160, 74),
    "blue": (52, 120, 214), "purple": (132, 76, 184), "violet": (132, 76, 184), "pink": (244, 134, 178),
    "brown": (140, 92, 54), "black": (44, 44, 48), "white": (246, 246, 242), "grey": (142, 146, 152),
    "gray": (142, 146, 152), "golden": (230, 180, 50), "silver": (192, 196, 204),
}  # fmt: skip
# Words that stand for a thing; a plural of any is three of them.
_NAMES = {
    "bear": "bear", "teddy": "bear", "sun": "sun", "moon": "moon", "star": "star", "cloud": "cloud", "tree": "tree",
    "forest": "forest", "wood": "forest", "house": "house", "home": "house", "flower": "flower", "garden": "garden",
    "balloon": "balloon", "ball": "ball", "heart": "heart", "rainbow": "rainbow", "mountain": "mountain",
    "hill": "mountain", "boat": "boat", "ship": "boat",
}  # fmt: skip
_SEVERAL = {"forest": ("tree", 5), "garden": ("flower", 7)}
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "many": 7, "some": 3}
# How many words before a thing its colour and number may stand.
_REACH = 3

_NIGHT = frozenset(["night", "moon", "star", "stars", "dark", "bedtime", "asleep", "sleeping", "midnight"])
_DUSK = frozenset(["sunset", "sunrise", "evening", "morning", "dawn", "dusk"])
_DULL = frozenset(["rain", "rainy", "storm", "cloudy", "fog"])
_SKIES: dict[str, tuple[Colour, Colour]] = {
    "night": ((16, 22, 58), (58, 66, 122)),
    "dusk": ((92, 88, 160), (250, 172, 112)),
    "dull": ((120, 132, 148), (186, 194, 202)),
    "day": ((96, 174, 236), (206, 234, 250)),
}
_GROUNDS: dict[str, Colour] = {
    "sea": (46, 112, 172), "lake": (46, 112, 172), "ocean": (46, 112, 172), "water": (46, 112, 172),
    "boat": (46, 112, 172), "ship": (46, 112, 172), "beach": (232, 208, 150), "desert": (232, 208, 150),
    "sand": (232, 208, 150), "snow": (238, 244, 250), "snowy": (238, 244, 250), "winter": (238, 244, 250),
    "moon": (104, 128, 110), "night": (52, 96, 70),
}  # fmt: skip
_GRASS: Colour = (112, 178, 84)
_HORIZON = 0.68
_BACK_TO_FRONT = ("star", "moon", "sun", "rainbow", "cloud", "mountain", "", "tree", "house", "boat", "bear",
                  "flower", "heart", "ball", "balloon")  # fmt: skip


def seed_of(prompt: str) -> int:
    """The seed of a prompt that comes with none; 32 bits."""
    return zlib.crc32(prompt.encode())


def compose(prompt: str, seed: int, aspect: float) -> Scene:
    """A scene from the words of a prompt.

    Args:
        seed: places and sizes depend on it.
        aspect: width of the picture in heights.
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    dice = random.Random(seed)  # noqa: S311 - for looks
    top, bottom = _SKIES[_time_of_day(words)]
    ground = next((_GROUNDS[word] for word in words if word in _GROUNDS), _GRASS)
    shapes: list[Shape] = []
    things = {thing.name: thing for thing in things_named(words)}
    for name in _BACK_TO_FRONT:
        if not name:
            shapes += _ground(ground, aspect)
        elif name in things:
            shapes += _several(things[name], aspect, dice)
    return Scene(top, bottom, tuple(shapes))


def things_named(words: Sequence[str]) -> list[Thing]:
    """The things among words, in the order of their first mention; a bear where there is none of them."""
    found: dict[str, Thing] = {}
    before: list[str] = []
    for word in words:
        known = _NAMES.get(word) or _NAMES.get(word.removesuffix("s"))
        if known is None:
            before.append(word)
            continue
        name, count = _SEVERAL.get(known, (known, 1 if word in _NAMES else 3))
        nearest = before[: -_REACH - 1 : -1]
        colour = next((COLOURS[item] for item in nearest if item in COLOURS), None)
        count = next((_NUMBERS[item] for item in nearest if item in _NUMBERS), count)
        found.setdefault(name, Thing(name, colour, count))
        before.clear()  # what stood before one thing is not said of the next
    return list(found.values()) or [Thing("bear", None, 1)]


def _time_of_day(words: Sequence[str]) -> str:
    for name, signs in (("night", _NIGHT), ("dusk", _DUSK), ("dull", _DULL)):
        if not signs.isdisjoint(words):
            return name
    return "day"


def _ground(colour: Colour, aspect: float) -> Iterator[Shape]:
    yield _box(0, _HORIZON, aspect, 1 - _HORIZON, colour)
    yield _box(0, _HORIZON, aspect, 0.03, _shade(colour, 1.12))


def _several(thing: Thing, aspect: float, dice: random.Random) -> Iterator[Shape]:
    """A thing as often as it is named, spread over the width."""
    lowest, highest, size, colour, draw = _THINGS[thing.name]
    scale = size * min(1.0, aspect) / math.sqrt(thing.count)
    places = [(number + 0.5 + dice.uniform(-0.2, 0.2)) / thing.count for number in range(thing.count)]
    for place in places:
        x = aspect * (0.5 if thing.count == 1 and thing.name in ("bear", "rainbow") else 0.12 + 0.76 * place)
        if thing.count == 1 and thing.name not in ("bear", "rainbow"):
            x = aspect * dice.choice((dice.uniform(0.14, 0.3), dice.uniform(0.7, 0.86)))
        yield from draw(x, dice.uniform(lowest, highest), scale * dice.uniform(0.9, 1.1), thing.colour or colour)


# ---- shapes


def _disc(x: float, y: float, across: float, down: float, colour: Colour) -> Shape:
    return Shape("ellipse", ((x - across, y - down), (x + across, y + down)), colour)


def _box(x: float, y: float, width: float, height: float, colour: Colour) -> Shape:
    return Shape("polygon", ((x, y), (x + width, y), (x + width, y + height), (x, y + height)), colour)


def _rays(x: float, y: float, inner: float, outer: float, count: int) -> tuple[Point, ...]:
    """A star's outline."""
    turns = [math.pi * number / count - math.pi / 2 for number in range(2 * count)]
    radii = (outer, inner)
    return tuple(
        (x + radii[number % 2] * math.cos(turn), y + radii[number % 2] * math.sin(turn))
        for number, turn in enumerate(turns)
    )


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (max(0, min(255, round(value * factor))) for value in colour)
    return red, green, blue


# ---- things: each stands at (x, y), its foot or middle, and is about ``size`` tall


def _bear(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    light, dark = _shade(colour, 1.45), _shade(colour, 0.35)
    for side in (-1, 1):
        yield _disc(x + side * 0.2 * size, y - 0.06 * size, 0.13 * size, 0.09 * size, _shade(colour, 0.85))
        yield _disc(x + side * 0.27 * size, y - 0.36 * size, 0.1 * size, 0.16 * size, _shade(colour, 0.92))
    yield _disc(x, y - 0.3 * size, 0.25 * size, 0.28 * size, colour)
    yield _disc(x, y - 0.27 * size, 0.16 * size, 0.19 * size, light)
    for side in (-1, 1):
        yield _disc(x + side * 0.19 * size, y - 0.91 * size, 0.09 * size, 0.09 * size, colour)
        yield _disc(x + side * 0.19 * size, y - 0.91 * size, 0.05 * size, 0.05 * size, light)
    yield _disc(x, y - 0.73 * size, 0.25 * size, 0.22 * size, colour)
    yield _disc(x, y - 0.66 * size, 0.12 * size, 0.09 * size, light)
    yield _disc(x, y - 0.7 * size, 0.04 * size, 0.03 * size, dark)
    for side in (-1, 1):
        yield _disc(x + side * 0.1 * size, y - 0.79 * size, 0.025 * size, 0.03 * size, dark)


def _sun(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield Shape("polygon", _rays(x, y, 0.34 * size, 0.5 * size, 12), _shade(colour, 1.05))
    yield _disc(x, y, 0.32 * size, 0.32 * size, colour)


def _moon(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _disc(x, y, 0.5 * size, 0.5 * size, colour)
    for across, down, part in ((-0.15, -0.1, 0.1), (0.18, 0.12, 0.13), (0.08, -0.25, 0.06)):
        yield _disc(x + across * size, y + down * size, part * size, part * size, _shade(colour, 0.88))


def _star(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield Shape("polygon", _rays(x, y, 0.2 * size, 0.5 * size, 5), colour)


def _cloud(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    for across, down, part in ((-0.5, 0.05, 0.28), (0.5, 0.06, 0.26), (-0.15, -0.12, 0.36), (0.22, -0.06, 0.32)):
        yield _disc(x + across * size, y + down * size, part * size, part * 0.8 * size, colour)
    yield _disc(x, y + 0.14 * size, 0.72 * size, 0.16 * size, colour)


def _rainbow(x: float, y: float, size: float, _: Colour) -> Iterator[Shape]:
    for number, name in enumerate(("red", "orange", "yellow", "green", "blue", "purple")):
        outer, inner = size * (1 - 0.06 * number), size * (1 - 0.06 * (number + 1))
        turns = [math.pi * step / 48 for step in range(49)]
        arch = [(x - outer * math.cos(turn), y - outer * math.sin(turn)) for turn in turns]
        arch += [(x - inner * math.cos(turn), y - inner * math.sin(turn)) for turn in reversed(turns)]
        yield Shape("polygon", tuple(arch), COLOURS[name])


def _mountain(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    peak = y - size
    yield Shape("polygon", ((x - 0.8 * size, y), (x, peak), (x + 0.8 * size, y)), colour)
    snow = ((x - 0.2 * size, peak + 0.25 * size), (x, peak), (x + 0.2 * size, peak + 0.25 * size),
            (x + 0.07 * size, peak + 0.19 * size), (x - 0.05 * size, peak + 0.27 * size))  # fmt: skip
    yield Shape("polygon", snow, COLOURS["white"])


def _tree(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _box(x - 0.06 * size, y - 0.4 * size, 0.12 * size, 0.4 * size, COLOURS["brown"])
    for across, down, part in ((-0.16, -0.55, 0.22), (0.16, -0.55, 0.22), (0, -0.75, 0.25)):
        yield _disc(x + across * size, y + down * size, part * size, part * size, colour)


def _house(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _box(x - 0.4 * size, y - 0.55 * size, 0.8 * size, 0.55 * size, colour)
    roof = ((x - 0.5 * size, y - 0.53 * size), (x, y - size), (x + 0.5 * size, y - 0.53 * size))
    yield Shape("polygon", roof, (158, 66, 54))
    yield _box(x - 0.09 * size, y - 0.3 * size, 0.18 * size, 0.3 * size, COLOURS["brown"])
    for side in (-0.3, 0.16):
        yield _box(x + side * size, y - 0.42 * size, 0.14 * size, 0.14 * size, (250, 232, 150))


def _flower(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _box(x - 0.03 * size, y - 0.7 * size, 0.06 * size, 0.7 * size, COLOURS["green"])
    for number in range(6):
        turn = math.pi * number / 3
        yield _disc(x + 0.18 * size * math.cos(turn), y - (0.75 + 0.18 * math.sin(turn)) * size,
                    0.12 * size, 0.12 * size, colour)  # fmt: skip
    yield _disc(x, y - 0.75 * size, 0.1 * size, 0.1 * size, COLOURS["yellow"])


def _heart(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    outline = []
    for step in range(60):
        turn = 2 * math.pi * step / 60
        down = 13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn) - math.cos(4 * turn)
        outline.append((x + size * math.sin(turn) ** 3 / 2, y - size * down / 32))
    yield Shape("polygon", tuple(outline), colour)


def _ball(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _disc(x, y - 0.5 * size, 0.5 * size, 0.5 * size, colour)
    yield _disc(x, y - 0.5 * size, 0.17 * size, 0.49 * size, COLOURS["white"])


def _balloon(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    yield _box(x - 0.008 * size, y, 0.016 * size, 0.9 * size, COLOURS["grey"])
    yield _disc(x, y, 0.36 * size, 0.45 * size, colour)
    yield _disc(x - 0.13 * size, y - 0.18 * size, 0.06 * size, 0.1 * size, _shade(colour, 1.4))


def _boat(x: float, y: float, size: float, colour: Colour) -> Iterator[Shape]:
    mast, sail_end, rim = x + 0.03 * size, y - 0.27 * size, y - 0.22 * size
    hull = ((x - 0.5 * size, rim), (x + 0.5 * size, rim), (x + 0.34 * size, y), (x - 0.34 * size, y))
    sail = ((mast, sail_end), (mast, y - size), (x + 0.42 * size, sail_end))
    yield Shape("polygon", sail, COLOURS["white"])
    yield _box(x - 0.02 * size, y - size, 0.04 * size, 0.8 * size, COLOURS["brown"])
    yield Shape("polygon", hull, colour)


# Where it may stand (highest and lowest y), its size in heights, its colour unless named, and how it is drawn.
_THINGS: dict[str, tuple[float, float, float, Colour, Callable[[float, float, float, Colour], Iterator[Shape]]]] = {
    "bear": (0.93, 0.95, 0.62, (152, 100, 58), _bear),
    "sun": (0.16, 0.22, 0.22, COLOURS["yellow"], _sun),
    "moon": (0.15, 0.22, 0.18, (240, 238, 214), _moon),
    "star": (0.06, 0.4, 0.09, (252, 240, 170), _star),
    "cloud": (0.14, 0.3, 0.16, COLOURS["white"], _cloud),
    "rainbow": (0.7, 0.7, 0.52, COLOURS["red"], _rainbow),
    "mountain": (0.69, 0.7, 0.42, (112, 116, 132), _mountain),
    "tree": (0.74, 0.8, 0.42, COLOURS["green"], _tree),
    "house": (0.78, 0.8, 0.36, (226, 196, 150), _house),
    "boat": (0.8, 0.84, 0.3, COLOURS["red"], _boat),
    "flower": (0.92, 0.98, 0.2, COLOURS["pink"], _flower),
    "heart": (0.3, 0.4, 0.18, COLOURS["red"], _heart),
    "ball": (0.95, 0.97, 0.15, COLOURS["red"], _ball),
    "balloon": (0.26, 0.38, 0.26, COLOURS["red"], _balloon),
}
