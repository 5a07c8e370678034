"""The summary of a table, beside NumPy, the standard library and a naive model."""

from __future__ import annotations

import datetime as dt
import enum
import math
import statistics
import uuid
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors.data.kit import analyse, naive, summary_of

from async_processor.errors import InvalidPayloadError


def test_numbers_are_as_numpy_has_them():
    values = np.random.default_rng(1).lognormal(3, 2, 10_001)

    found = summary_of({"price": values}, "price")

    assert (found["type"], found["count"], found["nulls"], found["distinct"]) == ("number", 10_001, 0, 10_001)
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert found["mean"] == pytest.approx(math.fsum(values) / 10_001, rel=1e-15)
    assert found["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    quartiles = [found["q25"], found["median"], found["q75"]]
    assert quartiles == pytest.approx(list(np.quantile(values, [0.25, 0.5, 0.75])), rel=1e-12)


def test_whole_numbers_stay_whole_and_exact():
    values = [2**62, -(2**62), 2**53 + 1, 0, 7]

    found = summary_of([{"id": value} for value in values], "id")

    assert found["type"] == "integer"
    assert (found["min"], found["max"], found["distinct"]) == (-(2**62), 2**62, 5)
    assert found["mean"] == pytest.approx(statistics.fmean(values), rel=1e-12)
    assert [type(found[name]) for name in ("min", "max", "count")] == [int, int, int]
    assert summary_of({"id": [2**64 - 1, 0, None]}, "id")["max"] == 2**64 - 1


def test_a_small_spread_far_from_zero_is_not_lost():
    values = [1e9 + step for step in (0.25, 0.5, 0.75, 1.0)]

    assert summary_of({"t": values}, "t")["std"] == pytest.approx(statistics.stdev(values), rel=1e-9)


def test_texts_are_counted_and_measured_and_the_most_common_shown():
    words = ["bear"] * 3 + ["ball"] * 2 + ["fox", "", None, "a" * 300, "owl", "cat"]

    found = summary_of({"toy": words}, "toy")

    assert (found["type"], found["count"], found["nulls"], found["distinct"]) == ("text", 10, 1, 7)
    assert (found["min_length"], found["max_length"]) == (0, 300)
    assert found["most_common"][:2] == [{"value": "bear", "count": 3}, {"value": "ball", "count": 2}]
    assert len(found["most_common"]) == 5
    assert max(len(item["value"]) for item in found["most_common"]) == 200


def test_truth_values_and_times_have_their_own_figures():
    table = {
        "awake": [True, False, None, True],
        "at": [naive(2026, 3, 1, 12, 30), dt.date(2026, 2, 1), None, dt.datetime(2026, 3, 1, tzinfo=dt.UTC)],
    }

    awake, at = summary_of(table, "awake"), summary_of(table, "at")

    assert (awake["type"], awake["true"], awake["false"], awake["nulls"]) == ("boolean", 2, 1, 1)
    assert (at["type"], at["min"], at["max"], at["nulls"]) == ("time", "2026-02-01T00:00:00", "2026-03-01T12:30:00", 1)


def test_times_with_a_zone_are_brought_to_utc():
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))

    assert summary_of({"at": [noon]}, "at")["min"] == "2026-03-01T06:30:00"
    with pytest.raises(InvalidPayloadError, match="years 1 to 9999"):
        analyse({"at": [dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))]})


def test_a_field_that_some_records_lack_has_no_value_there():
    found = analyse([{"a": 1}, {"b": 2.5}, {}, {"a": 3, "b": None}])

    assert found["row_count"] == 4
    assert [(item["name"], item["count"], item["nulls"]) for item in found["columns"]] == [("a", 2, 2), ("b", 1, 3)]


def test_what_is_not_finite_is_no_value():
    found = summary_of({"x": [1.0, math.nan, math.inf, -math.inf, None, 3]}, "x")

    assert (found["count"], found["nulls"], found["min"], found["max"], found["mean"]) == (2, 4, 1.0, 3.0, 2.0)


def test_mixed_values_become_text_and_a_warning_says_so():
    found = analyse(
        {"x": [1, "two", None, True, dt.date(2026, 1, 1), math.nan], "y": [1, 2.5, Decimal("0.5"), 4, 5, 6]}
    )

    assert [item["type"] for item in found["columns"]] == ["text", "number"]
    assert found["columns"][0]["count"] == 4
    assert found["warnings"] == ["column 'x' holds bool and date and float and int and str: taken as text"]


def test_a_column_without_values_and_a_table_without_rows_are_summarised():
    nothing = summary_of({"x": [None, None]}, "x")
    assert (nothing["count"], nothing["nulls"], nothing["max_length"]) == (0, 2, None)

    empty = analyse({"x": np.zeros(0), "y": []})
    assert empty["row_count"] == 0
    assert [empty["columns"][0][name] for name in ("count", "min", "mean", "std", "median")] == [
        0,
        None,
        None,
        None,
        None,
    ]


class Mood(enum.StrEnum):
    GOOD = "good"


class Level(enum.IntEnum):
    HIGH = 3


class NotATime(dt.datetime):
    """As pandas has it."""

    year = math.nan  # type: ignore[assignment]

    def __ne__(self, _other: object) -> bool:
        return True

    __hash__ = dt.datetime.__hash__


class Timestamp(dt.datetime):
    """As pandas has it."""


def test_times_of_other_classes_are_times():
    found = summary_of({"at": [NotATime(1, 1, 1), Timestamp(2026, 1, 2, 3, tzinfo=dt.UTC)]}, "at")

    assert (found["type"], found["count"], found["min"]) == ("time", 1, "2026-01-02T03:00:00")


def test_numpys_scalars_and_enums_stand_for_what_they_are_made_of():
    found = analyse(
        {
            "a": [np.int64(3), np.int8(4), Level.HIGH],
            "b": [np.float32(0.5), 1, None],
            "c": [Mood.GOOD, np.str_("good"), "bad"],
            "d": [np.bool_(True), False, None],
            "e": [np.datetime64("2026-01-02T03:04:05.678", "ns"), np.datetime64("NaT"), None],
            "f": np.ma.masked_array([1, 2, 3], [False, True, False]),
            "g": np.array(["x", None, 3], object),
            "h": np.array([1.5, np.inf, np.nan], "f4"),
        }
    )

    kinds = {item["name"]: (item["type"], item["count"]) for item in found["columns"]}
    assert kinds == {
        "a": ("integer", 3), "b": ("number", 2), "c": ("text", 3), "d": ("boolean", 2), "e": ("time", 1),
        "f": ("integer", 2), "g": ("text", 2), "h": ("number", 1),
    }  # fmt: skip
    assert found["columns"][4]["min"] == "2026-01-02T03:04:05.678000"
    assert len(found["warnings"]) == 1


@pytest.mark.parametrize(
    "value",
    [10**400, 10**5_000, 2**64, -(2**63) - 1, 1e151, -1e300, Decimal("1e400"), Decimal("-1e200"),
     np.longdouble("1e400"), [1], {"a": 1}, {1}, b"bytes", 1j, object(), uuid.UUID(int=1), dt.timedelta(1), dt.time(1),
     "\ud800", np.array([1, 2]), np.timedelta64(1, "s"), np.complex128(1)],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_a_value_that_cannot_be_calculated_with_is_refused_and_its_column_named(value: object):
    for table in ({"amount": [value, None]}, [{"other": 1}, {"amount": value}]):
        with pytest.raises(InvalidPayloadError, match=r"'amount'.*(send|must be)") as caught:
            analyse(table)
        assert caught.value.field == "data"


@pytest.mark.parametrize(
    "data",
    [None, 7, "text", object(), [], {}, [{}], [1], [{"a": 1}, 2], [[1]], {"a": 1}, {"a": "text"}, {"a": {1: 2}},
     {"a": [1], "b": [1, 2]}, {"a": [1], "b": []}, {1: [1]}, [{1: 1}], {"\ud800": [1]}, {"a": np.zeros((2, 2))},
     iter([]), {"a": np.zeros(2, "c16")}, {"a": np.zeros(2, "m8[s]")}, {"a": np.zeros(2, "i4,f4")},
     {"a": np.array([b"x"])}, np.zeros(3)],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_no_table_is_refused(data: object):
    with pytest.raises(InvalidPayloadError, match=r"send|must be") as caught:
        analyse(data)
    assert caught.value.field == "data"


NUMBERS = st.floats(-1e100, 1e100).filter(lambda value: value == 0 or abs(value) > 1e-100)
KINDS = (
    st.integers(-(2**63), 2**63 - 1),
    NUMBERS | st.sampled_from([math.nan, math.inf]) | st.integers(-(10**9), 10**9),
    st.text(max_size=4),
    st.booleans(),
)
COLUMN = st.one_of(*(st.lists(st.none() | kind, min_size=6, max_size=6) for kind in KINDS))


def model_of(values: list[object]) -> dict[str, object]:
    """What the summary of a column should say, from the standard library alone."""
    there = [
        value for value in values if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    ]
    # -0.0 and 0.0, 1 and 1.0 are the same number, and "" is a text.
    model: dict[str, object] = {"count": len(there), "nulls": len(values) - len(there), "distinct": len(set(there))}
    if there and all(isinstance(value, bool) for value in there):
        return model | {"true": there.count(True), "false": there.count(False)}
    if there and all(isinstance(value, int | float) for value in there):
        quartiles = np.quantile(np.array(there, float), [0.25, 0.5, 0.75])
        return model | {
            "min": min(there), "max": max(there), "mean": statistics.fmean(there),
            "std": statistics.stdev(map(float, there)) if len(there) > 1 else None,
            **dict(zip(("q25", "median", "q75"), quartiles.tolist(), strict=True)),
        }  # fmt: skip
    if there:
        lengths = [len(value) for value in there]
        assert Counter(there)
        model |= {"min_length": min(lengths), "max_length": max(lengths)}
    return model


@settings(max_examples=40)
@given(table=st.dictionaries(st.text(max_size=5), COLUMN, min_size=1, max_size=4), as_records=st.booleans())
def test_the_summary_of_any_table_agrees_with_a_naive_one(table: dict[str, list[object]], as_records: bool):
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]

    found = analyse(rows if as_records else table)

    assert [item["name"] for item in found["columns"]] == list(table)
    for column, values in zip(found["columns"], table.values(), strict=True):
        size = max(
            (abs(value) for value in values if isinstance(value, int | float) and math.isfinite(value)), default=0
        )
        for name, expected in model_of(values).items():
            if isinstance(expected, float):
                assert column[name] == pytest.approx(expected, rel=1e-9, abs=float(size) * 1e-9), name
            else:
                assert column[name] == expected, name
