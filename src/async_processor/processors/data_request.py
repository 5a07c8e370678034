"""What a DATA_ANALYTICS payload asks for. Needs no library, and time only for what is read: also at submit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import DataConfig
from . import payload as read
from .data_chart_request import ChartRequest, read_chart
from .data_columns import FIELD, check_column_count

QUERY = "query"
FORMATS = ("csv", "parquet", "arrow")
FUNCTIONS = ("count", "distinct", "sum", "mean", "min", "max", "median", "std")
METHODS = ("iqr", "zscore", "mad")

_WANTED = "a list of records, a dict of columns, or the bytes of a file with payload['format']"
_WANTED_NAMES = "the name of a column, or a list of such names"
# Sorting both columns of each pair takes the time: 32 columns are 496 pairs.
MAX_CORRELATED = 32
_MAX_LISTED = 100
_MAX_NAME_CHARS = 1_000
# Of a million records these are enough to see that somebody sends something else.
_RECORDS_LOOKED_AT = 1_000
_INTERVAL = re.compile(r"(?:(\d{1,6})\s*)?(second|minute|hour|day|week|month|quarter|year)s?", re.IGNORECASE)
# Where the method's own literature draws the line; see docs/data-analytics.md.
_THRESHOLDS = {"iqr": 1.5, "zscore": 3.0, "mad": 3.5}


@dataclass(slots=True, frozen=True)
class File:
    """The bytes of a table, as somebody sent them, and their format."""

    data: read.Buffer
    form: str


Source = Sequence[Mapping[str, Any]] | Mapping[str, Any] | File


@dataclass(slots=True, frozen=True)
class Summary:
    """Figures of every column."""


@dataclass(slots=True, frozen=True, kw_only=True)
class GroupBy:
    """Aggregates by group; ``aggregations`` is pairs of column and function."""

    by: tuple[str, ...]
    aggregations: tuple[tuple[str, str], ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class TimeSeries:
    """Aggregates by interval; ``interval`` as the database reads it, ``window`` in intervals."""

    time_column: str
    value_column: str
    interval: str
    window: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Correlation:
    """How columns go together; no names mean all that hold numbers."""

    columns: tuple[str, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class Outliers:
    """Values far from the others; no names mean all columns that hold numbers."""

    columns: tuple[str, ...]
    method: str
    threshold: float


@dataclass(slots=True, frozen=True)
class Query:
    """A caller's SELECT."""

    text: str


Analysis = Summary | GroupBy | TimeSeries | Correlation | Outliers | Query


@dataclass(slots=True, frozen=True, kw_only=True)
class Request:
    """A payload that has been checked.

    Attributes:
        source: where the table comes from. The values in it have not been looked at.
        analysis: what to do with it.
        limit: most rows, groups or points to give back.
        chart: what to draw, if anything.
    """

    source: Source
    analysis: Analysis
    limit: int
    chart: ChartRequest | None = None

    @property
    def runs_apart(self) -> bool:
        """Whether it needs a process of its own.

        Because bytes are decoded, or SQL is run, that somebody else may have written; or because a picture is drawn,
        which holds the interpreter's lock.
        """
        return isinstance(self.source, File) or isinstance(self.analysis, Query) or self.chart is not None


def read_request(payload: Mapping[str, Any], config: DataConfig) -> Request:
    """Check everything but the values in the table, which columns it has, and all but the first records.

    Raises:
        InvalidPayloadError: a field cannot be used.
    """
    name = read.choice(payload, "analysis_type", "summary", tuple(_READERS))
    return Request(
        source=_read_source(payload, config),
        analysis=_READERS[name](payload),
        limit=read.whole(payload, "limit", config.max_result_rows, 1, config.max_result_rows),
        chart=read_chart(payload, config),
    )


def _read_source(payload: Mapping[str, Any], config: DataConfig) -> Source:
    data = payload.get(FIELD)
    if data is None:
        raise read.invalid(FIELD, f"is missing; it must be {_WANTED}")
    if isinstance(data, bytes | bytearray | memoryview):
        held = read.buffer(payload, FIELD, "the bytes of a file", config.max_bytes, "DataConfig.max_bytes")
        return File(held, read.choice(payload, "format", None, FORMATS))
    if isinstance(data, Mapping):
        check_column_count(len(data), config.max_columns)
        return data
    if not isinstance(data, list | tuple):
        read.refuse(FIELD, _WANTED, data)
    if len(data) > config.max_cells:
        raise read.invalid(FIELD, f"has {len(data)} records; send at most {config.max_cells}")
    check_records(itertools.islice(data, _RECORDS_LOOKED_AT))
    return data


def check_records(records: Iterable[object]) -> None:
    """Refuse what is no list of records.

    Raises:
        InvalidPayloadError: one is no mapping.
    """
    wrong = next((kind for kind in set(map(type, records)) if not issubclass(kind, Mapping)), None)
    if wrong is not None:
        raise read.invalid(FIELD, f"holds a {wrong.__name__}; each record must be a dict of column names and values")


def _read_summary(_payload: Mapping[str, Any]) -> Summary:
    return Summary()


def _read_group_by(payload: Mapping[str, Any]) -> GroupBy:
    by = _names(payload, "by")
    if not by:
        raise read.invalid("by", f"is missing; it must be {_WANTED_NAMES}")
    return GroupBy(by=by, aggregations=_read_aggregations(payload))


def _read_aggregations(payload: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    wanted = f"a mapping of column names to one or a list of {', '.join(map(repr, FUNCTIONS))}"
    asked = (
        (column, function)
        for column, functions in read.mapping(payload, "aggregations", wanted).items()
        for function in (functions if isinstance(functions, list | tuple) else [functions])
    )
    pairs = list(itertools.islice(asked, _MAX_LISTED + 1))
    if len(pairs) > _MAX_LISTED:
        raise read.invalid("aggregations", f"asks for more than {_MAX_LISTED} figures; send fewer")
    checked = (
        (column, read.choice({"aggregations": function}, "aggregations", None, FUNCTIONS)) for column, function in pairs
    )
    return tuple(dict.fromkeys(checked))


def _read_time_series(payload: Mapping[str, Any]) -> TimeSeries:
    return TimeSeries(
        time_column=read.text(payload, "time_column", max_chars=_MAX_NAME_CHARS, wanted="the name of a column"),
        value_column=read.text(payload, "value_column", max_chars=_MAX_NAME_CHARS, wanted="the name of a column"),
        interval=_read_interval(payload),
        window=read.whole(payload, "window", 3, 1, 10_000),
    )


def _read_interval(payload: Mapping[str, Any]) -> str:
    wanted = "a length of time such as 'day', '15 minutes' or '3 months'"
    found = _INTERVAL.fullmatch(read.text(payload, "interval", "day", max_chars=40, wanted=wanted).strip())
    if found is None or int(found[1] or 1) == 0:
        raise read.invalid("interval", f"must be {wanted}")
    return f"{int(found[1] or 1)} {found[2].lower()}"


def _read_correlation(payload: Mapping[str, Any]) -> Correlation:
    return Correlation(columns=_names(payload, "columns", MAX_CORRELATED))


def _read_outliers(payload: Mapping[str, Any]) -> Outliers:
    method = read.choice(payload, "method", "iqr", METHODS)
    return Outliers(
        columns=_names(payload, "columns"),
        method=method,
        threshold=read.number(payload, "threshold", _THRESHOLDS[method], 0.0, 1e6),
    )


def _read_query(payload: Mapping[str, Any]) -> Query:
    text = read.text(payload, QUERY, wanted="one SELECT statement over the table data")
    if not text.strip() or "\0" in text:
        raise read.invalid(QUERY, "is empty or holds a zero byte; send one SELECT statement over the table data")
    return Query(text)


def _names(payload: Mapping[str, Any], key: str, most: int = _MAX_LISTED) -> tuple[str, ...]:
    given = read.optional(payload, key, (str, list, tuple), _WANTED_NAMES)
    names = [given] if isinstance(given, str) else given or []
    if len(names) > most:
        raise read.invalid(key, f"has {len(names)} names; send at most {most}")
    if not all(isinstance(name, str) for name in names):
        raise read.invalid(key, f"must be {_WANTED_NAMES}")
    return tuple(dict.fromkeys(names))


_READERS: dict[str, Callable[[Mapping[str, Any]], Analysis]] = {
    "summary": _read_summary,
    "group_by": _read_group_by,
    "time_series": _read_time_series,
    "correlation": _read_correlation,
    "outliers": _read_outliers,
    "sql": _read_query,
}
