"""One connection writes and checkpoints, whatever is asked of a store; all others only read."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.storage.store_kit import NOW, encoded, finished, opened, sqlite_store

from async_processor.storage.base import TaskAccepted

_listeners: list[list[str]] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect":
        for heard in _listeners:
            heard.append(str(arguments[0]))


# A hook can never be taken out again; without a listener it does nothing.
sys.addaudithook(_listen)


@contextmanager
def connections_to(path: Path) -> Iterator[list[str]]:
    """What was opened of a file while the block ran."""
    heard: list[str] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.remove(heard)
        heard[:] = [name for name in heard if path.name in name]


async def test_a_store_at_work_has_one_connection(tmp_path: Path):  # S13
    """SQLite before 3.51.3 may damage a file that several connections write and checkpoint at once."""
    path = tmp_path / "store.db"
    with connections_to(path) as making:
        async with opened(sqlite_store(path, max_results=10)) as desk:
            # The first ones looked at what there was, and made it; they are closed.
            with connections_to(path) as working:
                for number in range(2_500):
                    row = desk.store.new_row()
                    desk.store.write(TaskAccepted(row, encoded(f"t{number}")))
                    desk.store.write(finished(row, at=NOW))
                    if number % 500 == 0:
                        await asyncio.gather(desk.store.find([f"t{number}"]), desk.store.flush())
                await desk.store.flush()
                assert [chunk async for chunk in desk.store.unfinished()] == []
    assert making
    assert working == []


async def test_the_version_of_the_database_is_shown(tmp_path: Path):  # S13
    async with opened(sqlite_store(tmp_path / "store.db")) as desk:
        assert desk.store.statistics().engine_version == sqlite3.sqlite_version
