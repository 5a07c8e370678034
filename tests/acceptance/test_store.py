"""A processor on a file, through the public names: what it finds at the start, and what it does not lose."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.source_code import ROOT

from async_processor import AdvancedAsyncProcessor, ConfigurationError, ProcessingTask, TaskStatus, create_task
from async_processor.clock import SystemClock
from async_processor.errors import QueueFullError, StoreLockedError, UnserializableError
from async_processor.storage.base import TaskAccepted
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.task_codec import encode_task


def processor(folder: Path, **options: object) -> AdvancedAsyncProcessor:
    made = AdvancedAsyncProcessor(store=f"sqlite:///{folder / 'tasks.db'}", **options)  # type: ignore[arg-type]
    made.register_processor("double", double)
    made.register_processor("compute", compute, cpu_intensive=True)
    return made


async def double(task: ProcessingTask) -> int:
    return task.payload["number"] * 2


def compute(task: ProcessingTask) -> dict[str, object]:
    return {"number": task.payload["number"] * 2, "bytes": b"\x00" * 2_000_000, "pair": (1, 2)}


async def test_results_of_all_lanes_are_there_after_a_restart_as_they_were(tmp_path: Path):
    tasks = [
        create_task("double", {"number": 1}),
        create_task("double", {"number": 2}, io_bound=True),
        create_task("compute", {"number": 3}),
    ]
    async with processor(tmp_path) as first:
        for task in tasks:
            await first.submit_task(task)
        before = [await first.wait_for_task(task.id, timeout=20) for task in tasks]

    async with processor(tmp_path) as second:
        after = [await second.wait_for_task(task.id) for task in tasks]

    assert after == before
    assert [result.status for result in after] == [TaskStatus.COMPLETED] * 3
    assert type(after[2].result["pair"]) is tuple


async def test_what_was_submitted_to_a_running_processor_is_done_by_the_next(tmp_path: Path):
    first = processor(tmp_path)
    first.register_processor("late", double)
    await first.start()
    entered = asyncio.Event()

    async def waits(_task: ProcessingTask) -> None:
        entered.set()
        await asyncio.sleep(3_600.0)

    first.register_processor("waits", waits)
    blocker = await first.submit_task(create_task("waits", max_retries=0, timeout=None))
    await entered.wait()
    late = await first.submit_task(create_task("late", {"number": 21}, depends_on=[blocker]))
    await first.shutdown(timeout=0)

    second = processor(tmp_path)
    second.register_processor("late", double)
    second.register_processor("waits", double_nothing)
    async with second:
        assert (await second.wait_for_task(late, timeout=20)).result == 42
        assert (await second.wait_for_task(blocker)).attempts == 2


async def double_nothing(_task: ProcessingTask) -> None:
    """End at once."""


async def test_a_lambda_in_a_payload_is_refused_with_the_way_out(tmp_path: Path):
    async with processor(tmp_path) as running:
        with pytest.raises(UnserializableError, match="processor"):
            await running.submit_task(create_task("custom", {"processor": lambda payload: payload["n"], "n": 1}))


async def test_tasks_that_end_as_fast_as_they_come_wait_for_the_disk(tmp_path: Path):
    async with processor(tmp_path, queue_size=4, max_workers=1) as running:
        running.register_processor("fails", fails)
        failed = await running.submit_task(create_task("fails", max_retries=0))
        await running.wait_for_task(failed, timeout=20)
        with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(QueueFullError, match="store"):
                submit_without_end(running, depends_on=[failed])
            on_its_way = (await running.get_performance_metrics())["store"]["pending_changes"]
            late = asyncio.create_task(running.submit_task(create_task("double", {"number": 21})))
            await asyncio.sleep(0.05)
            waits = not late.done()
            other.execute("ROLLBACK")
        result = await running.wait_for_task(await late, timeout=20)

    assert 4 < on_its_way < 200
    assert waits
    assert result.result == 42


def submit_without_end(running: AdvancedAsyncProcessor, depends_on: list[str]) -> None:
    for _ in range(10_000):
        running.submit_task_nowait(create_task("double", depends_on=depends_on))


async def fails(_task: ProcessingTask) -> None:
    raise LookupError("on purpose")


@pytest.mark.parametrize(
    "store",
    ["", "sqlite:", "sqlite://tasks.db", "sqlite:///", "postgres://host/db", "tasks.db", Path("tasks.db"), None, 7],
)
def test_a_store_that_cannot_be_is_refused_with_what_can(store: Any):
    with pytest.raises(ConfigurationError, match="sqlite:///FILE"):
        AdvancedAsyncProcessor(store=store)


def test_a_durability_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="power"):
        AdvancedAsyncProcessor(durability="paper")  # type: ignore[arg-type]


# ---- one owner


async def test_another_processor_of_this_process_is_told_at_once(tmp_path: Path):  # S7
    async with processor(tmp_path):
        began = time.monotonic()
        with pytest.raises(StoreLockedError, match=r"tasks\.db"):
            await processor(tmp_path).start()
        assert time.monotonic() - began < 1.0


LOCK_PROGRAM = """
import asyncio, sys
from async_processor import AdvancedAsyncProcessor
from async_processor.errors import StoreLockedError

async def main():
    try:
        await AdvancedAsyncProcessor(store=sys.argv[1]).start()
    except StoreLockedError:
        sys.exit(7)

asyncio.run(main())
"""


async def test_nobody_takes_the_store_while_its_owner_hangs(tmp_path: Path):  # S8
    """There is no lease that could run out: the lock is the process's own."""
    started = []

    async def blocks(_task: ProcessingTask) -> None:
        started.append(time.monotonic())
        # The whole loop hangs, and with it whatever might say that it is alive.
        ended = subprocess.run(  # noqa: ASYNC221 - that it blocks the loop is the point
            [sys.executable, "-c", LOCK_PROGRAM, f"sqlite:///{tmp_path / 'tasks.db'}"], check=False, timeout=20
        )
        assert ended.returncode == 7

    running = processor(tmp_path)
    running.register_processor("blocks", blocks)
    async with running:
        task_id = await running.submit_task(create_task("blocks"))
        result = await running.wait_for_task(task_id, timeout=25)

    assert result.ok, result.error
    assert len(started) == 1


# ---- rows that cannot be read


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tasks SET spec = x'80' WHERE id = 'bad'",
        "UPDATE tasks SET priority = 99 WHERE id = 'bad'",
    ],
)
async def test_one_row_that_cannot_be_read_is_set_aside_and_the_others_run(tmp_path: Path, damage: str):  # S10
    entered = asyncio.Event()

    async def waits(_task: ProcessingTask) -> None:
        entered.set()
        await asyncio.sleep(3_600.0)

    first = processor(tmp_path, max_workers=1)
    first.register_processor("waits", waits)
    await first.start()
    await first.submit_task(create_task("waits", id="waits"))
    await entered.wait()
    for number in range(300):
        await first.submit_task(create_task("double", {"number": number}, id=f"good-{number}"))
    await first.submit_task(create_task("double", {"number": 0}, id="bad"))
    await first.submit_task(create_task("double", {"number": 0}, id="leaf", depends_on=["bad"]))
    await first.shutdown(timeout=0)
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as database, database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        assert database.execute(damage).rowcount == 1

    second = processor(tmp_path)
    second.register_processor("waits", double_nothing)
    async with second:
        good = [await second.wait_for_task(f"good-{number}", timeout=20) for number in range(300)]
        leaf = await second.wait_for_task("leaf", timeout=20)
        bad = await second.wait_for_task("bad", timeout=20)
        report = await second.health()

    assert [result.result for result in good] == [2 * number for number in range(300)]
    assert (bad.status, leaf.status) == (TaskStatus.FAILED, TaskStatus.CANCELLED)
    assert "bad" in (leaf.error or "")
    assert report.word == "degraded"


# ---- a task that kills its process

KILLER_PROGRAM = """
import asyncio, os, sys
from async_processor import AdvancedAsyncProcessor, create_task

def kill(task):
    os._exit(9)

async def fine(task):
    return task.payload["number"]

async def main():
    processor = AdvancedAsyncProcessor(store=sys.argv[1], max_process_workers=1)
    processor.register_processor("kill", kill)
    processor.register_processor("fine", fine)
    await processor.start()
    killer = create_task("kill", max_retries=1, idempotency_key="killer")
    ids = [await processor.submit_task(task) for task in (
        killer, *(create_task("fine", {"number": number}, idempotency_key=str(number)) for number in range(20)))]
    results = [await processor.wait_for_task(item) for item in ids]
    print(results[0].status, results[0].attempts, results[0].error)
    print(sorted(result.result for result in results[1:]))
    await processor.shutdown()

asyncio.run(main())
"""


def test_a_task_that_kills_its_process_is_given_up_after_three_lives(tmp_path: Path):  # S9
    lives = []
    while not lives or (lives[-1].returncode == 9 and len(lives) < 8):
        lives.append(
            subprocess.run(
                [sys.executable, "-c", KILLER_PROGRAM, f"sqlite:///{tmp_path / 'tasks.db'}"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                cwd=ROOT,
            )
        )

    assert [life.returncode for life in lives] == [9, 9, 9, 0], lives[-1].stderr
    first, second = lives[-1].stdout.splitlines()
    assert first.startswith("failed 3 ")
    assert "killed its process 3 times" in first
    assert second == str(list(range(20)))


# ---- a large backlog


async def fill(path: Path, count: int) -> None:
    store = SqliteStore(str(path), durability="process", clock=SystemClock())
    await store.open(lambda _: None)
    for number in range(count):
        store.write(TaskAccepted(store.new_row(), encode_task(create_task("double", {"number": number}), time.time())))
        if number % 5_000 == 0:
            await store.flush()
    await store.aclose(20.0)


@contextmanager
def without_collections() -> Iterator[None]:
    """The interpreter's own pauses over a million objects are not what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_with_a_hundred_thousand_tasks_to_take_up_the_first_starts_within_a_second(tmp_path: Path):  # S5
    await fill(tmp_path / "tasks.db", 100_000)
    began, first, lags = 0.0, asyncio.Event(), [0.0]

    async def noted(_task: ProcessingTask) -> None:
        first.set()

    async def beat() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            lags.append(time.monotonic() - before)

    asyncio.get_running_loop().set_debug(False)
    running = processor(tmp_path)
    running.register_processor("double", noted)
    with without_collections():
        began = time.monotonic()
        beating = asyncio.create_task(beat())
        starting = asyncio.create_task(running.start())
        await first.wait()
        elapsed = time.monotonic() - began
        await asyncio.sleep(0.5)
        beating.cancel()
        # Given up in the middle, as by a signal: what is not taken up yet stays for the next start.
        starting.cancel()
        await asyncio.wait([starting])

    assert starting.cancelled()
    assert not running.is_running
    # A second, and 50 ms; on a machine that others keep busy three times as much.
    assert elapsed < 3.0
    assert sorted(lags)[int(len(lags) * 0.99)] < 0.15
