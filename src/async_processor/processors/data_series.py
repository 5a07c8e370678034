"""Values over time: aggregates by interval, their moving average, and the trend."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..results.data_analytics import SeriesPoint, TimeSeriesResult, Trend
from . import payload as read
from .data_columns import FIELD, Kind, shown
from .data_request import TimeSeries
from .data_table import Table, TableColumn, about
from .providers.duckdb_engine import Engine

_DAY_S = 86_400.0
POINT_NAMES = tuple(item.name for item in fields(SeriesPoint))


def time_series(engine: Engine, table: Table, analysis: TimeSeries, limit: int) -> TimeSeriesResult:
    """Figures of every interval from the first to the last, the empty ones included.

    Raises:
        InvalidPayloadError: the columns are not there, or hold no times and no numbers.
    """
    moment = _moment(engine, table, analysis.time_column)
    value = table.numeric_column("value_column", analysis.value_column).sql
    engine.run(
        f"CREATE TABLE series AS SELECT {moment} AS moment, {value} AS v FROM t "
        f"WHERE {moment} IS NOT NULL AND {value} IS NOT NULL"
    )
    points = _points(engine, analysis, limit)
    return TimeSeriesResult(
        analysis_type="time_series",
        interval=analysis.interval,
        window=analysis.window,
        points=tuple(SeriesPoint(**dict(zip(POINT_NAMES, row, strict=True))) for row in points[:limit]),
        trend=_trend(engine),
        truncated=len(points) > limit,
        **about(table),
    )


def _moment(engine: Engine, table: Table, name: str) -> str:
    """SQL for the time in each row: as it is, or read from ISO 8601 text."""
    column = table.column("time_column", name)
    if column.kind is Kind.TIME:
        return column.sql
    if column.kind is not Kind.TEXT:
        raise read.invalid(
            "time_column", f"names {shown(name)}, a column of kind {column.kind}; it must be one of times"
        )
    return _from_text(engine, column)


def _from_text(engine: Engine, column: TableColumn) -> str:
    # By way of a time with a zone: read as one without, "+02:00" would be dropped without a word.
    sql = f"make_timestamp(epoch_us(TRY_CAST({column.sql} AS TIMESTAMPTZ)))"
    unread = engine.rows(f"SELECT count(*) FROM t WHERE {column.sql} IS NOT NULL AND {sql} IS NULL")[0][0]
    if unread:
        raise read.invalid(
            FIELD, f"has {unread} texts in column {shown(column.name)} that are no times; send ISO 8601, "
            "such as '2026-03-01T12:30:00Z'"
        )  # fmt: skip
    return sql


def _points(engine: Engine, analysis: TimeSeries, limit: int) -> list[list[Any]]:
    """One row more than ``limit`` where there is one. Weeks begin on Mondays."""
    length = f"INTERVAL '{analysis.interval}'"  # of digits and one of a few words
    first, last = engine.rows(f"SELECT time_bucket({length}, min(moment)), max(moment) FROM series")[0]
    if first is None:
        return []
    return engine.rows(
        "WITH starts AS (SELECT range AS start "
        f"FROM range(?::TIMESTAMP, ?::TIMESTAMP + INTERVAL '1 microsecond', {length}) LIMIT {limit + 1}), "
        f"found AS (SELECT time_bucket({length}, moment) AS start, count(*) AS n, sum(v) AS total, avg(v) AS mean, "
        "min(v) AS low, max(v) AS high FROM series GROUP BY 1) "
        "SELECT start, coalesce(n, 0), total, mean, low, high, "
        f"CASE WHEN row_number() OVER recent >= {analysis.window} THEN avg(mean) OVER recent END "
        "FROM starts LEFT JOIN found USING (start) "
        f"WINDOW recent AS (ORDER BY start ROWS {analysis.window - 1} PRECEDING) ORDER BY start",
        (first, last),
    )


def _trend(engine: Engine) -> Trend:
    """The straight line through all values by least squares, in units a day."""
    slope, fit = engine.rows(
        "WITH origin AS (SELECT min(moment) AS moment FROM series), "
        "points AS (SELECT (epoch_us(series.moment) - epoch_us(origin.moment)) / 1e6 AS x, v::DOUBLE AS y "
        "FROM series, origin) "
        "SELECT regr_slope(y, x), regr_r2(y, x) FROM points"
    )[0]
    if slope is None:
        return Trend(slope_per_day=None, r_squared=None)
    return Trend(slope_per_day=slope * _DAY_S, r_squared=fit)
