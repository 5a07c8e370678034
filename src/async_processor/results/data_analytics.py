"""The result of DATA_ANALYTICS: what all analyses have in common, and a class for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .base import OPTIONAL, Record, Result

Number = int | float


@dataclass(slots=True, frozen=True, kw_only=True)
class Chart(Record):
    """A picture of the figures.

    Attributes:
        format: "png".
        data: the file.
        width, height: in pixels.
        kind: what was drawn, such as "line".
        points: how many values it shows.
    """

    format: str
    data: bytes = field(repr=False)
    width: int
    height: int
    kind: str
    points: int


@dataclass(slots=True, frozen=True, kw_only=True)
class DataAnalyticsResult(Result):
    """Figures of a table. Read as such, it is of the class of its analysis.

    Attributes:
        analysis_type: which analysis it is.
        row_count: how many rows the table has.
        truncated: whether there was more than the result may hold.
        chart: the picture that was asked for; None without one.
        warnings: what of the table could not be used, or shows in no chart, in words.
        provider: the library.
        offline: True.
    """

    analysis_type: str
    row_count: int
    truncated: bool
    chart: Chart | None = field(default=None, metadata=OPTIONAL)
    warnings: tuple[str, ...]
    provider: str
    offline: bool

    @classmethod
    def _variant(cls, plain: Mapping[str, Any]) -> type[Any]:
        name = plain.get("analysis_type")
        return _OF_ANALYSIS.get(name, cls) if cls is DataAnalyticsResult and isinstance(name, str) else cls


@dataclass(slots=True, frozen=True, kw_only=True)
class CommonValue(Record):
    """A text that a column holds, its first 200 characters, and how often."""

    value: str
    count: int


_OF_NUMBERS = ("min", "max", "mean", "std", "q25", "median", "q75")
_BY_TYPE = {
    "integer": _OF_NUMBERS,
    "number": _OF_NUMBERS,
    "boolean": ("true", "false"),
    "text": ("min_length", "max_length", "most_common"),
    "time": ("min", "max"),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class ColumnSummary(Record):
    """One column. Figures are None where they are none of its type, or cannot be computed; the plain dict has those of
    its type.

    Attributes:
        name: of the column.
        type: what it holds.
        count: how many values.
        nulls: how many rows without one.
        distinct: how many different values.
        min, max: of numbers; of times in ISO 8601.
        mean, std: of numbers; the deviation is that of a sample.
        q25, median, q75: of numbers: quartiles.
        true, false: how many of either truth value.
        min_length, max_length: of texts, in characters.
        most_common: of texts, the most frequent first.
    """

    name: str
    type: Literal["integer", "number", "boolean", "text", "time"]
    nulls: int
    count: int
    distinct: int
    min: Number | str | None = field(default=None, metadata=OPTIONAL)
    max: Number | str | None = field(default=None, metadata=OPTIONAL)
    mean: float | None = field(default=None, metadata=OPTIONAL)
    std: float | None = field(default=None, metadata=OPTIONAL)
    q25: float | None = field(default=None, metadata=OPTIONAL)
    median: float | None = field(default=None, metadata=OPTIONAL)
    q75: float | None = field(default=None, metadata=OPTIONAL)
    true: int | None = field(default=None, metadata=OPTIONAL)
    false: int | None = field(default=None, metadata=OPTIONAL)
    min_length: int | None = field(default=None, metadata=OPTIONAL)
    max_length: int | None = field(default=None, metadata=OPTIONAL)
    most_common: tuple[CommonValue, ...] | None = field(default=None, metadata=OPTIONAL)

    def _lacks(self, name: str) -> bool:
        return name not in _BY_TYPE[self.type]


@dataclass(slots=True, frozen=True, kw_only=True)
class SummaryResult(DataAnalyticsResult):
    """Figures of every column."""

    analysis_type: Literal["summary"]
    columns: tuple[ColumnSummary, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class Group(Record):
    """The rows that have the same values in some columns.

    Attributes:
        key: these values by column.
        count: how many rows.
        values: the aggregates, by column and function.
    """

    key: dict[str, Any]
    count: int
    values: dict[str, dict[str, Any]]


@dataclass(slots=True, frozen=True, kw_only=True)
class GroupByResult(DataAnalyticsResult):
    """Aggregates by group, in the order of their keys."""

    analysis_type: Literal["group_by"]
    groups: tuple[Group, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class SeriesPoint(Record):
    """One interval. Figures are None where it holds no values.

    Attributes:
        time: its start, in ISO 8601.
        count: how many values.
        sum, mean, min, max: of them.
        moving_average: of this and the intervals before it; None for the first ones.
    """

    time: str
    count: int
    sum: Number | None
    mean: float | None
    min: Number | None
    max: Number | None
    moving_average: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class Trend(Record):
    """The straight line through all values by least squares; None where there is none.

    Attributes:
        slope_per_day: in units a day.
        r_squared: how much of the variance it explains, 0 to 1.
    """

    slope_per_day: float | None
    r_squared: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class TimeSeriesResult(DataAnalyticsResult):
    """Values over time.

    Attributes:
        interval: the length of each, such as "1 day".
        window: how many intervals the moving average is taken over.
        points: one for each interval from the first to the last.
        trend: the line through all values.
    """

    analysis_type: Literal["time_series"]
    interval: str
    window: int
    points: tuple[SeriesPoint, ...]
    trend: Trend


@dataclass(slots=True, frozen=True, kw_only=True)
class CorrelatedPair(Record):
    """How two columns go together.

    Attributes:
        a, b: their names.
        count: how many rows have a value in both.
        pearson, spearman: the coefficients, -1 to 1; None where they cannot be computed.
    """

    a: str
    b: str
    count: int
    pearson: float | None
    spearman: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class CorrelationResult(DataAnalyticsResult):
    """How columns of numbers go together, two by two."""

    analysis_type: Literal["correlation"]
    pairs: tuple[CorrelatedPair, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class Outlier(Record):
    """A value far from the others, and the number of its row, from 0."""

    row: int
    value: Number


@dataclass(slots=True, frozen=True, kw_only=True)
class ColumnOutliers(Record):
    """The outliers of one column.

    Attributes:
        name: of the column.
        lower, upper: the smallest and the largest value that is none; None where that cannot be said.
        count: how many outliers there are.
        outliers: the first of them.
    """

    name: str
    lower: float | None
    upper: float | None
    count: int
    outliers: tuple[Outlier, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class OutliersResult(DataAnalyticsResult):
    """Values far from the others.

    Attributes:
        method: how distance is measured: "iqr", "zscore" or "mad".
        threshold: in units of the method.
        columns: by column.
    """

    analysis_type: Literal["outliers"]
    method: str
    threshold: float
    columns: tuple[ColumnOutliers, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class SqlResult(DataAnalyticsResult):
    """What a query gave.

    Attributes:
        columns: their names.
        rows: a list of values for each.
    """

    analysis_type: Literal["sql"]
    columns: tuple[str, ...]
    rows: list[list[Any]]


_OF_ANALYSIS: Mapping[str, type[DataAnalyticsResult]] = {
    "summary": SummaryResult,
    "group_by": GroupByResult,
    "time_series": TimeSeriesResult,
    "correlation": CorrelationResult,
    "outliers": OutliersResult,
    "sql": SqlResult,
}
