"""Cancelled and timed out: the slot is free at once, nothing runs on, nothing is half done, no connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time

import pytest
from tests.leaks import look
from tests.processors.database.kit import ENDLESS, outcome, processor, until
from tests.processors.database.proxy import BadProxy

from async_processor import ProcessingType, TaskStatus, create_task
from async_processor.processors.providers import database_session

pytestmark = pytest.mark.alone

# Within one step of SQLite's machine, where it listens to nobody: a search that takes a second to find nothing.
DEAF = "SELECT instr(hex(zeroblob(1000000)), hex(zeroblob(30000)) || '1')"
RATHER_DEAF = DEAF.replace("1000000", "500000")
COUNT = "SELECT count(*) FROM plain"


def within(text: str) -> dict:
    """A transaction that changes something, and then something more."""
    change = {"operation": "insert", "table": "plain", "values": {"a": 1}}
    return {"operation": "transaction", "statements": [change, {"operation": "sql", "sql": text}, change]}


async def has_begun(database) -> bool:
    """Whether a transaction that changes something is under way."""
    if database.kind == "postgresql":
        return bool(await database.running())
    with contextlib.closing(sqlite3.connect(database.path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


async def allowance(running) -> float:
    """Half a second, and on a machine that is busy what a few good tasks take on it."""
    began = time.monotonic()
    await outcome(running, {"operation": "select", "table": "toys"})
    return 0.5 + 10 * (time.monotonic() - began)


async def is_quiet(database) -> bool:
    return not await has_begun(database)


async def test_a_cancelled_statement_frees_its_slot_within_half_a_second(database, no_leaks):
    async with processor(database.url) as running:
        await outcome(running, {"operation": "select", "table": "toys"})
        allowed_s = await allowance(running)
        task = create_task(ProcessingType.DATABASE_OPERATION, within(ENDLESS))
        await running.submit_task(task)
        await until(lambda: has_begun(database))

        began = time.monotonic()
        await running.cancel_task(task.id)
        good = await outcome(running, {"operation": "insert", "table": "plain", "values": {"a": 2}})
        took = time.monotonic() - began

        cancelled = await running.wait_for_task(task.id)
        # On the server, too; and before the processor is shut down.
        assert await database.running() in (0, None)

    assert cancelled.status is TaskStatus.CANCELLED
    assert good.status is TaskStatus.COMPLETED
    assert took < allowed_s
    assert await database.fetch("SELECT a FROM plain") == [(2,)]


async def test_a_statement_whose_task_times_out_frees_its_slot_within_half_a_second(database, no_leaks):
    async with processor(database.url) as running:
        await outcome(running, {"operation": "select", "table": "toys"})
        allowed_s = await allowance(running)
        began = time.monotonic()
        late = await outcome(running, within(ENDLESS), timeout=0.2, max_retries=0)
        good = await outcome(running, {"operation": "insert", "table": "plain", "values": {"a": 2}})
        took = time.monotonic() - began

        assert await database.running() in (0, None)

    assert late.status is TaskStatus.TIMEOUT
    assert good.status is TaskStatus.COMPLETED
    assert took < 0.2 + allowed_s
    assert await database.fetch("SELECT a FROM plain") == [(2,)]


async def test_sqlite_that_does_not_listen_holds_neither_the_slot_nor_other_tasks(sqlite, no_leaks):
    async with processor(sqlite.url) as running:
        await outcome(running, {"operation": "select", "table": "toys"})
        allowed_s = await allowance(running)
        task = create_task(ProcessingType.DATABASE_OPERATION, within(DEAF))
        await running.submit_task(task)
        await until(lambda: has_begun(sqlite))
        await asyncio.sleep(0.2)  # until it searches, which it tells nobody

        began = time.monotonic()
        await running.cancel_task(task.id)
        good = await outcome(running, {"operation": "select", "table": "plain"})
        took = time.monotonic() - began
        still = await has_begun(sqlite)
        await until(lambda: is_quiet(sqlite), within_s=30)

    assert good.status is TaskStatus.COMPLETED
    assert took < allowed_s
    assert still, "the search is too easy for this machine to show anything"
    assert await sqlite.fetch(COUNT) == [(0,)]


async def test_a_network_that_is_gone_holds_no_slot_and_the_server_ends_the_statement(postgresql, no_leaks):
    server = postgresql.server
    async with BadProxy((server.host, server.port)) as proxy:
        url = server.url(port=proxy.port)
        async with processor(url, statement_timeout_s=1.0, connect_timeout_s=0.2) as running:
            await outcome(running, {"operation": "select", "table": "toys"})
            task = create_task(ProcessingType.DATABASE_OPERATION, within(ENDLESS))
            await running.submit_task(task)
            await until(lambda: has_begun(postgresql))
            proxy.fall_silent()

            began = time.monotonic()
            await running.cancel_task(task.id)
            await running.wait_for_task(task.id)
            bad = await outcome(running, {"operation": "select", "table": "plain"}, max_retries=0)
            took = time.monotonic() - began
            await until(lambda: is_quiet(postgresql))

    assert (bad.status, bad.error_type) == (TaskStatus.FAILED, "ProviderError")
    assert took < 1.0
    assert await postgresql.fetch(COUNT) == [(0,)]


@pytest.mark.nightly  # SQLAlchemy takes two seconds to close such a connection
async def test_a_connection_that_does_not_answer_any_more_is_given_up(postgresql, no_leaks, monkeypatch):
    monkeypatch.setattr(database_session, "_ANSWER_S", 0.1)
    server = postgresql.server
    async with (
        BadProxy((server.host, server.port)) as proxy,
        processor(server.url(port=proxy.port), connect_timeout_s=0.1) as running,
    ):
        await outcome(running, {"operation": "select", "table": "toys"})
        proxy.fall_silent()
        began = time.monotonic()
        bad = await outcome(running, {"operation": "select", "table": "toys"}, max_retries=0)
        took = time.monotonic() - began

    assert (bad.status, bad.error_type) == (TaskStatus.FAILED, "ProviderError")
    assert took < 5.0


async def test_what_does_not_end_when_all_is_closed_is_closed_when_it_does(sqlite, opened, monkeypatch):
    monkeypatch.setattr(database_session, "_CLOSE_S", 0.05)
    call = opened(sqlite.url)
    await call.sql("SELECT 1")
    working = asyncio.create_task(call(**within(RATHER_DEAF)))
    await until(lambda: has_begun(sqlite))
    await asyncio.sleep(0.2)  # as above

    began = time.monotonic()
    await call.aclose()
    took = time.monotonic() - began
    with pytest.raises(asyncio.CancelledError):
        await working

    assert took < 1.0
    # Its thread and files are gone soon: the fixture sees to that.


@pytest.mark.parametrize("text", [ENDLESS, RATHER_DEAF], ids=["endless", "deaf"])
async def test_a_shutdown_neither_waits_for_a_statement_nor_leaves_it_behind(sqlite, no_leaks, text):
    running = processor(sqlite.url)
    await running.start()
    await outcome(running, {"operation": "select", "table": "toys"})
    task = create_task(ProcessingType.DATABASE_OPERATION, within(text))
    await running.submit_task(task)
    await until(lambda: has_begun(sqlite))

    began = time.monotonic()
    await running.shutdown(timeout=0.1)
    took = time.monotonic() - began
    await until(lambda: is_quiet(sqlite), within_s=30)

    assert took < 1.1
    assert await sqlite.fetch(COUNT) == [(0,)]


async def test_work_that_goes_on_while_all_is_closed_is_stopped(database, opened):
    call = opened(database.url)
    await call.sql("SELECT 1")
    working = asyncio.create_task(call(**within(ENDLESS)))
    await until(lambda: has_begun(database))

    await call.aclose()
    with pytest.raises(asyncio.CancelledError):
        await working

    assert await database.running() in (0, None)
    assert await database.fetch(COUNT) == [(0,)]


async def test_one_that_waits_for_its_turn_can_be_cancelled(sqlite, opened):
    call = opened(sqlite.url)
    await call.sql("SELECT 1")
    first = asyncio.create_task(call(**within(ENDLESS)))
    await until(lambda: has_begun(sqlite))
    second = asyncio.create_task(call(operation="insert", table="plain", values={"a": 2}))
    await asyncio.sleep(0)

    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert (await call(operation="select", table="plain"))["rows"] == []


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(0.006)",
}


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_stopped_at_50_random_moments_nothing_is_left_behind(database, no_leaks, how):  # B22
    moments = random.Random(22)
    payload = within(SLOW[database.kind])
    async with processor(database.url, slots=2, pool_size=2) as running:
        await asyncio.gather(*(outcome(running, {"operation": "select", "table": "toys"}) for _ in range(2)))
        whole = (await outcome(running, payload)).execution_time
        before = look()

        ends = []
        for _ in range(50):
            moment = moments.uniform(0.0005, 1.3 * whole)
            if how == "timed out":
                ends.append((await outcome(running, payload, timeout=moment, max_retries=0)).status)
                continue
            task = create_task(ProcessingType.DATABASE_OPERATION, payload)
            await running.submit_task(task)
            await asyncio.sleep(moment)
            await running.cancel_task(task.id)
            ends.append((await running.wait_for_task(task.id)).status)

        good = await outcome(running, payload)
        open_now, open_before = len(look().descriptors), len(before.descriptors)
        if database.kind == "postgresql":
            await until(lambda: _at_most(database, 2))

    stopped = TaskStatus.CANCELLED if how == "cancelled" else TaskStatus.TIMEOUT
    assert stopped in ends
    assert set(ends) <= {stopped, TaskStatus.COMPLETED}
    assert good.status is TaskStatus.COMPLETED
    assert open_now <= open_before + 2  # a connection that was opened anew may have more files
    # Each transaction inserts two rows or none. One stopped while it was committed may be either.
    ((rows,),) = await database.fetch(COUNT)
    assert rows % 2 == 0
    assert 2 * (ends.count(TaskStatus.COMPLETED) + 2) <= rows <= 2 * 52
    if database.kind == "postgresql":
        await until(lambda: _at_most(database, 0))


async def _at_most(database, count: int) -> bool:
    return await database.connected() <= count
