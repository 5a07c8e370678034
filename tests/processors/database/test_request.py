"""Payloads: what is read from them, and that nothing but ``InvalidPayloadError`` comes of a bad one."""

from __future__ import annotations

import contextlib
import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_processor.config import DatabaseConfig
from async_processor.errors import InvalidPayloadError
from async_processor.processors.database_request import (
    Condition,
    DatabaseRequest,
    Delete,
    Insert,
    Order,
    Select,
    Sql,
    Update,
    check_payload,
    read_request,
)
from async_processor.processors.database_values import MAX_DEPTH, size_of, storable

SETTINGS = DatabaseConfig(max_parameters=20, max_statements=3, max_statement_chars=100)


def read(**payload) -> DatabaseRequest:
    return read_request(payload, SETTINGS)


def test_each_operation_is_read_as_what_it_is():
    where = (Condition("id", "=", 1),)

    assert read(operation="select", table="t").statements == (
        Select(table="t", columns=(), where=(), order_by=(), limit=None, offset=0),
    )
    assert read(
        operation="SELECT", table="t", columns="a", where={"id": 1}, order_by=["a", "-b"], limit=3, offset=2.0
    ) == (
        DatabaseRequest(
            connection="default",
            operation="select",
            statements=(
                Select(
                    table="t",
                    columns=("a",),
                    where=where,
                    order_by=(Order("a", descending=False), Order("b", descending=True)),
                    limit=3,
                    offset=2,
                ),
            ),
            once=None,
        )
    )
    assert read(operation="insert", table="t", values={"a": 1}).statements == (
        Insert(table="t", rows=({"a": 1},), upsert=False, conflict_columns=()),
    )
    assert read(operation="upsert", table="t", values=[{"a": 1}], conflict_columns=["a"]).statements == (
        Insert(table="t", rows=({"a": 1},), upsert=True, conflict_columns=("a",)),
    )
    assert read(operation="update", table="t", values={"a": None}, where={"id": 1}).statements == (
        Update(table="t", values={"a": None}, where=where),
    )
    assert read(operation="delete", table="t", all_rows=True).statements == (Delete(table="t", where=()),)
    assert read(operation="sql", sql="SELECT :a", parameters={"a": 1}).statements == (
        Sql(text="SELECT :a", parameters={"a": 1}, changes=False),
    )


def test_a_transaction_holds_operations_and_the_other_keys_are_the_callers_own():
    request = read(
        operation="transaction",
        connection="toys",
        once="done",
        statements=[{"operation": "delete", "table": "t", "all_rows": True}, {"operation": "select", "table": "t"}],
        child_id="child-1",
    )

    assert (request.connection, request.once) == ("toys", "done")
    assert [type(item) for item in request.statements] == [Delete, Select]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("SELECT 1", False),
        ("  (select 1) -- update", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", False),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", True),
        ("/* what for */ -- and why\n update t SET updated = 1", True),
        ("SELECT updated, deleted FROM t", False),
        ("values (1)", False),
    ],
)
def test_whether_a_statement_changes_anything_is_told_by_its_words(text, changes):
    request = read(operation="sql", sql=text)

    assert request.changes is changes
    assert read(operation="sql", sql=text, once="done").changes


BAD = [
    ({}, "operation"),
    ({"operation": "drop"}, "operation"),
    ({"operation": "select"}, "table"),
    ({"operation": "select", "table": ""}, "table"),
    ({"operation": "select", "table": "x" * 129}, "table"),
    ({"operation": "select", "table": "t", "connection": 5}, "connection"),
    ({"operation": "select", "table": "t", "columns": [1]}, "columns"),
    ({"operation": "select", "table": "t", "columns": ["a", "a"]}, "columns"),
    ({"operation": "select", "table": "t", "columns": [""]}, "columns"),
    ({"operation": "select", "table": "t", "order_by": ["-"]}, "order_by"),
    ({"operation": "select", "table": "t", "limit": -1}, "limit"),
    ({"operation": "select", "table": "t", "limit": 1.5}, "limit"),
    ({"operation": "select", "table": "t", "offset": "1"}, "offset"),
    ({"operation": "select", "table": "t", "where": ["a"]}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": [1, 2]}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "~", "value": 1}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"value": 1}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "<"}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "in", "value": "ab"}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "in", "value": [None]}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "in", "value": [0] * 21}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": {"op": "like", "value": 1}}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": object()}}, "where"),
    ({"operation": "select", "table": "t", "where": {"a": math.nan}}, "where"),
    ({"operation": "insert", "table": "t"}, "values"),
    ({"operation": "insert", "table": "t", "values": []}, "values"),
    ({"operation": "insert", "table": "t", "values": {}}, "values"),
    ({"operation": "insert", "table": "t", "values": [{"a": 1}, {"b": 1}]}, "values"),
    ({"operation": "insert", "table": "t", "values": [{"a": 1}, 2]}, "values"),
    ({"operation": "insert", "table": "t", "values": {1: 2}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": 2**63}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": "\ud800"}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": {"b": {1}}}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": {"b": math.inf}}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": Decimal("NaN")}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": Decimal("sNaN")}}, "values"),
    ({"operation": "insert", "table": "t", "values": {"a": Decimal("-Infinity")}}, "values"),
    ({"operation": "insert", "table": "t", "values": [{"a": 1}] * 21}, "values"),
    ({"operation": "upsert", "table": "t", "values": {"a": 1}, "conflict_columns": 5}, "conflict_columns"),
    ({"operation": "update", "table": "t", "values": [], "where": {"a": 1}}, "values"),
    ({"operation": "update", "table": "t", "values": {"a": 1}}, "where"),
    ({"operation": "update", "table": "t", "values": {"a": 1}, "where": {}}, "where"),
    ({"operation": "delete", "table": "t", "where": {}, "all_rows": False}, "where"),
    ({"operation": "delete", "table": "t", "where": {"a": 1}, "all_rows": True}, "all_rows"),
    ({"operation": "delete", "table": "t", "all_rows": 1}, "all_rows"),
    ({"operation": "sql"}, "sql"),
    ({"operation": "sql", "sql": "SELECT " + "x" * 100}, "sql"),
    ({"operation": "sql", "sql": "PRAGMA x"}, "sql"),
    ({"operation": "sql", "sql": "SELECT 1", "parameters": [1]}, "parameters"),
    ({"operation": "sql", "sql": "SELECT 1", "parameters": {"a": [1]}}, "parameters"),
    ({"operation": "sql", "sql": "SELECT 1", "parameters": {f"p{n}": n for n in range(21)}}, "parameters"),
    ({"operation": "select", "table": "t", "once": ""}, "once"),
    ({"operation": "transaction"}, "statements"),
    ({"operation": "transaction", "statements": []}, "statements"),
    ({"operation": "transaction", "statements": [{}] * 4}, "statements"),
    ({"operation": "transaction", "statements": ["SELECT 1"]}, "statements"),
    ({"operation": "transaction", "statements": [{"operation": "transaction", "statements": []}]}, "statements"),
    ({"operation": "transaction", "statements": [{"operation": "delete", "table": "t"}]}, "statements"),
]


@pytest.mark.parametrize(("payload", "field"), BAD)
def test_a_bad_payload_is_refused_with_its_field_and_what_to_send(payload, field):
    with pytest.raises(InvalidPayloadError, match=r"must be|send|must have") as caught:
        read_request(payload, SETTINGS)

    assert caught.value.field == field


def test_what_is_wrong_within_a_transaction_is_told_with_its_place():
    good = {"operation": "select", "table": "t"}

    with pytest.raises(InvalidPayloadError, match=r"payload\['statements'\]\[1\].*payload\['table'\]"):
        read(operation="transaction", statements=[good, {"operation": "select"}])


KEYS = st.sampled_from(["op", "value", "operation", "table", "a"]) | st.none() | st.integers() | st.text(max_size=3)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=5)
    | st.dates()
    | st.decimals()
    | st.sampled_from(["in", "<", "like", "is null", "select", "sql", "transaction", "t"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "operation", "connection", "table", "columns", "where", "order_by", "limit", "offset", "values", "conflict_columns",
    "all_rows", "sql", "parameters", "statements", "once",
]  # fmt: skip
OPERATIONS = st.sampled_from(["select", "insert", "upsert", "update", "delete", "sql", "transaction"])
PAYLOADS = st.builds(
    lambda fields, operation: fields | ({"operation": operation} if operation else {}),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8),
    st.none() | OPERATIONS,
)


def refuses_or_reads(payload: dict) -> None:
    with contextlib.suppress(InvalidPayloadError):
        read_request(payload, SETTINGS)


@settings(max_examples=100)
@given(PAYLOADS)
def test_no_payload_brings_about_any_other_error(payload):
    refuses_or_reads(payload)


@pytest.mark.nightly
@settings(max_examples=20_000)
@given(PAYLOADS)
def test_no_payload_of_very_many_brings_about_any_other_error(payload):
    refuses_or_reads(payload)


def test_json_that_is_nested_too_deep_is_refused_going_in_and_cut_coming_out():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]

    with pytest.raises(InvalidPayloadError, match="nested deeper"):
        read(operation="insert", table="t", values={"a": deep})
    shown = storable(deep)
    for _ in range(MAX_DEPTH):
        (shown,) = shown
    assert shown == f"(list nested deeper than {MAX_DEPTH} levels)"


def test_what_comes_out_is_what_json_has():
    assert storable(
        [date(2026, 1, 2), Decimal("1.10"), math.inf, -math.inf, math.nan, {1: bytearray(b"x")}, object]
    ) == [
        "2026-01-02",
        "1.10",
        "Infinity",
        "-Infinity",
        "NaN",
        {"1": b"x"},
        "<class 'object'>",
    ]
    assert size_of({"a": ["xyz", 1], "bc": b"12"}) == 1 + 3 + 8 + 8 + 2 + 2 + 8


# At submit


def rows(count: int, last: object) -> dict:
    return {"operation": "insert", "table": "t", "values": [*({"a": 1} for _ in range(count)), {"a": last}]}


@pytest.mark.parametrize(
    "payload",
    [
        rows(5, object),
        rows(5, math.nan),
        {"operation": "select", "table": "t", "where": {"a": object}},
        {"operation": "select", "table": "t", "where": {"a": {"op": "in", "value": [1, None]}}},
        {"operation": "sql", "sql": "SELECT :a", "parameters": {"a": object}},
        {"operation": "transaction", "statements": [rows(2, object)]},
        rows(10_000, 1),
    ],
)
def test_what_is_wrong_with_few_and_short_values_shows_at_submit(payload):
    with pytest.raises(InvalidPayloadError) as caught:
        check_payload(payload, DatabaseConfig())
    with pytest.raises(InvalidPayloadError) as later:
        read_request(payload, DatabaseConfig())

    assert (caught.value.field, caught.value.message) == (later.value.field, later.value.message)


@pytest.mark.parametrize(
    "payload",
    [
        rows(1_000, object),
        rows(5, "\ud800"),
        rows(5, [object]),
        rows(5, {"a": {1: 2}}),
        {"operation": "select", "table": "t", "where": {"a": "\ud800"}},
    ],
)
def test_what_is_wrong_with_many_or_long_values_shows_when_it_runs(payload):
    check_payload(payload, DatabaseConfig())

    with pytest.raises(InvalidPayloadError):
        read_request(payload, DatabaseConfig())


def test_more_values_than_may_be_bound_are_counted_before_one_is_looked_at():
    class Untouchable(list):
        def __iter__(self):
            raise AssertionError("it was gone through")

    many = Untouchable([1] * 30)

    with pytest.raises(InvalidPayloadError, match="binds 30 values; send at most 20"):
        read(operation="select", table="t", where={"a": {"op": "in", "value": many}})
    with pytest.raises(InvalidPayloadError, match="binds 21 values; send at most 20"):
        read(operation="insert", table="t", values=[{"a": 1, "b": 2, "c": 3}] * 7)
