"""What is kept of finished tasks, where, and for how long; and how fast a large store opens."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import sqlite3
import time
from pathlib import Path

import pytest
from tests.storage.store_kit import (
    NOW,
    Desk,
    encoded,
    eventually,
    finished,
    opened,
    sqlite_store,
    started,
)

from async_processor.storage.base import TaskAccepted
from async_processor.storage.sql_files import script, statements
from async_processor.storage.sqlite_retention import SLICE, Retention

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def fill(desk: Desk, first: int, count: int) -> None:
    """Accept and finish so many tasks."""
    for start in range(first, first + count, 1_000):
        rows = range(start, min(start + 1_000, first + count))
        for row in rows:
            desk.store.write(TaskAccepted(row, encoded(f"t{row}", key=f"k{row}", spec=b"s" * 200)))
            desk.store.write(finished(row, at=NOW + row / 1_000))
        await desk.store.flush()


# ---- large results


def files_of(path: Path) -> list[Path]:
    return [item for item in Path(f"{path}-results").glob("*/*") if item.is_file()]


async def test_a_result_beyond_the_size_goes_to_a_file_named_by_its_content(path: Path):
    large, small = b"x" * 101, b"x" * 100
    async with opened(sqlite_store(path, result_file_bytes=100)) as desk:
        for task_id, value in (("small", small), ("large", large), ("again", large)):
            row = await desk.accept(task_id)
            await desk.keep(finished(row, value=value))
        found = await desk.store.find(["small", "large", "again"])

    assert [found[item].value for item in ("small", "large", "again")] == [small, large, large]
    assert [item.name for item in files_of(path)] == [hashlib.sha256(large).hexdigest()]
    assert files_of(path)[0].read_bytes() == large


async def test_a_file_goes_with_the_last_task_that_names_it(path: Path):
    settings = {"result_file_bytes": 10, "max_results": 1}
    async with opened(sqlite_store(path, **settings)) as desk:
        for number, value in enumerate((b"a" * 20, b"b" * 20, b"a" * 20)):
            row = await desk.accept(f"t{number}")
            await desk.keep(finished(row, at=NOW + number, value=value))
    async with opened(sqlite_store(path, **settings)) as desk:
        await eventually(lambda: len(files_of(path)) == 1)
        assert await desk.ids("t0", "t1", "t2") == {"t2"}
        assert (await desk.one("t2")).value == b"a" * 20


async def test_files_that_nobody_names_are_swept_after_the_next_start(path: Path):
    async with opened(sqlite_store(path, result_file_bytes=10)) as desk:
        row = await desk.accept("a")
        await desk.keep(finished(row, value=b"a" * 20))
    kept = files_of(path)
    for name in ("ab/ab12", "ff/ff.new"):
        orphan = Path(f"{path}-results") / name
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(b"of a crash")

    async with opened(sqlite_store(path)):
        await eventually(lambda: files_of(path) == kept)


# ---- retention


async def test_results_are_forgotten_while_the_store_works(path: Path):
    async with opened(sqlite_store(path, max_results=100)) as desk:
        await fill(desk, 1, 3_000)
        # Looked for after a thousand ends at the latest, in slices that others may come between.
        await eventually(lambda: _has_forgotten(desk, 2_000))
        assert len(await desk.ids(*(f"t{row}" for row in range(2_901, 3_001)))) == 100
        assert desk.forgotten == [f"k{row}" for row in range(1, len(desk.forgotten) + 1)]
        assert await desk.ids("t1") == set()


async def _has_forgotten(desk: Desk, least: int) -> bool:
    await asyncio.sleep(0)
    return len(desk.forgotten) >= least


async def churn(path: Path, kept: int, rounds: int) -> tuple[list[int], float]:
    """Finish tasks in rounds of as many as are kept; sizes of the file after each, and the longest erasure."""
    sizes = []
    longest = 0.0
    erase = Retention._erase

    def timed(self: Retention, connection: sqlite3.Connection, found: list[object], *, durable: bool) -> None:
        nonlocal longest
        assert len(found) <= SLICE
        began = time.thread_time()
        erase(self, connection, found, durable=durable)
        longest = max(longest, time.thread_time() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Retention, "_erase", timed)
        async with opened(sqlite_store(path, max_results=kept, result_ttl_s=1e9)) as desk:
            for number in range(rounds):
                await fill(desk, number * kept + 1, kept)
                await eventually(lambda number=number: _has_forgotten(desk, number * kept - 1_000))
                sizes.append(_pages(path))
    return sizes, longest


def _pages(path: Path) -> int:
    """Of the database, those that are still in the log included."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def test_the_file_keeps_its_size_and_no_erasure_is_long(path: Path):  # S20
    sizes, longest = await churn(path, 10_000, 4)

    assert max(sizes[1:]) <= 1.1 * min(sizes[1:])
    # Time of the processor: what the machine does besides is not the store's.
    assert longest < 0.05


@pytest.mark.nightly
@pytest.mark.timeout(1_200)
async def test_the_file_keeps_its_size_over_a_million_results(path: Path):  # S20
    sizes, longest = await churn(path, 200_000, 6)

    assert max(sizes[1:]) <= 1.1 * min(sizes[1:])
    assert longest < 0.05


async def test_what_is_awaited_is_not_in_the_way_of_what_may_go(path: Path):
    async with opened(sqlite_store(path, max_results=0)) as desk:
        await desk.accept("waits", depends_on=["needed"])
        await desk.finish("needed", at=NOW - 9)
        await fill(desk, 10, 1_500)
        await eventually(lambda: _has_forgotten(desk, 1_000))
        assert await desk.ids("needed") == {"needed"}


# ---- a large store


async def test_a_hundred_thousand_unfinished_tasks_are_there_within_a_second(path: Path):  # S5
    async with opened(sqlite_store(path, durability="process")) as desk:
        for row in range(1, 100_001):
            desk.store.write(TaskAccepted(row, encoded(f"t{row}", priority=1 + row % 5, spec=b"s" * 200)))
            if row % 1_000 == 0:
                await desk.store.flush()
        for row in range(1, 17):
            desk.store.write(started(row))

    began = time.monotonic()
    async with opened(sqlite_store(path)) as desk:
        first = await anext(aiter(desk.store.unfinished()))
        ready = time.monotonic() - began
        count = len(first)
        chunks = desk.store.unfinished()
        async for chunk in chunks:
            count += len(chunk)

    assert count == 100_000 + len(first)
    assert [task.row for task in first[:3]] == [5, 10, 15]
    assert first[0].crashes == 1
    assert ready < 1.0


# ---- statements


def test_every_statement_is_one_that_the_schema_understands():
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script("schema.sql"))
        for name, statement in statements().items():
            for size in (1, 4):
                text = statement._for(size)
                assert connection.execute(f"EXPLAIN {text}", _parameters(text)).fetchall(), name
    finally:
        connection.close()


OFTEN = (
    "erase_unfinished", "erase_tasks", "erase_finished", "rows_of_ids", "oldest_completed",
    "oldest_not_completed", "read_unfinished", "read_finished", "read_dependencies",
)  # fmt: skip


def test_what_is_done_often_needs_no_scan():
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script("schema.sql"))
        used = {name: _plan(connection, statements()[name]._for(2)) for name in OFTEN}
        assert "SCAN tasks" not in " ".join(used.values())
        assert "SCAN unfinished" not in " ".join(used.values())
        assert "USING INDEX completed" in used["oldest_completed"]
        assert "USING INDEX not_completed" in used["oldest_not_completed"]
        assert "USING COVERING INDEX" in used["rows_of_ids"]
    finally:
        connection.close()


def _plan(connection: sqlite3.Connection, text: str) -> str:
    return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", _parameters(text)))


def _parameters(text: str) -> list[int]:
    numbered = re.findall(r"\?(\d)", text)
    return [1] * (int(max(numbered)) if numbered else text.count("?"))
