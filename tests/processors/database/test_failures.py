"""Which failures are worth another attempt, what is said of them, and what never is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
import traceback

import pytest
from tests.processors.database.kit import Caller, outcome, processor, until
from tests.processors.database.server import PASSWORD, Server

from async_processor import ProcessingType, ProcessorConfig, TaskContext, TaskStatus, create_task
from async_processor.config import DatabaseConfig
from async_processor.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidPayloadError,
    MissingExtraError,
    PermanentError,
    ProviderError,
)
from async_processor.processors.database_operation import DatabaseOperations, processor_spec
from async_processor.processors.providers.database_failures import Situation

CANARY = "canary-7f3a"


async def test_an_unknown_connection_is_named_as_such_with_those_there_are(opened):
    call = opened("sqlite:///:memory:")

    error = await call.failure(connection=CANARY, operation="sql", sql="SELECT 1")

    assert type(error) is ConfigurationError
    assert "'default'" in str(error)
    assert "'memory'" in str(error)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        CANARY,
        f"://{CANARY}",
        f"mysql://root:{CANARY}@127.0.0.1/x",
        f"postgresql+psycopg2://u:{CANARY}@127.0.0.1/x",
        f"postgresql://u:{CANARY}@127.0.0.1:port/x",
        f"sqlite+pysqlite:///{CANARY}",
        f"postgresql://u:{CANARY}@127.0.0.1/x?no_such_option=1",
    ],
)
async def test_a_url_that_cannot_be_used_is_a_matter_of_configuration_and_not_shown(opened, url):
    error = await opened(url).failure(operation="sql", sql="SELECT 1")

    assert type(error) is ConfigurationError
    assert CANARY not in "".join(traceback.format_exception(error))
    assert "'default'" in str(error)


def test_urls_are_in_no_repr():
    settings = DatabaseConfig(connections={"default": f"postgresql://u:{CANARY}@h/d"})

    assert CANARY not in repr(settings)
    assert CANARY not in repr(ProcessorConfig(database=settings))


@pytest.mark.parametrize("name", ["pool_size", "statement_timeout_s", "connect_timeout_s", "max_bytes"])
def test_a_limit_of_zero_is_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        processor_spec(ProcessorConfig(database=DatabaseConfig(**{name: 0})))


def test_connections_are_read_from_the_environment_as_json():
    found = ProcessorConfig.from_env({"ASYNC_PROCESSOR_DATABASE_CONNECTIONS": '{"default": "sqlite:///toys.db"}'})

    assert found.database.connections == {"default": "sqlite:///toys.db"}


async def test_a_wrong_password_is_permanent_and_not_shown(postgresql, opened, caplog):
    caplog.set_level(logging.DEBUG, "async_processor")

    error = await opened(postgresql.server.url(password=CANARY)).failure(operation="sql", sql="SELECT 1")

    assert type(error) is AuthenticationError
    assert CANARY not in "".join(traceback.format_exception(error)) + caplog.text


async def test_a_database_that_is_not_there_is_a_matter_of_configuration(postgresql, opened, tmp_path):
    server = await opened(postgresql.server.url(database="nowhere")).failure(operation="sql", sql="SELECT 1")
    file = await opened(f"sqlite:///{tmp_path}/no/such/directory/toys.db").failure(operation="sql", sql="SELECT 1")

    assert type(server) is ConfigurationError
    assert type(file) is PermanentError
    assert "unable to open database file" in str(file)


async def test_a_file_that_is_no_database_is_permanent(opened, tmp_path):
    path = tmp_path / "toys.db"
    path.write_bytes(b"This is no database. " * 100)

    assert type(await opened(f"sqlite:///{path}").failure(operation="sql", sql="SELECT * FROM x")) is PermanentError


async def test_a_file_that_was_opened_for_reading_only_is_not_changed(sqlite, opened):
    call = opened(f"sqlite:///file:{sqlite.path}?mode=ro&uri=true")

    error = await call.failure(operation="delete", table="toys", all_rows=True)

    assert type(error) is PermanentError
    assert "readonly" in str(error)
    assert (await call(operation="select", table="toys"))["row_count"] == 3


async def test_a_server_that_is_not_there_may_come_back(opened):
    call = opened("postgresql://toys:x@127.0.0.1:1/toys")

    error = await call.failure(operation="sql", sql="SELECT 1")

    assert type(error) is ProviderError
    assert "cannot be reached" in str(error)


async def test_a_server_that_does_not_answer_is_given_up(opened):
    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    call = opened(f"postgresql://toys:x@127.0.0.1:{port}/toys", connect_timeout_s=0.2)
    began = time.monotonic()

    error = await call.failure(operation="sql", sql="SELECT 1")
    server.close()
    await server.wait_closed()

    assert type(error) is ProviderError
    assert time.monotonic() - began < 3


PERMANENT = [
    ("SELECT * FROM nowhere", "nowhere"),
    ("SELECT nothing FROM toys", "nothing"),
    ("SELECT * FROM toys WHERE", "syntax|incomplete"),
    ("INSERT INTO toys (name) VALUES ('bear')", "toys_name_key|toys.name"),
    ("INSERT INTO toys (name, price) VALUES ('x', -1)", "price_is_no_debt"),
    ("INSERT INTO toys (price) VALUES (1)", "NotNull.*column name|NOT NULL.*toys.name"),
    ("INSERT INTO parts (toy_id) VALUES (99)", "parts_toy_id_fkey|FOREIGN KEY"),
]


async def test_what_no_attempt_can_mend_is_permanent_with_the_databases_reason(call):
    for text, reason in PERMANENT:
        error = await call.sql_failure(text)

        assert type(error) is PermanentError
        assert re.search(reason, str(error)), error


async def test_a_key_that_is_missing_is_asked_for_unless_the_database_makes_it(call, database):
    await database.execute("CREATE TABLE tags (tag text PRIMARY KEY, note text)")
    await database.execute("CREATE TABLE kinds (kind text DEFAULT 'soft' PRIMARY KEY, note text)")

    error = await call.failure(operation="insert", table="tags", values={"note": "x"})
    made = await call(operation="insert", table="kinds", values={"note": "x"})

    assert isinstance(error, InvalidPayloadError)
    assert error.field == "values"
    assert made["keys"] == [{"kind": "soft"}]


async def test_a_constraint_that_commit_reports_is_permanent_and_leaves_no_doubt(postgresql, opened):
    call = opened(postgresql.url)
    await postgresql.execute(
        "CREATE TABLE children (toy_id integer REFERENCES toys (id) DEFERRABLE INITIALLY DEFERRED)"
    )

    error = await call.failure(operation="insert", table="children", values={"toy_id": 99})

    assert type(error) is PermanentError
    assert "children_toy_id_fkey" in str(error)
    assert "not known" not in str(error)


async def test_without_the_extra_the_install_line_is_told(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy.engine", None)

    error = await opened("sqlite:///:memory:").failure(operation="sql", sql="SELECT 1")

    assert type(error) is MissingExtraError
    assert "advanced-async-processor[database]" in str(error)


def test_what_was_bound_is_taken_out_of_messages():
    situation = Situation("default")
    situation.hide({"a": "bear", "b": ["secret words", 1, None, True, ""]})

    assert situation.cleaned("bear and bears: secret words, 1 of 10, None, True") == (
        "[value] and [value]s: [value], [value] of 10, None, True"
    )
    assert situation.cleaned("first\nsecond: bear") == "first"
    assert situation.cleaned("x" * 299 + "secret words") == "x" * 299 + "["
    assert situation.cleaned("\x1b[31m\u202e") == "\\x1b[31m\\u202e"


LEAKING = [
    ("INSERT INTO toys (name, kind) VALUES (:a, :b)", {"a": "bear", "b": CANARY}),
    ("INSERT INTO toys (name) VALUES (:a)", {"a": CANARY}),
    ("SELECT CAST(:a AS integer) + 'x' || :b FROM nowhere", {"a": CANARY, "b": 31_337_000}),
    ("SELECT * FROM toys WHERE id = :a AND nothing = 1", {"a": CANARY}),
    ("SELECT json_extract(:a, '$.x') + json(:a)", {"a": "{" + CANARY}),
    ("SELECT CAST(:a AS date) + CAST(:a AS integer)", {"a": CANARY}),
]


async def test_no_bound_value_is_told(call, database, caplog):
    caplog.set_level(logging.DEBUG, "async_processor")
    await database.execute(f"INSERT INTO toys (name) VALUES ('{CANARY}')")  # noqa: S608 - ours

    told = []
    for text, parameters in LEAKING:
        with contextlib.suppress(AssertionError):  # SQLite makes a number of anything: there some succeed
            told += traceback.format_exception(await call.sql_failure(text, parameters))

    said = "".join(told) + caplog.text
    assert len(re.findall("PermanentError: ", said)) >= 4
    assert CANARY not in said
    assert "31337000" not in said
    assert PASSWORD not in said


async def test_a_key_that_is_there_already_is_told_without_its_value(call, caplog):
    caplog.set_level(logging.DEBUG, "async_processor")

    error = await call.failure(operation="insert", table="toys", values={"name": "bear", "kind": CANARY})

    assert type(error) is PermanentError
    told = "".join(traceback.format_exception(error)) + caplog.text
    assert "bear" not in told
    assert CANARY not in told


async def test_a_text_that_is_none_is_not_told(sqlite, opened):
    await sqlite.execute(f"INSERT INTO plain (b) VALUES (CAST(X'{CANARY.encode().hex()}ff' AS text))")  # noqa: S608 - ours

    error = await opened(sqlite.url).failure(operation="select", table="plain")

    assert type(error) is PermanentError
    assert CANARY not in str(error)
    assert "CAST(... AS BLOB)" in str(error)


async def test_a_lock_that_is_released_soon_is_waited_for(call, database):
    async with database.locked():
        waiting = asyncio.create_task(call(operation="update", table="toys", values={"kind": "x"}, where={"id": 1}))
        await asyncio.sleep(0.05)  # it may wait a while: that is what is tried
        assert not waiting.done()

    assert (await waiting)["row_count"] == 1


async def test_a_lock_that_is_held_too_long_is_worth_another_attempt(database, opened):
    call = opened(database.url, lock_timeout_s=0.1)

    async with database.locked():
        writing = await call.failure(operation="update", table="toys", values={"kind": "x"}, where={"id": 1})
        reading = await call.failure(operation="sql", sql="SELECT * FROM toys")

    assert (type(writing), type(reading)) == (ProviderError, ProviderError)


async def test_a_locked_database_is_tried_again_by_the_processor(database, no_leaks):
    delete = {"operation": "delete", "table": "toys", "where": {"id": 1}}

    async with processor(database.url, lock_timeout_s=0.05) as running:
        async with database.locked():
            locked = await outcome(running, delete, max_retries=2)
        free = await outcome(running, delete)

    assert (locked.status, locked.error_type, locked.attempts) == (TaskStatus.FAILED, "ProviderError", 3)
    assert (free.status, free.attempts) == (TaskStatus.COMPLETED, 1)


async def test_a_deadlock_is_worth_another_attempt_and_then_both_are_done(postgresql, no_leaks):
    def both(first: int, second: int) -> dict:
        """Locks one row, waits until the other task has had time to lock its own, and goes for that."""
        one, other = (
            {"operation": "update", "table": "toys", "values": {"kind": "x"}, "where": {"id": n}}
            for n in (first, second)
        )
        pause = {"operation": "sql", "sql": "SELECT pg_sleep(0.2)"}
        return {"operation": "transaction", "statements": [one, pause, other]}

    async with processor(postgresql.url, slots=2) as running:
        results = await asyncio.gather(outcome(running, both(1, 2)), outcome(running, both(2, 1)))

    assert [item.status for item in results] == [TaskStatus.COMPLETED] * 2
    assert sorted(item.attempts for item in results) == [1, 2]


async def test_a_serialization_failure_is_worth_another_attempt(postgresql, opened):
    call = opened(postgresql.url)
    await postgresql.execute("ALTER DATABASE toys SET default_transaction_isolation = 'repeatable read'")
    await postgresql.execute(
        "CREATE FUNCTION elsewhere() RETURNS void LANGUAGE sql AS "
        "'SELECT pg_advisory_lock(7); SELECT pg_advisory_unlock(7)'"
    )
    try:
        async with postgresql.connection() as other:
            await other.execute("SELECT pg_advisory_lock(7)")
            steps = ["SELECT count(*) FROM toys", "SELECT elsewhere()", "UPDATE toys SET kind = 'y' WHERE id = 1"]
            late = asyncio.create_task(
                call.failure(operation="transaction", statements=[{"operation": "sql", "sql": text} for text in steps])
            )
            waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            await until(lambda: other.fetchval(waits))
            await other.execute("UPDATE toys SET kind = 'z' WHERE id = 1")
            await other.execute("SELECT pg_advisory_unlock(7)")
            error = await late
    finally:
        await postgresql.execute("ALTER DATABASE toys RESET default_transaction_isolation")

    assert type(error) is ProviderError
    assert "40001" in str(error)


async def test_a_connection_that_was_closed_by_the_server_costs_no_attempt(postgresql, opened):
    call = opened(postgresql.url, pool_size=1)
    await call.sql("SELECT 1")
    await postgresql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'async-processor'"
    )

    assert (await call.sql("SELECT 2 AS n"))["rows"] == [{"n": 2}]


async def test_a_connection_that_is_lost_under_a_statement_is_worth_another_attempt(postgresql, opened):
    call = opened(postgresql.url)

    error = await call.sql_failure("SELECT pg_terminate_backend(pg_backend_pid())")

    assert type(error) is ProviderError
    assert "not known" not in str(error)


async def test_a_pool_that_is_in_use_is_waited_for_but_not_for_ever(postgresql, opened):
    call = opened(postgresql.url, pool_size=1, connect_timeout_s=0.2)

    slow = asyncio.create_task(call.sql("SELECT pg_sleep(0.6)"))
    await until(postgresql.running)
    error = await call.sql_failure("SELECT 1")
    await slow

    assert type(error) is ProviderError
    assert "no connection within 0.2 s" in str(error)


async def test_a_value_of_another_type_is_told_by_its_number(postgresql, opened):
    call = opened(postgresql.url)

    error = await call.failure(operation="insert", table="toys", values={"name": 5})

    assert type(error) is PermanentError
    assert "value 1 is not of the type" in str(error)


async def test_whether_it_is_ready_is_found_out_by_connecting(postgresql_server: Server, sqlite, tmp_path):
    async def readiness(**connections: str):
        operations = DatabaseOperations(DatabaseConfig(connections=connections))
        try:
            return await operations.readiness()
        finally:
            await operations.aclose()

    ready = await readiness(default=sqlite.url)
    remote = await readiness(default=sqlite.url, remote=postgresql_server.url())
    absent = await readiness(default="postgresql://toys:x@127.0.0.1:1/toys")
    nothing = await readiness()
    broken = await readiness(default=sqlite.url, archive=f"sqlite:///{tmp_path}/no/such/toys.db")

    assert (ready.problem, ready.remarks, ready.offline) == (None, (), True)
    assert (remote.problem, remote.offline) == (None, False)
    assert "cannot be reached" in (absent.problem or "")
    assert nothing.problem is None
    assert "no database is configured" in nothing.remarks[0]
    assert "'archive'" in (broken.problem or "")


async def test_the_example_works_on_a_processor_as_it_is(no_leaks):
    spec = processor_spec(ProcessorConfig())
    assert spec.example is not None
    assert spec.aclose is not None
    task = create_task(ProcessingType.DATABASE_OPERATION, spec.example())

    result = await spec.func(task, TaskContext(task_id=task.id, task_type=task.task_type))
    await spec.aclose()

    assert result["rows"] == [{"answer": 42}]


async def test_all_that_is_opened_at_once_is_opened_once(sqlite, opened):
    call: Caller = opened(sqlite.url)

    await asyncio.gather(*(call.sql("SELECT 1") for _ in range(20)))

    assert len(call.operations._open[asyncio.get_running_loop()]) == 1


async def test_after_closing_it_opens_anew(sqlite, opened):
    call = opened(sqlite.url)
    await call.sql("SELECT 1")
    await call.aclose()

    assert (await call(operation="select", table="toys"))["row_count"] == 3


async def test_a_payload_that_cannot_be_used_reaches_no_database(opened):
    call = opened("postgresql://toys:x@127.0.0.1:1/toys")

    assert type(await call.failure(operation="delete", table="toys")) is InvalidPayloadError
