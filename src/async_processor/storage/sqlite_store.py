"""A store in one file: what its owner sees of it, on the event loop. The work is done by ``sqlite_writer``."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence

from ..clock import Clock, SystemClock
from .base import Change, Done, StoredTask, StoreStatistics
from .sqlite_reader import Reader, chunks
from .sqlite_retention import Limits
from .sqlite_schema import Durability
from .sqlite_session import Session, closed
from .sqlite_writer import Options, Stop

CHUNK = 256


class SqliteStore:
    """Remembers tasks in a file, across crashes of the process and, at "power", of the machine.

    Args:
        path: the file; made if there is none. Beside it stand its lock, its log, and a directory for large results.
        durability: "power" waits for the disk with each commit. "process" does not: a power cut may cost the newest
            commits, never the file.
        result_file_bytes: encoded results larger than this go to files of their own.
        max_results, result_ttl_s: how many completed tasks are remembered, and for how long.
        max_failures, failure_ttl_s: the same for tasks that ended otherwise.
        clock: tells how old results are.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "power",
        result_file_bytes: int = 1_000_000,
        max_results: int = 10_000,
        result_ttl_s: float = 3_600.0,
        max_failures: int = 10_000,
        failure_ttl_s: float = 604_800.0,
        clock: Clock | None = None,
    ) -> None:
        # Two names of one file must lead to one lock.
        self.path = os.path.realpath(path)
        self._options = Options(
            self.path,
            durability,
            result_file_bytes,
            Limits(max_results, result_ttl_s),
            Limits(max_failures, failure_ttl_s),
            clock if clock is not None else SystemClock(),
        )
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path} {'open' if self._session is not None else 'closed'}>"

    async def open(self, forgotten: Callable[[Sequence[str]], None]) -> dict[str, str]:
        """As in ``Store``."""
        session = Session(self._options, forgotten)
        try:
            opened = await session.opened
        except asyncio.CancelledError:
            session.writer.requests.put(Stop(time.monotonic()))
            raise
        session.rows = itertools.count(opened.last_row + 1)
        self._session = session
        return opened.keys

    async def unfinished(self) -> AsyncIterator[list[StoredTask]]:
        """As in ``Store``."""
        for rows in chunks(await self._opened().ask(_unfinished_in_order), CHUNK):
            found = await self._read_unfinished(rows)
            if found:
                yield found

    async def find(self, task_ids: Sequence[str]) -> dict[str, StoredTask]:
        """As in ``Store``."""
        found: dict[str, StoredTask] = {}
        for ids in chunks(task_ids, CHUNK):
            found |= await self._find(ids)
        if not task_ids:
            self._opened()
        return found

    def new_row(self) -> int:
        """As in ``Store``."""
        return next(self._opened().rows)

    def write(self, change: Change, done: Done | None = None) -> None:
        """As in ``Store``."""
        if self._session is not None:
            self._session.write(change, done)
        elif done is not None:
            asyncio.get_running_loop().call_soon(done, closed())

    @property
    def pending(self) -> int:
        """As in ``Store``."""
        return 0 if self._session is None else len(self._session.untold)

    async def flush(self) -> None:
        """As in ``Store``."""
        session = self._session
        if session is None or not session.untold:
            return
        told: asyncio.Future[None] = session.loop.create_future()
        session.write(None, lambda _: None if told.done() else told.set_result(None))
        await told

    def statistics(self) -> StoreStatistics:
        """As in ``Store``."""
        session = self._session
        if session is None:
            return StoreStatistics(kind="sqlite", location=self.path, durability=self._options.durability)
        figures = session.writer.figures
        return StoreStatistics(
            kind="sqlite",
            location=self.path,
            engine_version=sqlite3.sqlite_version,
            durability=self._options.durability,
            pending_changes=self.pending,
            commits=figures.commits,
            changes=figures.changes,
            last_commit_s=figures.last_commit_s,
            failing=figures.failing,
            journal_bytes=figures.journal_bytes,
            quarantined=figures.quarantined,
        )

    async def aclose(self, timeout: float) -> None:
        """As in ``Store``."""
        session = self._session
        if session is not None:
            await session.aclose(timeout)
            if self._session is session:
                self._session = None

    async def _read_unfinished(self, rows: Sequence[int]) -> list[StoredTask]:
        return await self._opened().ask(lambda connection, reader: reader.unfinished(connection, rows))

    async def _find(self, ids: Sequence[str]) -> dict[str, StoredTask]:
        return await self._opened().ask(lambda connection, reader: reader.find(connection, ids))

    def _opened(self) -> Session:
        if self._session is None:
            raise closed()
        return self._session


def _unfinished_in_order(connection: sqlite3.Connection, reader: Reader) -> list[int]:
    return reader.unfinished_in_order(connection)
