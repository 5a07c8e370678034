"""What is SQLite's own: what a task's statements may do, how they are stopped, and what its errors mean.

A statement runs in the connection's thread and cannot be cancelled: SQLite has to be told. So each connection has a
guard. Its *authorizer* is asked about everything that a statement is going to do, while SQLite compiles it, and allows
reading and changing rows; files, settings, extensions and transactions are not a task's. Its *progress handler* is
asked all along while a statement runs, and stops it when its time is up or its task is gone. ``interrupt`` alone would
not do: it does nothing to a statement that is about to begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...config import DatabaseConfig
from ...errors import AsyncProcessorError
from ..database_values import json_text
from . import database_failures as failures
from . import sqlalchemy_core as core
from .database_failures import Situation

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

# Steps of SQLite's machine between two looks at the clock: well under a millisecond.
_STEPS = 20_000
_GUARD = "async_processor_guard"

_NOT_A_TASKS = "it does what a task may not: only reading and changing rows is allowed"
# How Python says that a text is none; its message goes on with the text.
_NO_TEXT = "Could not decode to UTF-8"


class SqliteSide:
    """SQLite through aiosqlite."""

    provider = "sqlite"
    offline = True
    # SQLite has no dates and no decimals of its own; SQLAlchemy's reading of them fails on what others wrote.
    kept_types: tuple[type, ...] | None = (int, str)
    changes_one_at_a_time = True

    def __init__(self, settings: DatabaseConfig) -> None:
        self._settings = settings
        import sqlite3

        self._sqlite3 = sqlite3
        self._busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        # The medium, which may be in order a little later.
        self._passing = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)

    def make_engine(self, url: URL) -> AsyncEngine:
        """An engine whose connections are guarded."""
        in_memory = url.database in (None, "", ":memory:")
        return core.make_engine(
            url.set(drivername="sqlite+aiosqlite"),
            on_connect=self._guard,
            # One that is in memory lives in its one connection.
            pool_size=1 if in_memory else max(1, self._settings.pool_size),
            pool_timeout=self._settings.connect_timeout_s,
            connect_args={
                "factory": self._connect,
                "isolation_level": None,  # transactions begin where we say so, and SELECT is part of them
                "timeout": 0,  # waiting for a lock in SQLite could not be stopped
                "cached_statements": 0,  # each is compiled anew, so that the authorizer sees each
            },
        )

    def _guard(self, connection: Any, info: dict[str, Any]) -> None:
        guard = info[_GUARD] = _Guard(self._sqlite3)
        connection.run_async(guard.install)

    def _connect(self, *arguments: Any, **options: Any) -> Any:
        connection = self._sqlite3.Connection(*arguments, **options)
        connection.setlimit(self._sqlite3.SQLITE_LIMIT_LENGTH, self._settings.max_bytes)
        return connection

    def begin(self, connection: Connection, *, changes: bool) -> _Guard:
        """Begin a transaction. One that changes anything takes the lock at once, and so cannot fail for it later."""
        guard: _Guard = connection.connection.info[_GUARD]
        guard.stopped = False
        guard.driver = connection.connection.driver_connection
        with guard.limited(self._settings.statement_timeout_s):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if changes else "BEGIN")
        return guard

    @contextlib.asynccontextmanager
    async def limited(self, guard: _Guard, situation: Situation) -> AsyncIterator[None]:  # noqa: ARG002 - as the other
        """For one statement of a task: the guard is up, and the clock runs."""
        guard.is_up = True
        try:
            with guard.limited(self._settings.statement_timeout_s):
                yield
        finally:
            guard.is_up = False

    async def stop(self, guard: _Guard | None, work: asyncio.Task[Any]) -> None:
        """Have the work end: with its statement, if one may be running."""
        if guard is None:
            work.cancel()
            return
        guard.stopped = True
        # Closed since: then nothing runs any more.
        with contextlib.suppress(ValueError, self._sqlite3.ProgrammingError):
            await guard.driver.interrupt()

    def kill(self, guard: _Guard | None) -> None:
        """Nothing more can be done: the statement ends at its next step, whenever that is."""

    def returns_rows(self, connection: Connection, statement: Any) -> bool:  # noqa: ARG002 - as the other
        """SQLite runs a statement as far as its first row, and says then whether there are any."""
        return True

    def adapt(self, value: Any) -> Any:
        """A value as one of the five kinds that SQLite has."""
        match value:
            case datetime():
                return value.isoformat(" ")  # as SQLite's own functions write it
            case date() | time_of_day():
                return value.isoformat()
            case Decimal() | UUID():
                return str(value)
            case list() | dict():
                return json_text(value)
            case _:
                return value

    def is_locked(self, error: BaseException) -> bool:
        """Whether others hold a lock, so that trying again soon will do."""
        return self._code(error) in self._busy

    def failure(self, error: BaseException, guard: _Guard | None, situation: Situation) -> AsyncProcessorError:
        """The error for a caller."""
        code = self._code(error)
        said = next((item for item in failures.chain(error) if isinstance(item, self._sqlite3.Error)), None)
        if said is None:
            return failures.unforeseen(situation, error)
        if code == self._sqlite3.SQLITE_INTERRUPT and guard is not None and guard.timed_out:
            return failures.took_too_long(situation, self._settings.statement_timeout_s)
        if code in self._busy:
            return failures.retryable(situation, "others keep it locked", undone=True)
        if code in self._passing:
            return failures.retryable(situation, situation.cleaned(said))
        if code == self._sqlite3.SQLITE_AUTH or "not authorized" in str(said):
            return failures.permanent(situation, f"{_NOT_A_TASKS} ({situation.cleaned(said)})")
        if str(said).startswith(_NO_TEXT):
            return failures.permanent(situation, "it holds a text that is not UTF-8; read it with CAST(... AS BLOB)")
        return failures.permanent(situation, situation.cleaned(said))

    def _code(self, error: BaseException) -> int:
        codes = (getattr(item, "sqlite_errorcode", None) for item in failures.chain(error))
        return next((code & 0xFF for code in codes if code is not None), 0)


class _Guard:
    """What watches over the statements of one connection. Its handlers are called in the connection's thread."""

    def __init__(self, sqlite3: Any) -> None:
        self.driver: Any = None
        self.is_up = False
        """Whether what runs comes from a task; the library's own statements may do more."""
        self.stopped = False
        """Whether the task is gone."""
        self.timed_out = False
        self._until = float("inf")
        self._deny: int = sqlite3.SQLITE_DENY
        self._ok: int = sqlite3.SQLITE_OK
        self._pragma, self._function = sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION
        self._rows = {
            sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE,
            sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE,
        }  # fmt: skip

    async def install(self, driver: Any) -> None:
        """Take up the watch over a new connection."""
        await driver.execute("PRAGMA foreign_keys = ON")  # off unless asked for, for the sake of old files
        await driver.set_authorizer(self._authorize)
        await driver.set_progress_handler(self._is_over, _STEPS)

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Any:
        """Let statements run for so long."""
        self.timed_out = False
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = float("inf")

    def _authorize(self, action: int, first: str | None, second: str | None, *_where: str | None) -> int:
        if not self.is_up or action in self._rows:
            return self._ok
        if action == self._function:
            return self._deny if (second or "").lower() == "load_extension" else self._ok
        # Full-text search asks for this number to see whether others have written.
        if action == self._pragma and first == "data_version" and second is None:
            return self._ok
        return self._deny

    def _is_over(self) -> bool:
        if time.monotonic() > self._until:
            self.timed_out = True
        return self.stopped or self.timed_out
