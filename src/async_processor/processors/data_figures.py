"""The analyses: each a few queries over the table ``t``, and what they give as plain values.

Names of columns in the queries are ``c0``, ``c1``, ...; none that a caller chose is ever part of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ..results.data_analytics import (
    ColumnOutliers,
    ColumnSummary,
    CommonValue,
    CorrelatedPair,
    CorrelationResult,
    DataAnalyticsResult,
    Group,
    GroupByResult,
    Outlier,
    OutliersResult,
    SqlResult,
    SummaryResult,
)
from . import payload as read
from .data_columns import Kind
from .data_request import MAX_CORRELATED, Analysis, Correlation, GroupBy, Outliers, Query, Summary, TimeSeries
from .data_series import time_series
from .data_table import Table, TableColumn, about, name_columns
from .providers.duckdb_engine import Engine

Report = Callable[[float, str], None]

_TOP = 5
_SHOWN_CHARS = 200
# What is asked of a column of each kind beside its count and its distinct values.
_SUMMARIES = {
    Kind.INTEGER: (
        ("min", "min({0})"), ("max", "max({0})"), ("mean", "avg({0})"), ("std", "stddev_samp({0})"),
        ("q25", "quantile_cont({0}, 0.25)"), ("median", "quantile_cont({0}, 0.5)"), ("q75", "quantile_cont({0}, 0.75)"),
    ),
    Kind.BOOLEAN: (("true", "count_if({0})"), ("false", "count_if(NOT {0})")),
    Kind.TEXT: (("min_length", "min(length({0}))"), ("max_length", "max(length({0}))")),
    Kind.TIME: (("min", "min({0})"), ("max", "max({0})")),
}  # fmt: skip
# Summed with compensation: the mean of many numbers of different size is right to the last digits.
_SUMMARIES[Kind.NUMBER] = tuple(
    (name, "favg({0})" if name == "mean" else sql) for name, sql in _SUMMARIES[Kind.INTEGER]
)
_AGGREGATES = {
    "count": "count({0})", "distinct": "count(DISTINCT {0})", "min": "min({0})", "max": "max({0})",
    "sum": "sum({0})", "mean": "avg({0})", "median": "quantile_cont({0}, 0.5)", "std": "stddev_samp({0})",
}  # fmt: skip
_FOR_NUMBERS = ("sum", "mean", "median", "std")


def figures(engine: Engine, table: Table, analysis: Analysis, limit: int, report: Report) -> DataAnalyticsResult:
    """The result of an analysis, but for its chart.

    Raises:
        InvalidPayloadError: it names a column that there is not, or that holds something else.
        PermanentError: it takes more time or memory than it may.
    """
    match analysis:
        case Summary():
            return _summary(engine, table, report)
        case GroupBy():
            return _group_by(engine, table, analysis, limit)
        case TimeSeries():
            return time_series(engine, table, analysis, limit)
        case Correlation():
            return _correlation(engine, table, analysis, report)
        case Outliers():
            return _outliers(engine, table, analysis, limit, report)
        case Query():
            name_columns(engine, table)
            rows = engine.select(analysis.text, limit)
            return SqlResult(
                analysis_type="sql",
                columns=tuple(rows.names),
                rows=rows.values,
                truncated=rows.truncated,
                **about(table),
            )


def _summary(engine: Engine, table: Table, report: Report) -> SummaryResult:
    columns = []
    for number, column in enumerate(table.columns, 1):
        columns.append(_column_summary(engine, table, column))
        report(number / len(table.columns), "summarised")
    return SummaryResult(analysis_type="summary", columns=tuple(columns), truncated=False, **about(table))


def _column_summary(engine: Engine, table: Table, column: TableColumn) -> ColumnSummary:
    wanted = [("count", "count({0})"), ("distinct", "count(DISTINCT {0})"), *_SUMMARIES[column.kind]]
    row = engine.rows(f"SELECT {', '.join(sql.format(column.sql) for _, sql in wanted)} FROM t")[0]
    values = dict(zip((name for name, _ in wanted), row, strict=True))
    if column.kind is Kind.TEXT:
        most = engine.rows(
            f"SELECT left({column.sql}, {_SHOWN_CHARS}), count(*) AS n FROM t WHERE {column.sql} IS NOT NULL "
            f"GROUP BY {column.sql} ORDER BY n DESC, {column.sql} LIMIT {_TOP}"
        )
        values["most_common"] = tuple(CommonValue(value=value, count=count) for value, count in most)
    nulls = table.rows - values["count"]
    return ColumnSummary(name=column.name, type=column.kind.value, nulls=nulls, **values)


def _group_by(engine: Engine, table: Table, analysis: GroupBy, limit: int) -> GroupByResult:
    keys = [table.column("by", name) for name in analysis.by]
    wanted = [(name, function, _aggregate(table, name, function)) for name, function in analysis.aggregations]
    listed = ", ".join(column.sql for column in keys)
    order = ", ".join(f"{column.sql} NULLS LAST" for column in keys)
    rows = engine.rows(
        f"SELECT {', '.join([listed, 'count(*)', *(sql for _, _, sql in wanted)])} FROM t "
        f"GROUP BY {listed} ORDER BY {order} LIMIT {limit + 1}"
    )
    groups = []
    for row in rows[:limit]:
        values: dict[str, dict[str, Any]] = {}
        for (name, function, _), value in zip(wanted, row[len(keys) + 1 :], strict=True):
            values.setdefault(name, {})[function] = value
        key = dict(zip(analysis.by, row, strict=False))
        groups.append(Group(key=key, count=row[len(keys)], values=values))
    truncated = len(rows) > limit
    return GroupByResult(analysis_type="group_by", groups=tuple(groups), truncated=truncated, **about(table))


def _aggregate(table: Table, name: str, function: str) -> str:
    if function not in _FOR_NUMBERS:
        return _AGGREGATES[function].format(table.column("aggregations", name).sql)
    column = table.numeric_column("aggregations", name)
    sql = _AGGREGATES[function]
    if column.kind is Kind.NUMBER:
        sql = {"sum": "fsum({0})", "mean": "favg({0})"}.get(function, sql)
    return sql.format(column.sql)


def _correlation(engine: Engine, table: Table, analysis: Correlation, report: Report) -> CorrelationResult:
    columns = table.numeric("columns", analysis.columns)
    if not 2 <= len(columns) <= MAX_CORRELATED:
        raise read.invalid(
            "columns", f"comes to {len(columns)}; send the names of 2 to {MAX_CORRELATED} columns of numbers"
        )
    pairs = list(itertools.combinations(columns, 2))
    found = []
    for number, (one, other) in enumerate(pairs, 1):
        found.append(_pair(engine, one, other))
        report(number / len(pairs), "correlated")
    return CorrelationResult(analysis_type="correlation", pairs=tuple(found), truncated=False, **about(table))


def _pair(engine: Engine, one: TableColumn, other: TableColumn) -> CorrelatedPair:
    """Of the rows where both have a value. Equal values share the mean of their ranks."""
    rank = "rank() OVER (ORDER BY {0}) + (count(*) OVER (PARTITION BY {0}) - 1) / 2.0"
    count, pearson, spearman = engine.rows(
        f"WITH complete AS (SELECT {one.sql}::DOUBLE AS a, {other.sql}::DOUBLE AS b FROM t "
        f"WHERE {one.sql} IS NOT NULL AND {other.sql} IS NOT NULL), "
        f"ranked AS (SELECT a, b, {rank.format('a')} AS ra, {rank.format('b')} AS rb FROM complete) "
        "SELECT count(*), corr(a, b), corr(ra, rb) FROM ranked"
    )[0]
    return CorrelatedPair(
        a=one.name, b=other.name, count=count, pearson=_within_one(pearson), spearman=_within_one(spearman)
    )


def _within_one(value: float | None) -> float | None:
    return None if value is None else max(-1.0, min(1.0, value))


# Middle and unit of each method's distance: how many units from the middle a value is.
_UNITS = {
    "zscore": ("favg(x)", "stddev_samp(x)"),
    # 0.6745 is the third quartile of the normal distribution, so that the unit is its standard deviation.
    "mad": ("median(x)", "mad(x) / 0.6745"),
}


def _outliers(engine: Engine, table: Table, analysis: Outliers, limit: int, report: Report) -> OutliersResult:
    columns = table.numeric("columns", analysis.columns)
    found, left, truncated = [], limit, False
    for number, column in enumerate(columns, 1):
        lower, upper = _fences(engine, column, analysis)
        outside = f"FROM t WHERE {column.sql} < ? OR {column.sql} > ?"
        count = engine.rows(f"SELECT count(*) {outside}", (lower, upper))[0][0]
        rows = engine.rows(f"SELECT rowid, {column.sql} {outside} ORDER BY rowid LIMIT {left}", (lower, upper))
        left -= len(rows)
        truncated = truncated or count > len(rows)
        values = tuple(Outlier(row=row, value=value) for row, value in rows)
        found.append(ColumnOutliers(name=column.name, lower=lower, upper=upper, count=count, outliers=values))
        report(number / len(columns), "searched")
    return OutliersResult(
        analysis_type="outliers",
        method=analysis.method,
        threshold=analysis.threshold,
        columns=tuple(found),
        truncated=truncated,
        **about(table),
    )


def _fences(engine: Engine, column: TableColumn, analysis: Outliers) -> tuple[float | None, float | None]:
    """The smallest and the largest value that is no outlier; None where that cannot be said."""
    values = f"(SELECT {column.sql}::DOUBLE AS x FROM t)"
    if analysis.method == "iqr":
        low, high = engine.rows(f"SELECT quantile_cont(x, 0.25), quantile_cont(x, 0.75) FROM {values}")[0]
        if low is None:
            return None, None
        reach = analysis.threshold * (high - low)
        return low - reach, high + reach
    middle, unit = engine.rows("SELECT {}, {} FROM {}".format(*_UNITS[analysis.method], values))[0]
    # Without spread there is no unit to measure distance in.
    if middle is None or not unit:
        return None, None
    return middle - analysis.threshold * unit, middle + analysis.threshold * unit
