"""Rows that cannot be kept, and disks that cannot keep anything."""

# ruff: noqa: ASYNC240 - files are looked at while nothing else wants the loop

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import random
import resource
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.storage.children import child, lines_of
from tests.storage.store_kit import (
    NOW,
    WAIT_S,
    Desk,
    encoded,
    eventually,
    finished,
    opened,
    sqlite_store,
    started,
)

from async_processor.errors import DuplicateTaskError, InvalidTaskError, StoreError
from async_processor.model import TaskStatus
from async_processor.storage import sqlite_schema, sqlite_writer
from async_processor.storage.base import AttemptRetried, Change, TaskAccepted, TaskProgressed
from async_processor.storage.sqlite_schema import Durability, connect

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# ---- rows


BAD_TASKS = {
    "lone surrogate": encoded("\ud800"),
    "surrogate in a key": encoded("bad", key="\udfff"),
    "surrogate in a dependency": encoded("bad", depends_on=["fine", "\ud800"]),
    "beyond 64 bits": encoded("bad", priority=2**63),
    "no number": encoded("bad")._replace(created_at=math.nan),
    "no bytes": encoded("bad")._replace(spec=object()),  # type: ignore[arg-type]
    "no text": encoded("bad")._replace(task_type=None),  # type: ignore[arg-type]
    "its id again": encoded("t1"),
    "another's key": encoded("bad", key="t2"),
}


@pytest.mark.parametrize("bad", BAD_TASKS)
async def test_a_row_that_cannot_be_stored_fails_alone_in_a_group_of_64(path: Path, bad: str):  # S6
    async with opened(sqlite_store(path)) as desk:
        rows = [desk.store.new_row() for _ in range(64)]
        changes = [TaskAccepted(row, encoded(f"t{row}", key=f"t{row}")) for row in rows]
        changes[40] = TaskAccepted(rows[40], BAD_TASKS[bad])

        told = await desk.write(*changes)

        assert [number for number, error in enumerate(told) if error is not None] == [40]
        assert isinstance(told[40], InvalidTaskError)
        assert isinstance(told[40], DuplicateTaskError) == (bad in ("its id again", "another's key"))
        assert [task.row for task in await desk.unfinished()] == rows[:40] + rows[41:]
        # Nothing is left in an open transaction: another connection can write, and sees all.
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert other.execute("SELECT count(*) FROM tasks").fetchone() == (63,)
            assert other.execute("SELECT count(*) FROM dependencies").fetchone() == (0,)
    async with opened(sqlite_store(path)) as desk:
        assert len(await desk.unfinished()) == 63


async def test_neighbours_of_a_bad_row_keep_their_order(path: Path):  # S6
    async with opened(sqlite_store(path)) as desk:
        row, twice = desk.store.new_row(), desk.store.new_row()
        told = await desk.write(
            TaskAccepted(row, encoded("a")), started(row, 1), AttemptRetried(row, 1, NOW + 1, "broke \ud800"),
            TaskAccepted(twice, encoded("a")), started(row, 2), TaskProgressed(row, 0.5, "\ud800"), started(twice),
            finished(row, TaskStatus.FAILED, NOW + 3)._replace(error="gave up \ud800"),
        )  # fmt: skip
        task = await desk.one("a")

    assert [type(error) for error in told] == [type(None)] * 3 + [DuplicateTaskError] + [type(None)] * 4
    assert (task.status, task.attempt, task.error) == (TaskStatus.FAILED, 2, "gave up \\ud800")
    assert task.progress_message == "\\ud800"


# ---- a full disk


class Limit:
    """Lets the store's database grow to so many pages and no more, as if the disk were full then."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None

    def connect(self, path: str, durability: Durability) -> sqlite3.Connection:
        self.connection = connect(path, durability)
        return self.connection

    def set(self, pages: int) -> None:
        assert self.connection is not None
        # Below the present size it only stops growing.
        self.connection.execute(f"PRAGMA max_page_count = {pages}")

    def lift(self) -> None:
        self.set(2**30)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    limit = Limit()
    monkeypatch.setattr(sqlite_schema, "connect", limit.connect)
    monkeypatch.setattr(sqlite_writer, "connect", limit.connect)
    return limit


async def test_on_a_full_disk_new_tasks_are_refused_and_all_else_waits_for_room(path: Path, limit: Limit, caplog):  # S3
    async with opened(sqlite_store(path)) as desk:
        row = await desk.accept("before")
        limit.set(1)
        ended: list[object] = []

        refused = await desk.write(
            *(TaskAccepted(desk.store.new_row(), encoded(f"t{n}", spec=b"x" * 9_000)) for n in range(5))
        )
        desk.store.write(finished(row, value=b"v" * 90_000), ended.append)
        again = await desk.write(TaskAccepted(desk.store.new_row(), encoded("more", spec=b"x" * 9_000)))

        for error in (*refused, *again):
            assert isinstance(error, StoreError)
            assert "full: make room" in str(error)
            assert str(path) in str(error)
        assert ended == []
        assert "full" in desk.store.statistics().failing
        assert desk.store.pending == 1
        with pytest.raises(StoreError, match="full"):
            await desk.one("before")

        limit.lift()
        await eventually(lambda: ended == [None], 5.0)
        assert desk.store.statistics().failing == ""
        assert await desk.ids("t0", "t1", "more") == set()
        assert (await desk.one("before")).value == b"v" * 90_000
        await desk.accept("t0")
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


async def test_a_store_that_stays_full_says_so_when_it_is_closed(path: Path, limit: Limit):  # S3
    async with opened(sqlite_store(path)) as desk:
        row = await desk.accept("a")
        limit.set(1)
        told: list[object] = []
        desk.store.write(finished(row, value=b"v" * 90_000), told.append)
        began = time.monotonic()

        await desk.store.aclose(0.3)

        assert time.monotonic() - began < 1.3
        assert isinstance(told[0], StoreError)
        assert "full" in str(told[0])
    async with opened(sqlite_store(path)) as desk:
        assert (await desk.one("a")).status is TaskStatus.PENDING


async def test_what_could_not_be_written_before_closing_is_not_written_later(path: Path, monkeypatch):  # S11
    monkeypatch.setattr("async_processor.storage.sqlite_schema._BUSY_S", 2.0)
    store = sqlite_store(path)
    await store.open(lambda _: None)
    desk = Desk(store)
    await desk.accept("before")
    told: list[object] = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        store.write(TaskAccepted(store.new_row(), encoded("late")), told.append)
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await store.aclose(0.2)
        assert time.monotonic() - began < 1.2
    assert isinstance(told[0], StoreError)

    # The thread still waits for the other's lock, and gets it now.
    async def is_let_go() -> bool:
        try:
            await store.open(lambda _: None)
        except StoreError:
            return False
        return True

    await eventually(is_let_go)
    assert set(await store.find(["before", "late"])) == {"before"}
    await store.aclose(WAIT_S)


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond that: writes fail half-way, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 5, 8])
async def test_a_log_that_cannot_grow_loses_nothing_that_was_promised(path: Path, pages: int):  # S3
    """Wherever the write breaks off: what was told is so, now and after a restart."""
    kept: set[str] = set()
    refused: set[str] = set()

    async def accept(desk: Desk, *task_ids: str) -> None:
        told = await desk.write(
            *(TaskAccepted(desk.store.new_row(), encoded(item, spec=b"x" * 1_500)) for item in task_ids)
        )
        for task_id, error in zip(task_ids, told, strict=True):
            (refused if error is not None else kept).add(task_id)

    async with opened(sqlite_store(path)) as desk:
        # The log is by far the largest file: it is what the limit hits.
        await accept(desk, *(f"first-{number}" for number in range(100)))
        with no_file_grows_beyond(Path(f"{path}-wal").stat().st_size + pages * 4_120 + 24):
            for number in range(5):
                await accept(desk, *(f"{number}-{other}" for other in range(5)))
        await eventually(lambda: _accepts(desk, kept))
        assert await desk.ids(*kept, *refused) == kept
    async with opened(sqlite_store(path)) as desk:
        assert {task.task.id for task in await desk.unfinished()} == kept
    assert len(refused) >= 10


async def _accepts(desk: Desk, kept: set[str]) -> bool:
    row = desk.store.new_row()
    good = await desk.write(TaskAccepted(row, encoded(f"after-{row}"))) == [None]
    if good:
        kept.add(f"after-{row}")
    return good


async def test_a_large_result_waits_for_room_too(path: Path):  # S3, S19
    async with opened(sqlite_store(path, result_file_bytes=50_000)) as desk:
        row = await desk.accept("a")
        told: list[object] = []
        with no_file_grows_beyond(100_000):
            desk.store.write(finished(row, value=b"v" * 200_000), told.append)
            await eventually(lambda: "full" in desk.store.statistics().failing)
            assert told == []
        await eventually(lambda: told == [None])

        assert (await desk.one("a")).value == b"v" * 200_000


# ---- a disk that reports errors


def strace_works() -> bool:
    return shutil.which("strace") is not None and os.system("strace -e trace=none true 2>/dev/null") == 0  # noqa: S605


STRACE = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync,pwrite64")

with_strace = pytest.mark.skipif(not strace_works(), reason="needs strace, and permission to trace")


def spoken(lines: list[str], word: str) -> set[str]:
    return {line.split()[1] for line in lines if line.startswith(f"{word} ")}


@with_strace
@pytest.mark.parametrize(
    "inject",
    [
        # Opening takes twelve of them, the first commit two, each further one.
        *(f"fdatasync:error=EIO:when={number}" for number in (15, 16, 19)),
        "fdatasync:error=EIO:when=16..18",
        "fdatasync:error=EIO:when=15+4",
        "pwrite64:error=EIO:when=70",
        "pwrite64:error=ENOSPC:when=60..70",
    ],
)
async def test_after_a_reported_error_what_was_told_is_so(path: Path, inject: str):  # S3
    async with child("single", path, 12, before=(*STRACE, "-e", f"inject={inject}")) as process:
        lines = await lines_of(process)

    assert lines[-1] == "closed", lines
    kept, refused = spoken(lines, "kept"), spoken(lines, "refused")
    assert len(kept) + len(refused) == 12
    assert len(kept) >= 5
    assert refused or any(line.startswith("failing") for line in lines) or "EIO:when=1" in inject
    async with opened(sqlite_store(path)) as desk:
        found = await desk.store.find([f"t{number}" for number in range(12)])
    assert set(found) == kept
    assert all(found[item].status is TaskStatus.COMPLETED for item in spoken(lines, "ended"))


@with_strace
async def test_on_a_disk_that_never_syncs_again_every_task_is_refused_soon(path: Path):  # S3
    began = time.monotonic()
    async with child("single", path, 6, before=(*STRACE, "-e", "inject=fdatasync:error=EIO:when=16+")) as process:
        lines = await lines_of(process)

    kept, refused = spoken(lines, "kept"), spoken(lines, "refused")
    assert len(kept) + len(refused) == 6
    assert len(refused) >= 3
    assert all("the disk reports an error" in line for line in lines if line.startswith("refused"))
    assert any(line.startswith("failing the disk reports an error") for line in lines)
    assert lines[-1] == "closed"
    assert time.monotonic() - began < 25
    async with opened(sqlite_store(path)) as desk:
        assert {task.task.id for task in await desk.unfinished()} <= kept
        assert await desk.ids(*kept, *refused) == kept


# ---- other programs


async def test_a_foreign_writer_that_holds_the_lock_is_waited_for(path: Path):  # S11
    """And eight that read do not matter at all."""
    with ThreadPoolExecutor(8) as threads:
        async with opened(sqlite_store(path)) as desk:
            await _write_beside_others(path, desk, threads)


async def _write_beside_others(path: Path, desk: Desk, threads: ThreadPoolExecutor) -> None:
    await desk.accept("a")
    stop = asyncio.Event()
    readers = [asyncio.get_running_loop().run_in_executor(threads, _read_on, path, stop) for _ in range(8)]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(
            desk.write(*(TaskAccepted(desk.store.new_row(), encoded(f"t{number}")) for number in range(100)))
        )
        lag = await _longest_lag(3.0)
        assert not writing.done()
        foreign.execute("ROLLBACK")
    assert await writing == [None] * 100
    for number in range(200):
        await desk.accept(f"u{number}")
    stop.set()
    counts = await asyncio.gather(*readers)

    assert lag < 0.25, lag  # by the machine's other work; the wait took 3 s
    assert all(count > 10 for count in counts)


def _read_on(path: Path, stop: asyncio.Event) -> int:
    count = 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as connection:
        while not stop.is_set():
            connection.execute("SELECT count(*), max(id) FROM tasks").fetchall()
            count += 1
            time.sleep(0.005)
    return count


async def _longest_lag(seconds: float) -> float:
    until = time.monotonic() + seconds
    longest = 0.0
    while (before := time.monotonic()) < until:
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before - 0.005)
    return longest


async def test_a_lock_held_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch):  # S11
    monkeypatch.setattr("async_processor.storage.sqlite_schema._BUSY_S", 0.1)
    async with opened(sqlite_store(path)) as desk:
        row = await desk.accept("a")
        ended: list[object] = []
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            desk.store.write(started(row))
            desk.store.write(finished(row), ended.append)
            told = await desk.write(TaskAccepted(desk.store.new_row(), encoded("b")))
            assert isinstance(told[0], StoreError)
            assert "another program keeps it locked" in str(told[0])
        await eventually(lambda: ended == [None])
        assert await desk.ids("a", "b") == {"a"}


async def test_a_long_reader_lets_the_log_grow_within_bounds_and_is_told_of(path: Path, caplog):  # S12
    async with opened(sqlite_store(path, durability="process")) as desk:
        await desk.accept("first")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM tasks").fetchall()
            for number in range(45):
                await desk.accept(f"t{number}", spec=random.Random(number).randbytes(1_000_000))
            grown = desk.store.statistics().journal_bytes
        for number in range(200):
            await desk.accept(f"u{number}")
        after = desk.store.statistics().journal_bytes

    assert 32_000_000 < grown < 64_000_000
    assert after <= 16 * 1024 * 1024 + 100_000
    assert len([record for record in caplog.records if "write-ahead log" in record.message]) == 1


def changes_of(row: int) -> list[Change]:
    return [TaskAccepted(row, encoded(f"t{row}")), started(row), finished(row)]


async def test_the_loop_is_never_blocked_by_many_changes(tmp_path: Path):
    # The garbage collector would walk all that the tests before have left, which takes as long as what is measured.
    gc.collect()
    gc.freeze()
    try:
        lags = [await _lag_of_many_changes(tmp_path / f"{number}.db") for number in range(3)]
    finally:
        gc.unfreeze()

    # The thousand calls of write below, in debug mode, among it; of three, for others may keep the machine busy.
    assert min(lags) < 0.25


async def _lag_of_many_changes(path: Path) -> float:
    async with opened(sqlite_store(path)) as desk:
        told: list[object] = []
        lagging = asyncio.create_task(_longest_lag(1.0))
        for start in range(1, 10_001, 1_000):
            for row in range(start, start + 1_000):
                for change in changes_of(row):
                    desk.store.write(change, told.append)
            await asyncio.sleep(0)
        await desk.store.flush()
        assert len(told) == 30_000
        return await lagging


async def test_a_loop_that_is_gone_takes_the_thread_with_it(path: Path):
    def other_loop() -> None:
        async def leave() -> None:
            store = sqlite_store(path)
            await store.open(lambda _: None)
            store.write(TaskAccepted(1, encoded("left")))
            await asyncio.sleep(0)

        asyncio.run(leave())

    await asyncio.to_thread(other_loop)

    async def opens() -> bool:
        store = sqlite_store(path)
        try:
            await store.open(lambda _: None)
        except StoreError:
            return False
        found = await store.find(["left"])
        await store.aclose(WAIT_S)
        return set(found) == {"left"}

    await eventually(opens)
