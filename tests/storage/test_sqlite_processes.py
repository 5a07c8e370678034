"""A store and the death of its owners."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.source_code import ROOT
from tests.storage.children import child, line_of, lines_of
from tests.storage.old_versions import make_version_0, migrations_from_0
from tests.storage.store_kit import encoded, opened, sqlite_store

from async_processor.errors import StoreLockedError
from async_processor.model import TaskStatus
from async_processor.storage.sqlite_schema import open_database

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_a_store_of_another_process_is_refused_at_once_and_taken_over_at_its_death(path: Path):  # S7
    async with child("hold", path) as owner:
        assert await line_of(owner) == "open"
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(StoreLockedError, match=rf"process {owner.pid}\)") as caught:
                await sqlite_store(path).open(lambda _: None)
            assert time.monotonic() - began < 0.1
            assert str(path) in str(caught.value)
        owner.send_signal(signal.SIGKILL)
        await owner.wait()
        began = time.monotonic()
        async with opened(sqlite_store(path)):
            assert time.monotonic() - began < 1.0


async def test_a_program_that_the_owner_starts_does_not_hold_the_store(path: Path):  # S7, P13
    store = sqlite_store(path)
    await store.open(lambda _: None)
    sleeper = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
    try:
        await store.aclose(5)
        async with opened(sqlite_store(path)):
            pass
    finally:
        await sleeper.communicate(b"\n")
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_told_is_there_after_a_kill(path: Path, seed: int):  # S1
    """Several lives of one store, each ended by SIGKILL in the middle of its work."""
    dice = random.Random(seed)
    told: list[str] = []
    for _ in range(2):
        async with child("fill", path) as owner:
            await line_of(owner)
            await asyncio.sleep(dice.random() * 0.3)
            owner.send_signal(signal.SIGKILL)
            told += await lines_of(owner)
    kept = {line.split()[1] for line in told if line.startswith("kept")}
    ended = {line.split()[1] for line in told if line.startswith("ended")}

    began = time.monotonic()
    async with opened(sqlite_store(path, max_results=10**9)) as desk:
        assert time.monotonic() - began < 1.0
        found = await desk.store.find(sorted(kept))
        unfinished = {task.task.id: task for task in await desk.unfinished()}

    assert len(kept) > 100
    assert set(found) == kept
    assert {item for item in ended if found[item].value != item.encode()} == set()
    assert all(found[item].task.spec == item.encode() for item in kept)
    assert all(task.status is TaskStatus.PENDING for task in unfinished.values())
    assert all(task.crashes >= 1 for task in unfinished.values() if task.attempt)


@pytest.mark.parametrize("first", [1, 2, 3])
async def test_a_kill_before_any_statement_leaves_what_was_told(tmp_path: Path, first: int):  # S4
    """From the making of a store to its closing: a task, an attempt, an end with a large result, and its retention.

    The statements of triggers among them; in three parts, for they are many.
    """
    for number in range(first, 300, 3):
        path = tmp_path / f"{number}.db"
        async with child("once_until", path, number) as owner:
            told = await lines_of(owner)
        async with opened(sqlite_store(path)) as desk:
            found = await desk.store.find(["a"])
            task = found.get("a")
            assert desk.keys == ({"k": "a"} if found else {})
        if "kept TaskAccepted" not in told:
            continue
        if "closed" in told:
            break
        if "kept TaskFinished" in told:
            # Retention may have had its turn: it keeps no results here.
            assert task is None or (task.status is TaskStatus.COMPLETED and task.value == b"v" * 2_000)
        else:
            assert task is not None
            assert task.task == encoded("a", depends_on=["b"], key="k")
            assert task.attempt == 1 or "kept AttemptStarted" not in told
    assert "closed" in told
    assert number > 25


async def test_a_kill_before_any_statement_of_a_migration_leaves_one_of_both_versions(tmp_path: Path):  # S18
    for number in range(1, 100):
        path = tmp_path / f"{number}.db"
        make_version_0(path)
        async with child("migrate_until", path, number) as owner:
            told = await lines_of(owner)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            table = "old_tasks" if version == 0 else "tasks"
            assert connection.execute(f"SELECT group_concat(id) FROM {table}").fetchone() == ("old-1,old-2",)  # noqa: S608
        open_database(str(path), "power", migrations_from_0()).close()
        if told:
            break
    assert told == ["migrated"]
    assert number > 10


_FORGETS_TO_CLOSE = """
import asyncio, sys
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.base import TaskAccepted
from tests.storage.store_kit import encoded
async def main():
    store = SqliteStore(sys.argv[1])
    await store.open(lambda _: None)
    for row in range(1, 500):
        store.write(TaskAccepted(row, encoded(f"t{row}")), lambda _: None)
    await asyncio.sleep(0)
asyncio.run(main())
print("end")
"""


async def test_an_interpreter_ends_though_nobody_closed_the_store(path: Path):  # D9
    for _ in range(3):
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-X", "dev", "-W", "error", "-c", _FORGETS_TO_CLOSE, str(path)],
            capture_output=True, text=True, cwd=ROOT, timeout=20,
        )  # fmt: skip
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "end\n", "")
    async with opened(sqlite_store(path)):
        pass
