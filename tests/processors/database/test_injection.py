"""B13: whatever a payload holds, it stays a value, or is refused; and what a task may not do is not done."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from pathlib import Path

from tests.processors.database.kit import ENDLESS, outcome, processor

from async_processor import ProcessingType, TaskStatus, create_task
from async_processor.errors import InvalidPayloadError, PermanentError
from async_processor.processors.providers import postgresql_side

# What is tried against programs that put values into the text of a statement.
HOSTILE = [
    "'",
    "''",
    '"',
    "\\",
    "\\'",
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "1; DROP TABLE toys; --",
    "'; DROP TABLE toys; --",
    "') ; DELETE FROM toys; --",
    "bear' UNION SELECT sql FROM sqlite_master --",
    "bear'/**/AND/**/1=(SELECT/**/1)--",
    "$$; DROP TABLE toys; $$",
    "$1",
    ":name",
    "?",
    "%s %(name)s {0} ${x}",
    "%' ESCAPE '\\",
    "0x27",
    "\u2019 OR 1=1",
    "\uff07 OR 1=1",
    "E'\\''",
    "x' || pg_sleep(10) || '",
    "/* */ -- #",
    "\n; SELECT 1",
    "\ufeff'",
]
NAMES = "SELECT name FROM toys ORDER BY id"
# What a name may be to leave its quotes, or to be something else than a column.
HOSTILE_NAMES = [
    'name" FROM toys; DROP TABLE toys; --',
    'name"; --',
    "name; DROP TABLE toys",
    "name, (SELECT 1)",
    "*",
    "1",
    "rowid",
    "ctid",
    "count(*)",
    "toys.name",
    "main.toys",
    "public.toys",
    "sqlite_master",
    "pg_shadow",
    "information_schema.tables",
    "toys t",
    "TOYS",
    "toys\0",
    "toys/*",
    'to"ys',
    "``",
    "[toys]",
    "\ud800",
    "x" * 128,
]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def untouched(database) -> bool:
    return await database.fetch(NAMES) == [("bear",), ("car",), ("owl",)]


async def test_a_hostile_value_is_a_value_wherever_it_is_sent(call, database):  # B13
    for number, value in enumerate(HOSTILE):
        found = await call(operation="select", table="toys", where={"name": value})
        listed = await call(operation="select", table="toys", where={"name": {"op": "in", "value": [value]}})
        spoken = await call.sql("SELECT :value AS value", {"value": value})
        updated = await call(operation="update", table="toys", values={"kind": value}, where={"name": value})
        written = await call(operation="insert", table="plain", values={"a": number, "b": value})
        read = await call(operation="select", table="plain", where={"b": value})

        assert (found["rows"], listed["rows"], updated["row_count"]) == ([], [], 0), value
        assert spoken["rows"] == [{"value": value}]
        assert written["row_count"] == 1
        assert read["rows"] == [{"a": number, "b": value}]

    assert await untouched(database)
    assert await database.fetch("SELECT count(*) FROM plain") == [(len(HOSTILE),)]


def as_table_and_column(name: str) -> list[dict]:
    return [
        {"operation": "select", "table": name},
        {"operation": "update", "table": "toys", "values": {name: 1}, "all_rows": True},
    ]


def wherever(name: str) -> list[dict]:
    return [
        *as_table_and_column(name),
        {"operation": "select", "table": "toys", "columns": [name]},
        {"operation": "select", "table": "toys", "where": {name: 1}},
        {"operation": "select", "table": "toys", "order_by": [name]},
        {"operation": "insert", "table": "toys", "values": {name: 1}},
        {"operation": "upsert", "table": "toys", "values": {"name": "bear"}, "conflict_columns": [name]},
        {"operation": "delete", "table": name, "all_rows": True},
        {"operation": "select", "table": "toys", "once": name},
    ]


async def test_a_hostile_name_is_refused_wherever_it_is_sent(call, database):  # B13
    for number, name in enumerate(HOSTILE_NAMES):
        for payload in wherever(name) if number < 3 else as_table_and_column(name):
            error = await call.failure(**payload)

            assert isinstance(error, InvalidPayloadError), payload
            assert name not in str(error) or len(name) < 3

    assert await untouched(database)


STACKED = [
    "SELECT 1; DROP TABLE toys",
    "SELECT 1; SELECT 2",
    "SELECT 1;;DELETE FROM toys",
    "UPDATE toys SET name = 'x'; COMMIT",
    "DELETE FROM toys WHERE id = 1; INSERT INTO plain (a) VALUES (1)",
    "SELECT 1 /* ; */; DELETE FROM toys",
    "SELECT 1; --\nDELETE FROM toys",
]


async def test_stacked_statements_are_refused(call, database):  # B13
    for text in STACKED:
        assert type(await call.sql_failure(text)) is PermanentError, text

    assert await untouched(database)


# Neither for SQLite nor for PostgreSQL, and not as a second statement of a transaction either.
NOT_A_TASKS = [
    "ATTACH 'other.db' AS other",
    "DETACH main",
    "PRAGMA journal_mode = OFF",
    "VACUUM INTO 'copy.db'",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "SET statement_timeout = 0",
    "SET ROLE postgres",
    "COPY toys TO PROGRAM 'cat > copy'",
    "DO $$ BEGIN DELETE FROM toys; END $$",
    "CREATE TABLE x (a int)",
    "DROP TABLE toys",
    "ALTER TABLE toys RENAME TO x",
    "TRUNCATE toys",
    "GRANT ALL ON toys TO public",
    "LISTEN x",
    "EXPLAIN ANALYZE DELETE FROM toys",
    "/* SELECT */ DROP TABLE toys",
    "-- SELECT\nDROP TABLE toys",
    "; DROP TABLE toys",
    "/* /* */ SELECT */ DROP TABLE toys",
    "-- \rDROP TABLE toys --\nSELECT 1",
    "\u00a0\ufeffDROP TABLE toys",
    "",
    "--",
    "/*",
]


async def test_what_is_not_a_tasks_is_refused(call, database, tmp_path: Path, monkeypatch):  # B13
    monkeypatch.chdir(tmp_path)
    before = names_in(tmp_path)

    for text in NOT_A_TASKS:
        alone = await call.sql_failure(text)
        emptying = {"operation": "delete", "table": "toys", "all_rows": True}
        within = await call.failure(operation="transaction", statements=[emptying, {"operation": "sql", "sql": text}])

        assert isinstance(alone, InvalidPayloadError), text
        assert isinstance(within, InvalidPayloadError), text

    assert await untouched(database)
    assert names_in(tmp_path) == before


# These begin as a task's statement may: SQLite's own authorizer refuses them.
SMUGGLED = [
    "SELECT load_extension('./evil.so')",
    "SELECT LOAD_EXTENSION('./evil.so', 'init')",
    "SELECT * FROM pragma_journal_mode('OFF')",
    "SELECT * FROM pragma_table_info('toys')",
    "INSERT INTO sqlite_master (type) VALUES ('table')",
    "UPDATE sqlite_master SET sql = 'x'",
    "DELETE FROM sqlite_master",
]


async def test_sqlite_refuses_what_begins_innocently(sqlite, opened, tmp_path: Path):  # B13
    call = opened(sqlite.url)
    before = await sqlite.fetch("SELECT * FROM sqlite_master")

    for text in SMUGGLED:
        assert type(await call.sql_failure(text)) is PermanentError, text

    assert await sqlite.fetch("SELECT * FROM sqlite_master") == before
    assert names_in(tmp_path) == ["toys.db"]


async def test_the_authorizer_sees_statements_that_the_library_has_used_itself(sqlite, opened):  # B13
    call = opened(sqlite.url, pool_size=1)
    # Reflection asks for such; a connection that kept it compiled would run it for anybody.
    await call(operation="select", table="toys")

    assert "not authorized" in str(await call.sql_failure("SELECT * FROM pragma_table_info('toys')"))
    assert (await call(operation="select", table="parts"))["rows"] == []


async def test_full_text_search_works_under_the_authorizer(sqlite, opened):
    call = opened(sqlite.url)
    await sqlite.execute("CREATE VIRTUAL TABLE pages USING fts5(body)")

    await call(operation="insert", table="pages", values={"body": "a bear in the woods"})
    found = await call.sql("SELECT body FROM pages WHERE pages MATCH :words", {"words": "bear"})

    assert found["row_count"] == 1


async def test_what_the_schema_does_by_itself_works_under_the_authorizer(sqlite, opened):
    call = opened(sqlite.url)
    await sqlite.execute("""
        CREATE TABLE games (id integer PRIMARY KEY AUTOINCREMENT, toy_id integer REFERENCES toys (id) ON DELETE CASCADE,
                            twice integer AS (toy_id * 2));
        CREATE TRIGGER counted AFTER INSERT ON games BEGIN INSERT INTO plain (a) VALUES (new.id); END;
        CREATE INDEX games_by_toy ON games (abs(toy_id));
    """)

    await call(operation="insert", table="games", values=[{"toy_id": 1}, {"toy_id": 2}])
    await call.sql("INSERT INTO games (toy_id) SELECT id FROM toys WHERE id = 3")
    await call.sql("REPLACE INTO games (id, toy_id) VALUES (2, 3)")
    await call(operation="delete", table="toys", where={"id": 1})

    assert (await call(operation="select", table="games", order_by="id"))["rows"] == [
        {"id": 2, "toy_id": 3, "twice": 6},
        {"id": 3, "toy_id": 3, "twice": 6},
    ]
    assert await sqlite.fetch("SELECT a FROM plain") == [(1,), (2,), (3,), (2,)]


async def test_a_setting_changed_by_a_function_does_not_lift_the_time_limit(postgresql, opened, monkeypatch):  # B13
    monkeypatch.setattr(postgresql_side, "_ANSWER_S", 0.1)
    call = opened(postgresql.url, statement_timeout_s=0.2)
    began = time.monotonic()

    error = await call.failure(
        operation="transaction",
        statements=[
            {"operation": "sql", "sql": "SELECT set_config('statement_timeout', '0', true)"},
            {"operation": "sql", "sql": ENDLESS},
        ],
    )

    assert "took longer than 0.2 s" in str(error)
    assert time.monotonic() - began < 5


async def test_a_recursion_without_end_is_stopped_in_time_and_the_slot_is_free(database, no_leaks):  # B13
    async with processor(database.url, statement_timeout_s=0.3) as running:
        began = time.monotonic()
        endless = await outcome(running, {"operation": "sql", "sql": ENDLESS})
        took = time.monotonic() - began
        good = await outcome(running, {"operation": "select", "table": "toys"})

    assert (endless.status, endless.error_type, endless.attempts) == (TaskStatus.FAILED, "PermanentError", 1)
    assert "took longer than 0.3 s" in (endless.error or "")
    assert took < 3.0
    assert good.status is TaskStatus.COMPLETED
    assert await database.running() in (0, None)


TEN_MILLION = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000) SELECT i FROM n",
    "postgresql": "SELECT generate_series(1, 10000000) AS i",
}


async def test_of_ten_million_rows_the_first_are_given_and_no_more_are_read(call, database):  # B13
    await call.sql("SELECT 1")
    tracemalloc.start()
    began = time.monotonic()
    try:
        result = await call.sql(TEN_MILLION[database.kind])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (result["row_count"], result["truncated"]) == (10_000, True)
    assert result["rows"][-1] == {"i": 10_000}
    # All of them would be 240 MB as Python's numbers alone, and take many seconds.
    assert peak < 10_000_000
    assert time.monotonic() - began < 5


async def test_rows_are_cut_at_the_limit_of_rows_and_of_bytes(database, opened):  # B13
    few, small = opened(database.url, max_rows=2), opened(database.url, max_bytes=1_000_000)
    long = "SELECT n.id, :word AS word FROM toys AS n, toys AS m, toys AS o"

    by_rows = await few(operation="select", table="toys", order_by="id")
    exact = await few(operation="select", table="toys", order_by="id", limit=2)
    by_bytes = await small.sql(long, {"word": "x" * 100_000})
    both = await few(operation="transaction", statements=[{"operation": "select", "table": "toys", "limit": 1}] * 3)

    assert ([row["id"] for row in by_rows["rows"]], by_rows["truncated"]) == ([1, 2], True)
    assert (exact["row_count"], exact["truncated"]) == (2, False)
    assert (by_bytes["row_count"], by_bytes["truncated"]) == (9, True)
    assert [item["row_count"] for item in both["results"]] == [1, 1, 0]


async def test_a_value_of_sqlite_is_no_larger_than_the_limit(sqlite, opened):  # B13
    call = opened(sqlite.url, max_bytes=1_000_000)

    for text in ("SELECT zeroblob(1000000000)", "SELECT replace(hex(zeroblob(499000)), '0', 'xx')"):
        assert "too big" in str(await call.sql_failure(text))


async def test_after_all_of_it_the_one_slot_is_free_and_the_next_task_works(database, no_leaks):  # B13
    hostile = [{"operation": "sql", "sql": text} for text in STACKED + NOT_A_TASKS]
    hostile += [payload for name in HOSTILE_NAMES[:3] for payload in wherever(name)]
    async with processor(database.url) as running:
        tasks = [create_task(ProcessingType.DATABASE_OPERATION, payload) for payload in hostile]
        refused = await asyncio.gather(*map(running.submit_task, tasks), return_exceptions=True)
        tasks = [task for task, refusal in zip(tasks, refused, strict=True) if refusal == task.id]
        ends = [await running.wait_for_task(task.id, timeout=20) for task in tasks]
        good = await outcome(running, {"operation": "select", "table": "toys"})

    assert {type(item) for item in refused} == {str, InvalidPayloadError}
    assert {(item.status, item.attempts) for item in ends} == {(TaskStatus.FAILED, 1)}
    assert good.unwrap()["row_count"] == 3
    assert await untouched(database)
