"""A store beside an event loop that never rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.storage.store_kit import Desk, encoded, finished, opened, sqlite_store, started

from async_processor.storage.base import TaskAccepted
from async_processor.storage.sqlite_way import RightOfWay

pytestmark = pytest.mark.usefixtures("no_leaks")


@asynccontextmanager
async def busy(turn_s: float) -> AsyncIterator[list[float]]:
    """Keep the loop busy all the time, in turns of that length; how long each turn of the loop took."""
    turns: list[float] = []
    over = False

    async def work() -> None:
        while not over:
            began = time.perf_counter()
            while time.perf_counter() - began < turn_s:
                pass
            await asyncio.sleep(0)
            turns.append(time.perf_counter() - began)

    working = asyncio.create_task(work())
    try:
        yield turns
    finally:
        over = True
        await working


@pytest.fixture
async def desk(tmp_path: Path, no_leaks: None) -> AsyncIterator[Desk]:
    async with opened(sqlite_store(tmp_path / "store.db", durability="process")) as desk:
        rows = [desk.store.new_row() for _ in range(1_000)]
        await desk.keep(*(TaskAccepted(row, encoded(f"t{row}")) for row in rows))
        yield desk


@pytest.mark.parametrize("turn_s", [0.0002, 0.003])
async def test_a_busy_loop_does_not_starve_the_writer(desk: Desk, turn_s: float):
    async with busy(turn_s) as turns:
        began = time.monotonic()
        row = await desk.accept("urgent")
        await desk.keep(started(row), finished(row))
        written = time.monotonic() - began
        found = await desk.one("urgent")
        async for chunk in desk.store.unfinished():
            assert chunk
        read = time.monotonic() - began - written

    assert found.status.is_terminal
    # Without the right of way it takes seconds.
    assert written < 0.5
    assert read < 1.0
    assert sorted(turns)[-2] < turn_s + 0.05


async def test_a_loop_that_rests_is_never_held_up(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    stood: list[float] = []
    way = RightOfWay(asyncio.get_running_loop(), lambda: True)
    monkeypatch.setattr(way._moved, "wait", stood.append)

    way.expect()
    await asyncio.sleep(0.1)
    resting = len(stood)
    async with busy(0.001):
        await asyncio.sleep(0.1)
    way.end()

    assert resting == 0
    assert len(stood) > 3
