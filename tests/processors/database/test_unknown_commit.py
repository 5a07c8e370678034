"""B14: the connection breaks when COMMIT has reached the server and its answer has not come back.

Then the work is done, and the attempt has failed. What is retried is done twice, unless it can tell that it was done.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.processors.database.kit import outcome, processor
from tests.processors.database.proxy import BadProxy

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskStatus, create_task
from async_processor.processors.providers import database_session


@contextlib.asynccontextmanager
async def losing(postgresql, commits: int, **settings: float) -> AsyncIterator[tuple[AdvancedAsyncProcessor, BadProxy]]:
    """A processor whose connection leads through the proxy, warmed up."""
    server = postgresql.server
    async with (
        BadProxy((server.host, server.port)) as proxy,
        processor(server.url(port=proxy.port), **settings) as running,
    ):
        await outcome(running, {"operation": "select", "table": "plain"})
        proxy.lose_commits(commits)
        yield running, proxy


async def test_a_commit_without_an_answer_is_told_as_such(postgresql, no_leaks):  # B14
    async with losing(postgresql, 1) as (running, proxy):
        insert = {"operation": "insert", "table": "plain", "values": {"a": 1}}
        result = await outcome(running, insert, max_retries=0)
        good = await outcome(running, {"operation": "select", "table": "plain"})

    assert proxy.lost == 1
    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ProviderError")
    assert "whether what was done has been committed is not known" in (result.error or "")
    # It had been.
    assert good.unwrap()["rows"] == [{"a": 1, "b": None}]


async def test_a_commit_that_is_never_answered_is_given_up_and_told_as_such(postgresql, no_leaks, monkeypatch):  # B14
    monkeypatch.setattr(database_session, "_ANSWER_S", 0.1)
    async with losing(postgresql, 0, statement_timeout_s=0.1, connect_timeout_s=0.1) as (running, proxy):
        proxy.keep_commits()
        insert = {"operation": "insert", "table": "plain", "values": {"a": 1}}
        result = await outcome(running, insert, max_retries=0)

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ProviderError")
    assert "is not known" in (result.error or "")
    assert await postgresql.fetch("SELECT a FROM plain") == [(1,)]


async def test_a_plain_insert_that_is_retried_after_such_a_commit_is_there_twice(postgresql, no_leaks):  # B14
    async with losing(postgresql, 1) as (running, _):
        result = await outcome(running, {"operation": "insert", "table": "plain", "values": {"a": 1}})

    assert (result.status, result.attempts) == (TaskStatus.COMPLETED, 2)
    assert await postgresql.fetch("SELECT a FROM plain") == [(1,), (1,)]


@pytest.mark.parametrize("commits", [1, 2])
async def test_an_upsert_by_the_tasks_id_leaves_one_row(postgresql, no_leaks, commits):  # B14
    await postgresql.execute("CREATE TABLE events (task_id text PRIMARY KEY, kind text)")
    async with losing(postgresql, commits) as (running, proxy):
        task = create_task(ProcessingType.DATABASE_OPERATION, {}, max_retries=3)
        task.payload = {
            "operation": "upsert",
            "table": "events",
            "values": {"task_id": task.id, "kind": "played"},
        }
        await running.submit_task(task)
        result = await running.wait_for_task(task.id, timeout=20)

    assert proxy.lost == commits
    assert (result.status, result.attempts) == (TaskStatus.COMPLETED, commits + 1)
    assert await postgresql.fetch("SELECT * FROM events") == [(task.id, "played")]


@pytest.mark.parametrize("commits", [1, 2])
async def test_what_is_to_be_done_once_is_done_once(postgresql, no_leaks, commits):  # B14
    count = {"operation": "sql", "sql": "UPDATE toys SET price = price + 1 WHERE id = 1", "once": "done"}
    async with losing(postgresql, commits) as (running, proxy):
        result = await outcome(running, count)
        another = await outcome(running, count)

    assert proxy.lost == commits
    assert (result.status, result.attempts) == (TaskStatus.COMPLETED, commits + 1)
    # The attempt that did it could not say so; the next one found its mark. Another task is another matter.
    assert [item.unwrap()["already_done"] for item in (result, another)] == [True, False]
    assert await postgresql.fetch("SELECT price FROM toys WHERE id = 1") == [(14.5,)]
    assert await postgresql.fetch("SELECT count(*) FROM done") == [(2,)]
