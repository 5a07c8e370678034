"""Every store that passes the suite, and how tests handle them all alike.

To put another store under the suite, add its kit to ``KITS``.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from async_processor.errors import AsyncProcessorError
from async_processor.model import TaskStatus
from async_processor.storage.base import (
    AttemptStarted,
    Change,
    EncodedTask,
    Store,
    StoredTask,
    TaskAccepted,
    TaskFinished,
)
from async_processor.storage.memory import MemoryStore
from async_processor.storage.sqlite_store import SqliteStore

WAIT_S = 20.0
NOW = 1_700_000_000.25


@dataclass
class WallClock:
    """A clock that only tests move."""

    now: float = NOW

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


class Kit(Protocol):
    """How a kind of store is made."""

    clock: WallClock

    def store(self, **settings: Any) -> Store:
        """A store of these settings; the next one finds what this one kept."""
        ...

    async def crash(self, store: Store) -> None:
        """Let the store's owner die: the next store finds what was kept, and nothing else."""
        ...


class MemoryKit:
    def __init__(self, folder: Path) -> None:
        self.clock = WallClock()
        self._store: MemoryStore | None = None

    def store(self, **settings: Any) -> Store:
        if self._store is None or settings:
            kept = self._store
            self._store = MemoryStore(wall=lambda: self.clock.now, **settings)
            if kept is not None:
                self._store._tasks, self._store._rows = kept._tasks, kept._rows
                self._store._ended, self._store._last_row = kept._ended, kept._last_row
        return self._store

    async def crash(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.crash()


class SqliteKit:
    durability: Literal["power", "process"] = "power"

    def __init__(self, folder: Path) -> None:
        self.clock = WallClock()
        self._folder = folder
        self._lives = 0
        self.path = folder / "store-0.db"

    def store(self, **settings: Any) -> SqliteStore:
        return SqliteStore(self.path, durability=self.durability, clock=self.clock, **settings)

    async def crash(self, store: Store) -> None:
        """Go on with a copy of what is on the disk at this moment, as the death of a process leaves it."""
        # Reads come after writes: what was handed over is on the disk, what comes later is not.
        await store.find(["nothing"])
        self._copy()
        await store.aclose(WAIT_S)

    def _copy(self) -> None:
        self._lives += 1
        copy = self._folder / f"store-{self._lives}.db"
        for suffix in ("", "-wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copyfile(f"{self.path}{suffix}", f"{copy}{suffix}")
        self.path = copy


class SqliteProcessKit(SqliteKit):
    durability = "process"


def sqlite_store(path: Path, **settings: Any) -> SqliteStore:
    """A store whose clock stands still at ``NOW``."""
    return SqliteStore(path, clock=WallClock(), **settings)


KITS: dict[str, Callable[[Path], Kit]] = {
    "memory": MemoryKit,
    "sqlite-power": SqliteKit,
    "sqlite-process": SqliteProcessKit,
}


@dataclass
class Desk:
    """A store that is open, and what it told."""

    store: Store
    keys: dict[str, str] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    async def write(self, *changes: Change) -> list[AsyncProcessorError | None]:
        """Write, and wait until all is told of."""
        loop = asyncio.get_running_loop()
        told: list[asyncio.Future[AsyncProcessorError | None]] = []
        for change in changes:
            told.append(loop.create_future())
            self.store.write(change, told[-1].set_result)
        async with asyncio.timeout(WAIT_S):
            return list(await asyncio.gather(*told))

    async def keep(self, *changes: Change) -> None:
        """Write what must be kept."""
        assert set(await self.write(*changes)) <= {None}

    async def accept(self, task_id: str, **fields: Any) -> int:
        """Accept a task; returns its row."""
        row = self.store.new_row()
        await self.keep(TaskAccepted(row, encoded(task_id, **fields)))
        return row

    async def finish(self, task_id: str, status: TaskStatus = TaskStatus.COMPLETED, at: float = NOW, **fields: Any):
        """Accept a task that has ended."""
        row = self.store.new_row()
        await self.keep(TaskAccepted(row, encoded(task_id, **fields)), finished(row, status, at))

    async def one(self, task_id: str) -> StoredTask:
        """The task of that id, which must be there."""
        return (await self.store.find([task_id]))[task_id]

    async def unfinished(self) -> list[StoredTask]:
        return [task async for chunk in self.store.unfinished() for task in chunk]

    async def ids(self, *task_ids: str) -> set[str]:
        """Which of these are there."""
        return set(await self.store.find(task_ids))


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Desk]:
    desk = Desk(store)
    desk.keys = await store.open(desk.forgotten.extend)
    try:
        yield desk
    finally:
        await store.aclose(WAIT_S)


def say(*words: object) -> None:
    """Print one line at once, for whoever reads it from another process."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def encoded(
    task_id: str, *, priority: int = 3, key: str | None = None, depends_on: Sequence[str] = (), spec: bytes = b"spec"
) -> EncodedTask:
    return EncodedTask(task_id, "demo", priority, NOW - 2, NOW - 1, key, tuple(depends_on), spec)


def finished(
    row: int, status: TaskStatus = TaskStatus.COMPLETED, at: float = NOW, value: bytes | None = b"value"
) -> TaskFinished:
    completed = status is TaskStatus.COMPLETED
    return TaskFinished(row, status, at, None if completed else "it broke", b"outcome", value if completed else None)


def started(row: int, attempt: int = 1, at: float = NOW) -> AttemptStarted:
    return AttemptStarted(row, attempt, at)


async def eventually(look: Callable[[], Any], wait_s: float = WAIT_S) -> None:
    """Until ``look`` finds something true; for what threads and other processes do in their own time."""
    until = time.monotonic() + wait_s
    while True:
        found = look()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < until, "it never came"
        await asyncio.sleep(0.005)
