"""What ``payload["chart"]`` of DATA_ANALYTICS asks for. Needs no library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import DataConfig
from ..errors import InvalidPayloadError
from . import payload as read

CHART = "chart"
LINE, BAR, HISTOGRAM, SCATTER = KINDS = ("line", "bar", "histogram", "scatter")
KEYS = ("kind", "x", "y", "title", "width", "height", "bins")
MAX_TITLE_CHARS = 200
MAX_BINS = 500

_WANTED = "a mapping such as {'kind': 'line', 'x': 'day', 'y': 'minutes'}"
_MAX_NAME_CHARS = 1_000
_WIDTH, _HEIGHT, _BINS = 800, 500, 20
# Below, there is no room for the labels of the axes.
_MIN_WIDTH, _MIN_HEIGHT = 200, 150


@dataclass(slots=True, frozen=True, kw_only=True)
class ChartRequest:
    """A chart to draw.

    Attributes:
        kind: one of ``KINDS``.
        x, y: names of columns; a histogram counts, and has no ``y``.
        title: what stands above it; may be empty.
        width, height: in pixels.
        bins: how many bars of equal width a histogram has.
    """

    kind: str
    x: str
    y: str | None
    title: str
    width: int
    height: int
    bins: int


def read_chart(payload: Mapping[str, Any], config: DataConfig) -> ChartRequest | None:
    """The chart that a payload asks for, if any. Whether its columns are there is not seen here.

    Raises:
        InvalidPayloadError: it cannot be drawn so; ``field`` is "chart", and the message names the key in it.
    """
    if payload.get(CHART) is None:
        return None
    given = read.mapping(payload, CHART, _WANTED)
    try:
        return _read(given, config)
    except InvalidPayloadError as error:
        # The readers know the key only; here it is one within another.
        problem = error.message.removeprefix("payload")
    raise InvalidPayloadError(f"payload[{CHART!r}]{problem}", field=CHART)


def _read(given: Mapping[str, Any], config: DataConfig) -> ChartRequest:
    kind = read.choice(given, "kind", None, KINDS)
    unknown = sum(key not in KEYS for key in given)
    if unknown:
        # A misspelt key would be left out without a word.
        raise read.invalid("kind", f"stands beside {unknown} keys that no chart has; the keys are {', '.join(KEYS)}")
    for key, kinds in (("y", (LINE, BAR, SCATTER)), ("bins", (HISTOGRAM,))):
        if given.get(key) is not None and kind not in kinds:
            raise read.invalid(key, f"is given, which a {kind} has no use for; leave it out")
    width = read.whole(given, "width", _WIDTH, _MIN_WIDTH, config.max_chart_pixels // _MIN_HEIGHT)
    height = read.whole(given, "height", _HEIGHT, _MIN_HEIGHT, config.max_chart_pixels // _MIN_WIDTH)
    if width * height > config.max_chart_pixels:
        raise read.invalid(
            "width",
            f"times height is {width * height} pixels; ask for at most {config.max_chart_pixels} "
            "(DataConfig.max_chart_pixels)",
        )
    return ChartRequest(
        kind=kind,
        x=_column(given, "x"),
        y=None if kind == HISTOGRAM else _column(given, "y"),
        title=read.text(given, "title", "", max_chars=MAX_TITLE_CHARS),
        width=width,
        height=height,
        bins=read.whole(given, "bins", _BINS, 1, MAX_BINS),
    )


def _column(given: Mapping[str, Any], key: str) -> str:
    return read.text(given, key, max_chars=_MAX_NAME_CHARS, wanted="the name of a column")
