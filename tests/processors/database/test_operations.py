"""What each operation does, on a SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from tests.processors.database.kit import TOYS, outcome, processor

from async_processor.errors import InvalidPayloadError, PermanentError

KEYS = {
    "rows", "columns", "row_count", "truncated", "keys", "already_done",
    "operation", "connection", "duration_s", "provider", "offline",
}  # fmt: skip
NAMES = "SELECT name FROM toys ORDER BY id"


async def test_a_select_gives_rows_columns_and_where_they_come_from(call, database):
    result = await call(operation="select", table="toys", columns=["id", "name", "price", "kind"], order_by="id")

    assert result.keys() == KEYS
    assert result["rows"] == TOYS
    assert result["columns"] == ["id", "name", "price", "kind"]
    assert (result["row_count"], result["truncated"], result["keys"]) == (3, False, [])
    assert (result["provider"], result["offline"]) == (database.kind, database.kind == "sqlite")
    assert (result["operation"], result["connection"]) == ("select", "default")
    assert result["duration_s"] > 0
    assert json.loads(json.dumps(result, allow_nan=False)) == result


CHOSEN = [
    ({"name": "bear"}, ["bear"]),
    ({"name": "bear", "kind": "hard"}, []),
    ({"kind": None}, ["owl"]),
    ({"kind": {"op": "is null"}}, ["owl"]),
    ({"kind": {"op": "is not null"}}, ["bear", "car"]),
    ({"price": {"op": "<=", "value": 12.5}}, ["bear", "car"]),
    ({"price": {"op": "<", "value": 12.5}}, ["car"]),
    ({"price": {"op": ">", "value": 12.5}}, ["owl"]),
    ({"price": [{"op": ">=", "value": 7}, {"op": "<", "value": 20}]}, ["bear", "car"]),
    ({"name": {"op": "!=", "value": "bear"}}, ["car", "owl"]),
    ({"name": {"op": "in", "value": ["owl", "car", "no such"]}}, ["car", "owl"]),
    ({"name": {"op": "in", "value": []}}, []),
    ({"name": {"op": "not in", "value": ["owl"]}}, ["bear", "car"]),
    ({"name": {"op": "like", "value": "%ar"}}, ["bear", "car"]),
    ({"name": {"op": "not like", "value": "%ar"}}, ["owl"]),
    ({}, ["bear", "car", "owl"]),
]


async def test_conditions_choose_rows(call):
    for where, names in CHOSEN:
        result = await call(operation="select", table="toys", where=where, order_by="id")

        assert [row["name"] for row in result["rows"]] == names, where


async def test_rows_come_in_the_order_asked_for_and_as_many_as_asked_for(call):
    order = ["-price", "id"]

    every = await call(operation="select", table="toys", order_by=order)
    some = await call(operation="select", table="toys", order_by=order, limit=1, offset=1)
    none = await call(operation="select", table="toys", limit=0)

    assert [row["name"] for row in every["rows"]] == ["owl", "bear", "car"]
    assert [row["name"] for row in some["rows"]] == ["bear"]
    assert (none["rows"], some["truncated"], none["truncated"]) == ([], False, False)


async def test_a_view_can_be_read(call):
    assert (await call(operation="select", table="cheap"))["rows"] == [{"id": 2, "name": "car"}]


async def test_an_insert_gives_the_keys_of_its_rows(call, database):
    result = await call(operation="insert", table="toys", values=[{"name": "cat"}, {"name": "dog"}])

    assert (result["row_count"], result["keys"], result["rows"]) == (2, [{"id": 4}, {"id": 5}], [])
    assert await database.fetch("SELECT id, name FROM toys WHERE id > 3 ORDER BY id") == [(4, "cat"), (5, "dog")]


async def test_many_rows_are_inserted_at_once(call, database):
    rows = [{"a": number, "b": f"row {number}"} for number in range(4_000)]

    result = await call(operation="insert", table="plain", values=rows)

    assert (result["row_count"], result["keys"]) == (4_000, [])
    assert await database.fetch("SELECT count(*), max(a) FROM plain") == [(4_000, 3_999)]


async def test_an_upsert_changes_the_row_that_is_there(call, database):
    values = [{"name": "bear", "price": 9.5}, {"name": "cat", "price": 3.0}]

    result = await call(operation="upsert", table="toys", values=values, conflict_columns=["name"])

    assert result["row_count"] == 2
    assert {"id": 1} in result["keys"]
    assert await database.fetch("SELECT name, price, kind FROM toys WHERE name IN ('bear', 'cat') ORDER BY name") == [
        ("bear", 9.5, "soft"),
        ("cat", 3.0, None),
    ]


async def test_an_upsert_goes_by_the_primary_key_unless_told_otherwise(call, database):
    await call(operation="upsert", table="toys", values={"id": 1, "name": "big bear"})

    assert (await database.fetch(NAMES))[0] == ("big bear",)


async def test_an_upsert_with_nothing_to_change_leaves_the_row(call, database):
    result = await call(operation="upsert", table="done", values={"idempotency_key": "k"})
    again = await call(operation="upsert", table="done", values={"idempotency_key": "k"})

    assert (result["row_count"], again["row_count"]) == (1, 0)
    assert await database.fetch("SELECT * FROM done") == [("k",)]


async def test_an_upsert_without_anything_to_go_by_is_refused(call):
    error = await call.failure(operation="upsert", table="plain", values={"a": 1})

    assert isinstance(error, InvalidPayloadError)
    assert error.field == "conflict_columns"


async def test_an_update_changes_the_rows_meant(call, database):
    result = await call(
        operation="update", table="toys", values={"kind": "any"}, where={"price": {"op": ">", "value": 9}}
    )

    assert (result["row_count"], result["keys"]) == (2, [])
    assert await database.fetch("SELECT kind FROM toys ORDER BY id") == [("any",), ("hard",), ("any",)]


async def test_a_delete_removes_the_rows_meant(call, database):
    result = await call(operation="delete", table="toys", where={"name": "car"})
    rest = await call(operation="delete", table="toys", all_rows=True)

    assert (result["row_count"], rest["row_count"]) == (1, 2)
    assert await database.fetch(NAMES) == []


async def test_a_column_with_an_odd_name_can_be_used(call):
    odd = 'odd "name'

    await call(operation="update", table="toys", values={odd: "x"}, where={"id": 1})
    result = await call(operation="select", table="toys", columns=[odd], where={odd: "x"}, order_by=f"-{odd}")

    assert result["rows"] == [{odd: "x"}]


async def test_sql_with_parameters_reads_and_changes(call, database):
    read = await call.sql(
        "SELECT name, price * :factor AS cost FROM toys WHERE id < :id ORDER BY id", {"factor": 2, "id": 3}
    )
    changed = await call.sql("UPDATE toys SET price = price + :more WHERE name = :name", {"more": 1.5, "name": "car"})
    gone = await call.sql("DELETE FROM toys WHERE id = :id RETURNING name", {"id": 3})

    assert read["rows"] == [{"name": "bear", "cost": 25.0}, {"name": "car", "cost": 14.0}]
    assert (changed["row_count"], changed["rows"], changed["columns"]) == (1, [], [])
    assert (gone["rows"], gone["row_count"]) == ([{"name": "owl"}], 1)
    assert await database.fetch("SELECT name, price FROM toys ORDER BY id") == [("bear", 12.5), ("car", 8.5)]


async def test_a_statement_that_returns_no_rows_runs_once(call, database):
    await call.sql("INSERT INTO plain (a) VALUES (:a)", {"a": 1})

    assert await database.fetch("SELECT a FROM plain") == [(1,)]


async def test_a_statement_whose_rows_are_cut_off_changes_all_that_it_should(database, opened):
    call = opened(database.url, max_rows=2)

    added = await call.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "INSERT INTO plain (a) SELECT i FROM n RETURNING a"
    )
    changed = await call.sql("UPDATE plain SET b = 'x' RETURNING a")

    assert [(item["row_count"], item["truncated"]) for item in (added, changed)] == [(2, True)] * 2
    assert await database.fetch("SELECT count(*), count(b) FROM plain") == [(200, 200)]


async def test_postgresql_may_change_rows_within_a_query(postgresql, opened):
    call = opened(postgresql.url, max_rows=1)

    gone = await call.sql("WITH gone AS (DELETE FROM toys RETURNING name) SELECT * FROM gone")
    merged = await call.sql(
        "MERGE INTO plain USING (SELECT 1 AS a) s ON false WHEN NOT MATCHED THEN INSERT VALUES (s.a)"
    )

    assert (gone["row_count"], gone["truncated"]) == (1, True)
    assert (merged["row_count"], merged["rows"]) == (None, [])
    assert await postgresql.fetch("SELECT (SELECT count(*) FROM toys), (SELECT count(*) FROM plain)") == [(0, 1)]


async def test_a_parameter_may_have_any_name(call):
    result = await call.sql("SELECT :self AS x, :statement AS y", {"self": "a", "statement": "b"})

    assert result["rows"] == [{"x": "a", "y": "b"}]


async def test_a_colon_may_begin_no_parameter_and_a_parameter_be_cast(call, database):
    colons = await call.sql("SELECT '\\:x' AS a, '12:30' AS b, CAST(:n AS integer) AS n", {"n": "5"})

    assert colons["rows"] == [{"a": ":x", "b": "12:30", "n": 5}]
    if database.kind == "postgresql":
        days = await call.sql("SELECT CAST(:day AS date) - 1 AS day, :n ::integer AS n", {"day": "2026-11-26", "n": 5})
        assert days["rows"] == [{"day": "2026-11-25", "n": 5}]


async def test_parameters_must_be_those_of_the_statement(call):
    missing = await call.sql_failure("SELECT :a, :b", {"a": 1})
    unknown = await call.sql_failure("SELECT :a", {"a": 1, "secret_name": 2})

    assert "1 missing, 0 that it does not have" in str(missing)
    assert "0 missing, 1 that it does not have" in str(unknown)
    assert "secret_name" not in str(unknown)


async def test_columns_of_one_name_are_kept_apart(call):
    result = await call.sql("SELECT 1 AS a, 2 AS a, 3 AS a_2")

    assert result["rows"] == [{"a": 1, "a_2": 2, "a_2_2": 3}]


async def test_a_transaction_is_done_as_a_whole(call, database):
    result = await call(
        operation="transaction",
        statements=[
            {"operation": "insert", "table": "toys", "values": {"name": "cat"}},
            {
                "operation": "sql",
                "sql": "INSERT INTO parts (toy_id, label) SELECT id, 'paw' FROM toys WHERE name = 'cat'",
            },
            {"operation": "select", "table": "parts"},
        ],
    )

    assert result.keys() == (KEYS - {"rows", "columns", "truncated", "keys"}) | {"results"}
    assert [item["row_count"] for item in result["results"]] == [1, 1, 1]
    assert (result["row_count"], result["results"][2]["rows"]) == (3, [{"toy_id": 4, "label": "paw"}])
    assert await database.fetch("SELECT label FROM parts") == [("paw",)]


async def test_a_transaction_that_fails_leaves_nothing(call, database):
    error = await call.failure(
        operation="transaction",
        statements=[
            {"operation": "insert", "table": "toys", "values": {"name": "cat"}},
            {"operation": "delete", "table": "toys", "where": {"id": 1}},
            {"operation": "insert", "table": "toys", "values": {"name": "car"}},
        ],
    )

    assert type(error) is PermanentError
    assert await database.fetch(NAMES) == [("bear",), ("car",), ("owl",)]


async def test_what_is_done_once_is_not_done_again(call, database):
    payload = {"operation": "sql", "sql": "UPDATE toys SET price = price + 1 WHERE id = 1", "once": "done"}

    first, second, other = (
        await call("key-1", **payload),
        await call("key-1", **payload),
        await call("key-2", **payload),
    )

    assert [item["already_done"] for item in (first, second, other)] == [False, True, False]
    assert (second["row_count"], second["rows"]) == (0, [])
    assert await database.fetch("SELECT price FROM toys WHERE id = 1") == [(14.5,)]


async def test_what_failed_is_not_marked_as_done(call, database):
    await call.failure(operation="insert", table="toys", values={"name": "bear"}, once="done")

    assert await database.fetch("SELECT * FROM done") == []


async def test_the_table_of_marks_must_have_the_column_for_them(call):
    for table in ("toys", "no such table"):
        error = await call.failure(operation="select", table="toys", once=table)

        assert isinstance(error, InvalidPayloadError)
        assert error.field == "once"


async def test_new_tables_and_columns_are_seen(call, database):
    await call(operation="select", table="toys")
    await database.execute("ALTER TABLE toys ADD COLUMN age integer; CREATE TABLE games (id integer)")

    await call(operation="update", table="toys", values={"age": 3}, where={"id": 1})

    assert (await call(operation="select", table="toys", columns=["age"], where={"id": 1}))["rows"] == [{"age": 3}]
    assert (await call(operation="select", table="games"))["rows"] == []


async def test_a_column_that_is_gone_fails_once_and_is_then_known_to_be_gone(call, database):
    await call(operation="select", table="toys")
    await database.execute("ALTER TABLE toys DROP COLUMN kind")

    first = await call.failure(operation="select", table="toys", columns=["kind"])
    second = await call.failure(operation="select", table="toys", columns=["kind"])

    assert (type(first), type(second)) == (PermanentError, InvalidPayloadError)


# Values


async def test_values_go_in_and_come_out(call):
    values = [None, True, 0, -(2**63), 2**63 - 1, 1.5, "", "ä \u202e 'x'; --", b"\0\xff", b""]
    text = ", ".join(f":v{number} AS v{number}" for number in range(len(values)))

    result = await call.sql(f"SELECT {text}", {f"v{number}": value for number, value in enumerate(values)})

    assert list(result["rows"][0].values()) == values


async def test_postgresql_gives_what_json_has_no_type_for_as_text(postgresql, opened):
    call = opened(postgresql.url)
    await postgresql.execute(
        "CREATE TABLE kinds (id serial PRIMARY KEY, d date, t timestamp, z timestamptz, n numeric, u uuid, "
        "i interval, j jsonb, a integer[], f double precision, e inet)"
    )
    values = {
        "d": date(2026, 11, 26),
        "t": datetime(2026, 11, 26, 12, 30),  # noqa: DTZ001 - of a column without a zone
        "z": datetime(2026, 11, 26, 12, 30, tzinfo=UTC),
        "n": Decimal("0.10"),
        "u": UUID(int=1),
        "j": {"a": [1, None, {"b": 0.5}]},
        "a": [1, 2],
    }
    as_text = {
        "d": "2026-11-26",
        "t": "2026-11-26T12:30:00",
        "z": "2026-11-26T12:30:00+00:00",
        "n": "0.10",
        "u": "00000000-0000-0000-0000-000000000001",
    }

    await call(operation="insert", table="kinds", values=values)
    await call(operation="insert", table="kinds", values=values | as_text)
    await call.sql("UPDATE kinds SET i = interval '90 seconds', f = 'NaN', e = '10.0.0.1'")
    result = await call(operation="select", table="kinds", order_by="id", where={"d": "2026-11-26", "n": 0.1})

    expected = values | as_text | {"i": timedelta(seconds=90).total_seconds(), "f": "NaN", "e": "10.0.0.1"}
    assert [{**row, "id": 0} for row in result["rows"]] == [expected | {"id": 0}] * 2
    assert json.loads(json.dumps(result, allow_nan=False)) == result


async def test_none_is_no_value_in_columns_of_json_too(postgresql, opened):
    call = opened(postgresql.url)
    await postgresql.execute("CREATE TABLE kinds (id serial PRIMARY KEY, j json, b jsonb)")

    await call(operation="insert", table="kinds", values=[{"j": None, "b": None}, {"j": [], "b": {"a": None}}])
    found = await call(operation="select", table="kinds", where={"j": None})
    rest = await call(operation="select", table="kinds", where={"b": {"op": "is not null"}})

    assert await postgresql.fetch("SELECT count(*) FROM kinds WHERE j IS NULL AND b IS NULL") == [(1,)]
    assert [found["rows"], rest["rows"]] == [[{"id": 1, "j": None, "b": None}], [{"id": 2, "j": [], "b": {"a": None}}]]


async def test_sqlite_keeps_and_gives_what_it_has_types_for(sqlite, opened):
    call = opened(sqlite.url)
    await sqlite.execute("CREATE TABLE kinds (d date, t datetime, n numeric, u uuid, j json, b boolean)")
    moment = datetime(2026, 11, 26, 12, 30)  # noqa: DTZ001 - of a column without a zone

    await call(
        operation="insert",
        table="kinds",
        values={"d": moment.date(), "t": moment, "n": Decimal("0.5"), "u": UUID(int=1), "j": {"a": [1]}, "b": True},
    )
    await sqlite.execute("INSERT INTO kinds VALUES ('no date', 17, 'no number', NULL, '{', 2)")
    rows = (await call(operation="select", table="kinds", order_by="-d"))["rows"]
    found = await call(operation="select", table="kinds", where={"t": moment, "b": True})

    assert rows == [
        {"d": "no date", "t": 17, "n": "no number", "u": None, "j": "{", "b": 2},
        {
            "d": "2026-11-26",
            "t": "2026-11-26 12:30:00",
            "n": 0.5,
            "u": "00000000-0000-0000-0000-000000000001",
            "j": '{"a":[1]}',
            "b": 1,
        },
    ]
    assert found["row_count"] == 1


async def test_a_text_that_is_no_date_is_refused_for_a_column_of_dates(postgresql, opened):
    call = opened(postgresql.url)
    await postgresql.execute("CREATE TABLE kinds (d date, n numeric, u uuid)")

    for column in ("d", "n", "u"):
        error = await call.failure(operation="insert", table="kinds", values={column: "canary"})

        assert isinstance(error, InvalidPayloadError)
        assert "canary" not in str(error)


# On a processor


@pytest.mark.parametrize("hints", [{"io_bound": True}, {"cpu_intensive": True}], ids=str)
async def test_it_runs_on_the_event_loop_whatever_the_hints_say(sqlite, no_leaks, hints):
    async with processor(sqlite.url) as running:
        result = await outcome(running, {"operation": "select", "table": "toys"}, priority="low", **hints)
        metrics = await running.get_performance_metrics()

    assert result.unwrap()["row_count"] == 3
    assert [name for name, item in metrics["worker_stats"].items() if item["tasks_processed"]] == ["async-0"]


# Several at once


async def test_many_operations_at_once_share_the_pool(database, opened):
    call = opened(database.url, pool_size=3)

    await asyncio.gather(*(call(operation="insert", table="plain", values={"a": number}) for number in range(100)))

    assert await database.fetch("SELECT count(*), sum(a) FROM plain") == [(100, 4950)]


async def test_a_database_in_memory_is_one_for_all_tasks_of_a_loop(opened):
    call = opened("sqlite:///:memory:")

    results = await asyncio.gather(*(call.sql("SELECT :n AS n", {"n": number}) for number in range(20)))

    assert [item["rows"][0]["n"] for item in results] == list(range(20))
