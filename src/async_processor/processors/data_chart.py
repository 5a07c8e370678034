"""A chart beside the figures of DATA_ANALYTICS: which values it shows, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..config import DataConfig
from ..errors import InvalidPayloadError
from ..results import data_analytics as results
from .data_chart_request import BAR, CHART, ChartRequest
from .data_columns import LARGEST, shown
from .data_request import Analysis, GroupBy, Query, TimeSeries
from .data_series import POINT_NAMES
from .data_table import Table
from .providers import matplotlib_charts
from .providers.duckdb_engine import Engine
from .providers.matplotlib_charts import Bars, Content, Drawing, Histogram, Points

MAX_BARS = 100
# The calendar needs some room before and after what is drawn; it begins with the year 1 and ends with 9999.
_FIRST_YEAR, _LAST_YEAR = 1_000, 9_000
_NO_VALUE = "(none)"
_LISTED = 10

Columns = Mapping[str, Sequence[Any]]
T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Chart:
    """What a chart adds to the result, and what to warn of."""

    result: results.Chart
    warnings: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Analysed:
    """The figures, and what they are of."""

    analysis: Analysis
    found: results.DataAnalyticsResult
    engine: Engine
    table: Table


def draw(wanted: ChartRequest, analysed: Analysed, config: DataConfig) -> Chart:
    """Draw the rows of the result, where the analysis gives rows, and else those of the table.

    Raises:
        InvalidPayloadError: the chart names a column that there is not, or that holds what cannot be drawn; or it would
            show too many points.
        MissingExtraError: the extra "charts" is not installed.
    """
    columns = _result_columns(analysed.analysis, analysed.found)
    if columns is None:
        columns = _table_columns(analysed, wanted, config.max_chart_points)
    for key, name in _names(wanted):
        if name not in columns:
            listed = ", ".join(map(shown, list(columns)[:_LISTED]))
            raise _wrong(key, f"names {shown(name)}, which is none of the columns to draw: {listed}")
    content = _content(wanted, columns)
    if content.count > config.max_chart_points:
        raise _too_many(config.max_chart_points)
    png, warnings = matplotlib_charts.draw(
        Drawing(
            content=content,
            title=wanted.title,
            x_label=wanted.x,
            y_label="count" if wanted.y is None else wanted.y,
            width=wanted.width,
            height=wanted.height,
        )
    )
    result = results.Chart(
        format="png", data=png, width=wanted.width, height=wanted.height, kind=wanted.kind, points=content.count
    )
    return Chart(result, warnings)


def _names(wanted: ChartRequest) -> list[tuple[str, str]]:
    return [(key, name) for key, name in (("x", wanted.x), ("y", wanted.y)) if name is not None]


def _result_columns(analysis: Analysis, found: results.DataAnalyticsResult) -> Columns | None:
    """The rows of a result by column; None for an analysis that gives no rows."""
    match analysis, found:
        case Query(), results.SqlResult():
            # Of two columns with one name the first is meant.
            numbers = {name: number for number, name in reversed([*enumerate(found.columns)])}
            return {name: [row[number] for row in found.rows] for name, number in numbers.items()}
        case TimeSeries(), results.TimeSeriesResult():
            return {name: [getattr(point, name) for point in found.points] for name in POINT_NAMES}
        case GroupBy(), results.GroupByResult():
            groups = found.groups
            figures = {
                f"{function}({name})": [group.values[name][function] for group in groups]
                for name, function in analysis.aggregations
            }
            keys = {name: [group.key[name] for group in groups] for name in analysis.by}
            return {"count": [group.count for group in groups], **figures, **keys}
        case _:
            return None


def _table_columns(analysed: Analysed, wanted: ChartRequest, most: int) -> Columns:
    """The columns of the table that are to be drawn."""
    found = {name: analysed.table.column(CHART, name) for _, name in _names(wanted)}
    if analysed.table.rows > most:
        raise _too_many(most)
    listed = ", ".join(column.sql for column in found.values())
    rows = analysed.engine.rows(f"SELECT {listed} FROM t ORDER BY rowid")
    return {name: [row[number] for row in rows] for number, name in enumerate(found)}


def _content(wanted: ChartRequest, columns: Columns) -> Content:
    xs = columns[wanted.x]
    if wanted.y is None:
        return Histogram([x for x in _numbers("x", wanted.x, xs) if x is not None], wanted.bins)
    ys = _numbers("y", wanted.y, columns[wanted.y])
    if wanted.kind == BAR:
        if len(xs) > MAX_BARS:
            raise _wrong("kind", f"is 'bar' for {len(xs)} rows; draw at most {MAX_BARS}, such as groups of them")
        return Bars([_NO_VALUE if x is None else str(x) for x in xs], ys)
    places: Sequence[float | datetime | None] = _times("x", wanted.x, xs) or _numbers("x", wanted.x, xs)
    return _points(places, ys, joined=wanted.kind != "scatter")


def _points(xs: Sequence[Any], ys: Sequence[float | None], *, joined: bool) -> Points:
    # A line goes from left to right, and has a gap where there is no value.
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and (joined or y is not None)]
    if joined:
        pairs.sort(key=lambda pair: pair[0])
    return Points([x for x, _ in pairs], [y for _, y in pairs], joined)


def _numbers(key: str, name: str, values: Sequence[Any]) -> list[float | None]:
    return _each(values, lambda value: _number(key, name, value))


def _number(key: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, f"names {shown(name)}, which holds other values than numbers; it must be one of numbers")
    if abs(value) > LARGEST:
        raise _wrong(key, f"names {shown(name)}, which holds a number beyond {LARGEST:g}; scale it")
    return float(value)


def _times(key: str, name: str, values: Sequence[Any]) -> list[datetime | None]:
    """The values as times in UTC; empty unless all that there are are ISO 8601."""
    if not any(isinstance(value, str) for value in values):
        return []
    try:
        times = _each(values, _time)
    except (ValueError, TypeError, OverflowError):
        raise _wrong(key, f"names {shown(name)}, which holds texts; it must be one of numbers or times") from None
    if any(time is not None and not _FIRST_YEAR <= time.year < _LAST_YEAR for time in times):
        raise _wrong(key, f"names {shown(name)}, with times outside of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return times


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _each(values: Sequence[Any], convert: Callable[[Any], T]) -> list[T | None]:
    return [None if value is None else convert(value) for value in values]


def _wrong(key: str, problem: str) -> InvalidPayloadError:
    return InvalidPayloadError(f"payload[{CHART!r}][{key!r}] {problem}", field=CHART)


def _too_many(most: int) -> InvalidPayloadError:
    return _wrong(
        "kind",
        f"would show more than {most} points (DataConfig.max_chart_points); draw the result of 'group_by', "
        "'time_series' or 'sql' instead",
    )
