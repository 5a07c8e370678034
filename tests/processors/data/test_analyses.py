"""Groups, series, correlations and outliers, each beside figures that were computed another way."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections import defaultdict

import numpy as np
import pytest
from tests.processors.data.kit import analyse, naive

from async_processor.config import DataConfig
from async_processor.errors import InvalidPayloadError

DICE = np.random.default_rng(7)

# ---- groups


def test_groups_have_the_figures_that_python_gives():
    rows = [
        {
            "toy": str(DICE.choice(["bear", "ball", "fox"])),
            "child": int(DICE.integers(3)),
            "minutes": float(DICE.gamma(2)),
        }
        for _ in range(500)
    ]
    wanted = ["count", "sum", "mean", "min", "max", "median", "std", "distinct"]

    found = analyse(rows, analysis_type="group_by", by=["toy", "child"], aggregations={"minutes": wanted})

    model = defaultdict(list)
    for row in rows:
        model[row["toy"], row["child"]].append(row["minutes"])
    assert [(group["key"]["toy"], group["key"]["child"]) for group in found["groups"]] == sorted(model)
    for group in found["groups"]:
        values = model[tuple(group["key"].values())]
        assert group["count"] == len(values)
        assert group["values"]["minutes"] == pytest.approx(
            {
                "count": len(values), "sum": math.fsum(values), "mean": statistics.fmean(values), "min": min(values),
                "max": max(values), "median": statistics.median(values), "std": statistics.stdev(values),
                "distinct": len(set(values)),
            }
        )  # fmt: skip


def test_groups_of_nothing_come_last_and_sums_of_whole_numbers_are_exact():
    rows = [{"k": None, "v": 1}, {"k": "b", "v": 2**62}, {"k": "b", "v": 2**62}, {"v": None}]

    found = analyse(rows, analysis_type="group_by", by="k", aggregations={"v": "SUM", "k": ["min"]})

    assert found["groups"] == [
        {"key": {"k": "b"}, "count": 2, "values": {"v": {"sum": 2**63}, "k": {"min": "b"}}},
        {"key": {"k": None}, "count": 2, "values": {"v": {"sum": 1}, "k": {"min": None}}},
    ]


def test_without_aggregations_rows_are_counted_and_the_limit_holds():
    found = analyse({"k": range_list(50)}, analysis_type="group_by", by="k", limit=3)

    assert found["groups"] == [{"key": {"k": number}, "count": 1, "values": {}} for number in range(3)]
    assert found["truncated"]
    assert not analyse({"k": [1, 2, 3]}, analysis_type="group_by", by="k", limit=3)["truncated"]


def range_list(count: int) -> list[int]:
    return list(range(count))


# ---- series


def test_every_interval_from_the_first_to_the_last_has_its_figures():
    start = naive(2026, 3, 1, 23, 50)
    times = sorted(start + dt.timedelta(minutes=float(minute)) for minute in DICE.uniform(0, 600, 80))
    values = DICE.normal(20, 5, 80)

    found = analyse(
        {"at": times, "v": values}, analysis_type="time_series", time_column="at", value_column="v",
        interval="30 minutes", window=4,
    )  # fmt: skip

    model = defaultdict(list)
    for at, value in zip(times, values.tolist(), strict=True):
        model[at.replace(minute=at.minute // 30 * 30, second=0, microsecond=0).isoformat()].append(value)
    points = found["points"]
    assert {point["time"] for point in points} >= model.keys()
    assert [point["time"] for point in points] == sorted(point["time"] for point in points)
    for number, point in enumerate(points):
        there = model.get(point["time"], [])
        assert point["count"] == len(there)
        expected = (sum(there), statistics.fmean(there), min(there), max(there)) if there else (None,) * 4
        assert (point["sum"], point["mean"], point["min"], point["max"]) == pytest.approx(expected)
        recent = [item["mean"] for item in points[max(0, number - 3) : number + 1] if item["mean"] is not None]
        smooth = statistics.fmean(recent) if number >= 3 and recent else None
        assert point["moving_average"] == pytest.approx(smooth)


def test_the_trend_is_the_line_of_least_squares():
    days = DICE.uniform(0, 40, 60)
    values = 3 - 0.25 * days + DICE.normal(0, 1, 60)
    times = [naive(2026, 1, 1) + dt.timedelta(days=float(day)) for day in days]

    trend = analyse({"at": times, "v": values}, **SERIES)["trend"]

    assert trend["slope_per_day"] == pytest.approx(np.polyfit(days, values, 1)[0], rel=1e-6)
    assert trend["r_squared"] == pytest.approx(np.corrcoef(days, values)[0, 1] ** 2, rel=1e-6)


SERIES = {"analysis_type": "time_series", "time_column": "at", "value_column": "v"}


@pytest.mark.parametrize(
    ("interval", "first", "last"),
    [
        ("day", "2026-02-12T00:00:00", "2026-04-05T00:00:00"),
        ("week", "2026-02-09T00:00:00", "2026-03-30T00:00:00"),  # Mondays
        ("month", "2026-02-01T00:00:00", "2026-04-01T00:00:00"),
        ("Quarter", "2026-01-01T00:00:00", "2026-04-01T00:00:00"),
        ("1 year", "2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("12 hours", "2026-02-12T12:00:00", "2026-04-05T00:00:00"),
    ],
)
def test_intervals_begin_where_people_begin_them(interval: str, first: str, last: str):
    table = {"at": [naive(2026, 2, 12, 15), naive(2026, 4, 5, 3)], "v": [1, 2]}

    points = analyse(table, **SERIES, interval=interval)["points"]

    assert (points[0]["time"], points[-1]["time"]) == (first, last)


def test_times_may_be_text_and_their_zones_count():
    table = {"at": ["2026-01-01T00:30:00+02:00", "2025-12-31", None, "2026-01-01 12:00:00"], "v": [1, 2, 3, 4]}

    points = analyse(table, **SERIES)["points"]

    assert [(point["time"], point["sum"]) for point in points] == [
        ("2025-12-31T00:00:00", 3), ("2026-01-01T00:00:00", 4),
    ]  # fmt: skip


def test_a_series_without_values_has_no_points_and_one_value_no_trend():
    none = {"slope_per_day": None, "r_squared": None}
    nothing = analyse({"at": [None, dt.date(2026, 1, 1)], "v": [1.0, None]}, **SERIES)
    assert (nothing["points"], nothing["trend"]) == ([], none)
    assert analyse({"at": [dt.date(2026, 1, 1)], "v": [1]}, **SERIES)["trend"] == none


def test_a_long_series_is_cut_before_it_is_made():
    table = {"at": [dt.date(1, 1, 1), dt.date(9999, 12, 31)], "v": [1, 2]}

    found = analyse(table, **SERIES, interval="second", limit=5)

    assert (len(found["points"]), found["truncated"]) == (5, True)


# ---- correlation


def ranks(values: list[float]) -> list[float]:
    """Mean ranks, by counting: slow, and nothing to get wrong."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def test_correlations_are_pairwise_complete_and_ties_share_their_rank():
    size = 120
    a = [float(value) for value in DICE.integers(0, 12, size)]
    b = [value**3 + float(DICE.normal(0, 40)) for value in a]
    table = {"a": a, "b": b, "c": [float(value) for value in DICE.normal(0, 1, size)], "name": ["x"] * size}
    table = {
        name: [None if DICE.random() < 0.1 else value for value in values] for name, values in table.items()
    }  # fmt: skip

    pairs = analyse(table, analysis_type="correlation")["pairs"]

    assert [(pair["a"], pair["b"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in pairs:
        both = [(x, y) for x, y in zip(table[pair["a"]], table[pair["b"]], strict=True) if None not in (x, y)]
        xs, ys = [x for x, _ in both], [y for _, y in both]
        assert pair["count"] == len(both) < size
        assert pair["pearson"] == pytest.approx(statistics.correlation(xs, ys), rel=1e-9)
        assert pair["spearman"] == pytest.approx(statistics.correlation(ranks(xs), ranks(ys)), rel=1e-9)


def test_what_does_not_vary_correlates_with_nothing():
    found = analyse({"a": [1, 1, 1], "b": [1, 2, 3], "c": [None, None, 1]}, analysis_type="correlation")

    assert [(pair["count"], pair["pearson"], pair["spearman"]) for pair in found["pairs"]] == [
        (3, None, None), (1, None, None), (1, None, None),
    ]  # fmt: skip


def test_a_perfect_correlation_is_one_and_no_more():
    values = [0.1 * number for number in range(40)]
    table = {"a": values, "b": [7 * value + 1e6 for value in values], "c": [-value for value in values]}

    pairs = analyse(table, analysis_type="correlation", columns=["a", "b", "c"])["pairs"]

    assert [pair["spearman"] for pair in pairs] == pytest.approx([1, -1, -1])
    assert [pair["pearson"] for pair in pairs] == pytest.approx([1, -1, -1])
    assert all(abs(pair["pearson"]) <= 1 for pair in pairs)


# ---- outliers


def test_tukeys_fences_find_what_lies_outside():
    values = [*DICE.normal(50, 3, 200).tolist(), 95.0, -20.0]

    found = analyse({"v": values}, analysis_type="outliers")["columns"][0]

    low, high = np.quantile(values, [0.25, 0.75])
    lower, upper = low - 1.5 * (high - low), high + 1.5 * (high - low)
    assert (found["lower"], found["upper"]) == pytest.approx((lower, upper))
    outside = [{"row": row, "value": value} for row, value in enumerate(values) if not lower <= value <= upper]
    assert found["outliers"] == outside
    assert {item["row"] for item in outside} >= {200, 201}
    assert found["count"] == len(outside)


def test_scores_are_distances_from_the_middle():
    values = [*DICE.normal(0, 1, 300).tolist(), 9.0]

    z = analyse({"v": values}, analysis_type="outliers", method="zscore", threshold=2.5)["columns"][0]
    mad = analyse({"v": values}, analysis_type="outliers", method="mad")["columns"][0]

    mean, std = statistics.fmean(values), statistics.stdev(values)
    assert (z["lower"], z["upper"]) == pytest.approx((mean - 2.5 * std, mean + 2.5 * std))
    middle = statistics.median(values)
    unit = statistics.median([abs(value - middle) for value in values]) / 0.6745
    assert (mad["lower"], mad["upper"]) == pytest.approx((middle - 3.5 * unit, middle + 3.5 * unit))
    for found in (z, mad):
        assert [item["row"] for item in found["outliers"]] == [
            row for row, value in enumerate(values) if not found["lower"] <= value <= found["upper"]
        ]


@pytest.mark.parametrize("method", ["zscore", "mad"])
def test_without_spread_nothing_is_far(method: str):
    found = analyse({"v": [5, 5, 5, 5]}, analysis_type="outliers", method=method)["columns"][0]

    assert (found["lower"], found["upper"], found["count"], found["outliers"]) == (None, None, 0, [])


def test_outliers_of_all_columns_share_the_limit():
    table = {"a": [0.0] * 20 + [1.0] * 3, "b": [0] * 20 + [9] * 3, "c": [None] * 23, "d": [float(x) for x in range(23)]}

    found = analyse(table, analysis_type="outliers", limit=4)

    assert [(item["name"], item["count"], len(item["outliers"])) for item in found["columns"]] == [
        ("a", 3, 3), ("b", 3, 1), ("d", 0, 0),
    ]  # fmt: skip
    assert found["truncated"]


# ---- what is refused

TABLE = {"n": [1, 2], "x": [0.5, 1.5], "t": ["a", "b"], "at": ["2026-01-01", "2026-01-02"], "b": [True, False]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"analysis_type": "magic"}, "analysis_type"),
        ({"analysis_type": 7}, "analysis_type"),
        ({"limit": 0}, "limit"),
        ({"limit": 10**400}, "limit"),
        ({"analysis_type": "group_by"}, "by"),
        ({"analysis_type": "group_by", "by": []}, "by"),
        ({"analysis_type": "group_by", "by": "nothing"}, "by"),
        ({"analysis_type": "group_by", "by": [1]}, "by"),
        ({"analysis_type": "group_by", "by": ["n"] + [f"x{number}" for number in range(100)]}, "by"),
        ({"analysis_type": "group_by", "by": "t", "aggregations": "sum"}, "aggregations"),
        ({"analysis_type": "group_by", "by": "t", "aggregations": {"n": "explode"}}, "aggregations"),
        ({"analysis_type": "group_by", "by": "t", "aggregations": {"n": [None]}}, "aggregations"),
        ({"analysis_type": "group_by", "by": "t", "aggregations": {"t": "sum"}}, "aggregations"),
        ({"analysis_type": "group_by", "by": "t", "aggregations": {"nothing": "sum"}}, "aggregations"),
        ({"analysis_type": "time_series"}, "time_column"),
        ({**SERIES}, "value_column"),
        ({**SERIES, "time_column": "n", "value_column": "n"}, "time_column"),
        ({**SERIES, "time_column": "t", "value_column": "n"}, "data"),
        ({**SERIES, "value_column": "t"}, "value_column"),
        ({**SERIES, "value_column": "n", "interval": "fortnight"}, "interval"),
        ({**SERIES, "value_column": "n", "interval": "0 days"}, "interval"),
        ({**SERIES, "value_column": "n", "interval": "1 day' ; drop"}, "interval"),
        ({**SERIES, "value_column": "n", "window": 0}, "window"),
        ({"analysis_type": "correlation", "columns": ["n"]}, "columns"),
        ({"analysis_type": "correlation", "columns": ["n", "t"]}, "columns"),
        ({"analysis_type": "correlation", "columns": ["n", "b"]}, "columns"),
        ({"analysis_type": "correlation", "columns": 3}, "columns"),
        ({"analysis_type": "outliers", "method": "guess"}, "method"),
        ({"analysis_type": "outliers", "threshold": math.nan}, "threshold"),
        ({"analysis_type": "outliers", "columns": "t"}, "columns"),
        ({"analysis_type": "sql"}, "query"),
        ({"analysis_type": "sql", "query": " "}, "query"),
        ({"analysis_type": "sql", "query": "select '\0'"}, "query"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, object], field: str):
    with pytest.raises(InvalidPayloadError, match=r"send|must be") as caught:
        analyse(TABLE, **fields)
    assert caught.value.field == field


def test_without_numbers_there_is_nothing_to_search():
    for kind in ("outliers", "correlation"):
        with pytest.raises(InvalidPayloadError, match="no column of numbers"):
            analyse({"t": ["a"]}, analysis_type=kind)


def test_limits_are_those_of_the_settings():
    table = {"n": [1, 2, 3, 4], "x": [1, 2, 3, 4]}
    assert analyse(table, config=DataConfig(max_cells=8, max_columns=2))["row_count"] == 4
    with pytest.raises(InvalidPayloadError, match="at most 7 cells"):
        analyse(table, config=DataConfig(max_cells=7))
    with pytest.raises(InvalidPayloadError, match="more than 1 columns"):
        analyse(table, config=DataConfig(max_columns=1))
    with pytest.raises(InvalidPayloadError, match="limit"):
        analyse(table, limit=11, config=DataConfig(max_result_rows=10))
