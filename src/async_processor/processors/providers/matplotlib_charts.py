"""Charts drawn by Matplotlib, on a canvas of its own without a window.

Only its objects are used: no ``pyplot``, so nothing is kept from one chart to the next. Its settings hold while a chart
is drawn: whatever a file on the machine says, no text is taken for a formula or given to another program.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..extras import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXTRA = "charts"
NEEDED_FOR = "a chart of DATA_ANALYTICS"

DOTS_PER_INCH = 100
_SETTINGS: dict[str, Any] = {
    "timezone": "UTC",
    "text.usetex": False,
    "text.parse_math": False,
    # Lines of many points are drawn in parts: as one they may be too much for the canvas.
    "agg.path.chunksize": 10_000,
    "figure.autolayout": False,
    "savefig.bbox": None,
}
_COLOUR = "#1f77b4"
_MAX_LABEL_CHARS = 24
_MAX_NAME_CHARS = 60
# Pixels that one label of a bar takes, standing upright.
_LABEL_PX = 16
_NO_GLYPH = "some characters are drawn as boxes: the font has no picture of them"
_NO_ROOM = "the labels have too little room: ask for a wider or higher chart"


@dataclass(slots=True, frozen=True)
class Points:
    """Places and heights; joined by a line, with gaps where a height is None, or not."""

    xs: Sequence[float | datetime]
    ys: Sequence[float | None]
    joined: bool

    @property
    def count(self) -> int:
        return len(self.xs)


@dataclass(slots=True, frozen=True)
class Bars:
    """Names and heights; no bar where a height is None."""

    labels: Sequence[str]
    ys: Sequence[float | None]

    @property
    def count(self) -> int:
        return len(self.labels)


@dataclass(slots=True, frozen=True)
class Histogram:
    """Values to count in ``bins`` steps of equal width from the least to the largest."""

    values: Sequence[float]
    bins: int

    @property
    def count(self) -> int:
        return len(self.values)


Content = Points | Bars | Histogram


@dataclass(slots=True, frozen=True, kw_only=True)
class Drawing:
    """All that is to be seen; ``width`` and ``height`` in pixels."""

    content: Content = field(repr=False)
    title: str
    x_label: str
    y_label: str
    width: int
    height: int


def require() -> None:
    """Load the library now.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs_extra(EXTRA, needed_for=NEEDED_FOR):
        import matplotlib.figure  # noqa: F401


def draw(drawing: Drawing) -> tuple[bytes, tuple[str, ...]]:
    """A PNG without metadata, and what to warn of.

    Raises:
        MissingExtraError: the library is not installed.
    """
    with needs_extra(EXTRA, needed_for=NEEDED_FOR):
        import matplotlib as mpl
        from matplotlib.figure import Figure

    file = io.BytesIO()
    with mpl.rc_context(), _overheard() as told:
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # their type is that of all names there are
        settings.update(_SETTINGS)
        # A little more than so many pixels: what is less, if only by rounding, would be one pixel less.
        size = ((drawing.width + 0.1) / DOTS_PER_INCH, (drawing.height + 0.1) / DOTS_PER_INCH)
        figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        _fill(axes, drawing)
        axes.set_title(_one_line(drawing.title, len(drawing.title)))
        axes.set_xlabel(_one_line(drawing.x_label, _MAX_NAME_CHARS))
        axes.set_ylabel(_one_line(drawing.y_label, _MAX_NAME_CHARS))
        figure.savefig(file, format="png", dpi="figure", metadata={"Software": None})
    return file.getvalue(), tuple(dict.fromkeys(told))


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Catches what the library warns of, and puts into the list what it means for the one who asked for a chart."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        yield told
    for warning in given:
        text = str(warning.message)
        if "missing from" in text:
            told.append(_NO_GLYPH)
        elif "layout not applied" in text:
            told.append(_NO_ROOM)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _fill(axes: Axes, drawing: Drawing) -> None:
    content = drawing.content
    match content:
        case Points():
            ys = [math.nan if y is None else y for y in content.ys]
            # A point whose neighbours are missing is no line: it would not be seen.
            style: dict[str, Any] = {"marker": "o", "markersize": 3 if content.count > 1 else 6}
            if content.joined and content.count > 1:
                style = {"linewidth": 1.5, "marker": "o", "markersize": 3, "markevery": _alone(ys)}
            if not content.joined:
                style["linestyle"] = "none"
            axes.plot(content.xs, ys, color=_COLOUR, **style)  # type: ignore[arg-type]  # times are fine, too
        case Bars():
            axes.bar(range(content.count), [0.0 if y is None else y for y in content.ys], color=_COLOUR)
            every = math.ceil(content.count * _LABEL_PX / drawing.width) if content.count else 1
            places = range(0, content.count, every)
            axes.set_xticks(places, [_one_line(content.labels[place], _MAX_LABEL_CHARS) for place in places])
            if content.count > _most_lying(drawing.width, content.labels):
                axes.tick_params(axis="x", rotation=90)
        case Histogram():
            if content.values:
                axes.hist(content.values, bins=content.bins, color=_COLOUR, edgecolor="white", linewidth=0.5)
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)


def _alone(ys: Sequence[float]) -> list[int]:
    """Where a value has none beside it."""
    padded = [math.nan, *ys, math.nan]
    around = zip(padded, padded[1:], padded[2:], strict=False)
    return [
        number
        for number, (before, here, after) in enumerate(around)
        if not math.isnan(here) and math.isnan(before) and math.isnan(after)
    ]


def _most_lying(width: int, labels: Sequence[str]) -> int:
    """How many labels fit side by side, lying."""
    longest = max(map(len, itertools.chain(labels, [""])))
    return int(width * 0.8 / (8 * min(longest, _MAX_LABEL_CHARS) + 8))


def _one_line(text: str, longest: int) -> str:
    plain = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."
