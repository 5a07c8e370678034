"""One configured database on one event loop: its pool of connections, and the work that tasks do there.

Each task's work is an asyncio task of its own, which nobody but this module cancels. SQLAlchemy closes a connection
whose statement is cancelled, and behind a running statement of SQLite that takes as long as the statement; so the
database is told to stop first, and the work then ends by itself, rolled back, with its connection back in the pool. If
that takes long, whoever waited for it does not wait for that too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ...config import DatabaseConfig
from ...errors import AsyncProcessorError, ConfigurationError
from ...results.database_operation import StatementResult
from ..database_request import DatabaseRequest, Delete, Insert, Select, Sql, Statement, Update
from ..database_values import size_of, storable
from . import database_failures as failures
from . import database_statements as statements
from . import sqlalchemy_core as core
from .database_failures import Situation
from .database_statements import Prepared
from .postgresql_side import PostgresqlSide
from .sqlite_side import SqliteSide

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# How long whoever gives up waits for the work to end, before it is left to end by itself.
_STOP_S = 0.25
# The same when everything is closed: SQLAlchemy gives a server two seconds to say good-bye.
_CLOSE_S = 2.5
_LOCK_POLL_S = 0.01
# On top of limits that the database or its driver keeps, before they are kept here.
_ANSWER_S = 1.0
# Few, because each may hold as much as the largest value.
_CHUNK_ROWS = 50
_STREAM = {"stream_results": True, "max_row_buffer": _CHUNK_ROWS}


class Side(Protocol):
    """What one kind of database has of its own. ``handle`` is what ``begin`` gave back; None before."""

    provider: str
    offline: bool
    kept_types: tuple[type, ...] | None
    changes_one_at_a_time: bool

    def make_engine(self, url: URL) -> AsyncEngine: ...
    def begin(self, connection: Connection, *, changes: bool) -> Any: ...
    def limited(self, handle: Any, situation: Situation) -> AbstractAsyncContextManager[None]: ...
    async def stop(self, handle: Any, work: asyncio.Task[Any]) -> None: ...
    def kill(self, handle: Any) -> None: ...
    def returns_rows(self, connection: Connection, statement: Any) -> bool: ...
    def adapt(self, value: Any) -> Any: ...
    def is_locked(self, error: BaseException) -> bool: ...
    def failure(self, error: BaseException, handle: Any, situation: Situation) -> AsyncProcessorError: ...


_SIDES: dict[str, Callable[[DatabaseConfig], Side]] = {
    "sqlite": SqliteSide,
    "postgresql": PostgresqlSide,
    "postgres": PostgresqlSide,
}
_DRIVERS = ("", "aiosqlite", "asyncpg")


def open_database(name: str, url_text: str, settings: DatabaseConfig) -> Database:
    """A database that nothing has connected to yet. Imports libraries: not for an event loop's thread.

    Raises:
        ConfigurationError: the URL cannot be used; it is not part of the message.
        MissingExtraError: the extra "database" is not installed.
    """
    url = core.parse_url(name, url_text)
    backend, _, driver = url.drivername.partition("+")
    if backend not in _SIDES or driver not in _DRIVERS:
        raise ConfigurationError(
            f"database connection {name!r} is neither sqlite:// nor postgresql://, or names another driver than "
            "aiosqlite and asyncpg; leave the driver out"
        )
    side = _SIDES[backend](settings)
    return Database(name, side, side.make_engine(url), settings)


class Database:
    """See above. Opened by ``open_database``."""

    def __init__(self, name: str, side: Side, engine: AsyncEngine, settings: DatabaseConfig) -> None:
        self.name = name
        self.side = side
        self.engine = engine
        self.settings = settings
        self.tables = statements.Tables(side.adapt, side.kept_types)
        self.turn: AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if side.changes_one_at_a_time else contextlib.nullcontext()
        )
        self.closed = False
        self._works: dict[asyncio.Task[Any], _Work] = {}

    async def run(self, request: DatabaseRequest, key: str) -> list[StatementResult] | None:
        """Do what a task asks for, all of it or nothing.

        Args:
            request: the statements.
            key: what marks the task as done, where it asks for that.

        Returns:
            A result for each statement; None if the task is marked as done already.
        """
        work = _Work(self, request, key)
        task = asyncio.create_task(work.run(), name=f"database {self.name}")
        self._works[task] = work
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._stop(task, _STOP_S)
            raise

    async def check(self) -> None:
        """Connect.

        Raises:
            AsyncProcessorError: it is not possible; says why.
        """
        await self.run(DatabaseRequest(connection=self.name, operation="check", statements=(), once=None), "")

    async def aclose(self) -> None:
        """Stop all work and close all connections; one whose statement does not end is closed when it does."""
        self.closed = True
        works = dict(self._works)
        await asyncio.gather(*(self._stop(task, _CLOSE_S) for task in works))
        for task, work in works.items():
            if not task.done():
                self.side.kill(work.handle)
        await self.engine.dispose()

    async def _stop(self, task: asyncio.Task[Any], wait: float) -> None:
        work = self._works.get(task)
        if work is None:
            return
        work.stopped = True
        await self.side.stop(work.handle, task)
        await asyncio.wait({task}, timeout=wait)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._works[task]
        if not task.cancelled():
            task.exception()  # looked at, for whoever waited may be gone


class _Work:
    """What one task does, in one transaction."""

    def __init__(self, database: Database, request: DatabaseRequest, key: str) -> None:
        self.handle: Any = None
        """What the side's ``begin`` gave back, while there is a transaction."""
        self.stopped = False
        """Whether nobody waits for it any more."""
        self._database = database
        self._side = database.side
        self._settings = database.settings
        self._request = request
        self._key = key
        self._situation = Situation(database.name)
        self._situation.hide(database.engine.url.password)
        for item in request.statements:
            self._situation.hide(list(_values(item)))
        self._rows_left = self._bytes_left = 0

    async def run(self) -> list[StatementResult] | None:
        """Do it; again while others hold a lock, but not for long."""
        until = time.monotonic() + self._settings.lock_timeout_s
        while True:
            try:
                async with self._turn():
                    return await self._transaction()
            except AsyncProcessorError:
                raise
            except Exception as error:  # noqa: BLE001 - a border: what drivers raise has no list
                locked, failure = self._side.is_locked(error), self._failure(error)
            # Out here, so that no foreign exception comes along: it holds what was bound.
            if self.stopped:
                raise asyncio.CancelledError
            if not locked or time.monotonic() > until:
                raise failure
            await asyncio.sleep(_LOCK_POLL_S)

    def _turn(self) -> AbstractAsyncContextManager[Any]:
        return self._database.turn if self._request.changes else contextlib.nullcontext()

    def _failure(self, error: Exception) -> AsyncProcessorError:
        failures.log(self._situation, error)
        # One of them may be that a table is not what it was.
        self._database.tables.forget()
        if core.is_pool_timeout(error):
            return failures.no_connection_in_time(self._situation, self._settings.connect_timeout_s)
        return self._side.failure(error, self.handle, self._situation)

    async def _transaction(self) -> list[StatementResult] | None:
        self.handle = None
        self._situation.connected = self._situation.committing = False
        self._rows_left, self._bytes_left = self._settings.max_rows, self._settings.max_bytes
        async with contextlib.AsyncExitStack() as stack:
            # Drivers bound how long a connection may take to be made, but not whether an old one still answers.
            async with asyncio.timeout(self._settings.connect_timeout_s + _ANSWER_S):
                connection = await stack.enter_async_context(self._database.engine.connect())
                self._situation.connected = True
                self.handle = await connection.run_sync(self._side.begin, changes=self._request.changes)
            try:
                results = await self._statements(connection)
                await self._commit(connection)
                return results
            finally:
                if self._database.closed:
                    await connection.invalidate()  # its pool is gone: nobody else would close it

    async def _commit(self, connection: AsyncConnection) -> None:
        self._check_wanted()
        self._situation.committing = True
        async with asyncio.timeout(self._settings.statement_timeout_s + _ANSWER_S):
            await connection.commit()

    async def _statements(self, connection: AsyncConnection) -> list[StatementResult] | None:
        once, tables = self._request.once, self._database.tables
        if once is not None:
            mark = functools.partial(statements.mark, tables=tables, table_name=once, key=self._key)
            if not (await self._execute(connection, mark)).row_count:
                return None
        return [await self._execute(connection, self._preparation(item)) for item in self._request.statements]

    def _preparation(self, wish: Statement) -> Callable[[Connection], Prepared]:
        tables = self._database.tables
        match wish:
            case Select():
                return functools.partial(statements.select, tables=tables, wish=wish, max_rows=self._settings.max_rows)
            case Insert():
                return functools.partial(statements.insert, tables=tables, wish=wish)
            case Update():
                return functools.partial(statements.update, tables=tables, wish=wish)
            case Delete():
                return functools.partial(statements.delete, tables=tables, wish=wish)
            case Sql():
                return lambda _connection: statements.free(tables, wish)

    async def _execute(self, connection: AsyncConnection, prepare: Callable[[Connection], Prepared]) -> StatementResult:
        self._check_wanted()
        prepared = await connection.run_sync(prepare)
        async with self._side.limited(self.handle, self._situation):
            return await connection.run_sync(self._read, prepared)

    def _check_wanted(self) -> None:
        # Statements too short for the database to be stopped in.
        if self.stopped:
            raise asyncio.CancelledError

    def _read(self, connection: Connection, prepared: Prepared) -> StatementResult:
        streams = prepared.reads or (prepared.is_free and self._side.returns_rows(connection, prepared.statement))
        options = _STREAM if streams else {}
        result = connection.execute(prepared.statement, prepared.rows, execution_options=options)
        if result.returns_rows and streams:
            return self._rows(result)
        if result.returns_rows:
            keys = [_record(result.keys(), row) for row in result]
            return StatementResult(keys=keys, row_count=len(keys))
        if prepared.rows is not None:
            return StatementResult(row_count=len(prepared.rows))
        return StatementResult(row_count=result.rowcount if result.rowcount >= 0 else None)

    def _rows(self, result: Any) -> StatementResult:
        """As many rows as there may be, a few at a time: what is cut off is never read."""
        columns = _unique(result.keys())
        rows: list[dict[str, Any]] = []
        truncated = False
        while not truncated and (chunk := result.fetchmany(_CHUNK_ROWS)):
            for row in chunk:
                record = _record(columns, row)
                self._bytes_left -= size_of(record)
                if self._rows_left == 0 or self._bytes_left < 0:
                    truncated = True
                    break
                self._rows_left -= 1
                rows.append(record)
        result.close()
        return StatementResult(columns=tuple(columns), rows=rows, row_count=len(rows), truncated=truncated)


def _record(columns: Iterable[str], row: Iterable[Any]) -> dict[str, Any]:
    return {name: storable(value) for name, value in zip(columns, row, strict=True)}


def _unique(names: Iterable[str]) -> list[str]:
    """Column names, with a number behind those that were there before: a row is a dict."""
    found: list[str] = []
    for name in names:
        number, free = 2, name
        while free in found:
            number, free = number + 1, f"{name}_{number}"
        found.append(free)
    return found


def _values(statement: Statement) -> Iterator[Any]:
    """What it binds."""
    match statement:
        case Insert():
            yield from statement.rows
        case Sql():
            yield statement.parameters
        case Update():
            yield statement.values
            yield from (item.value for item in statement.where)
        case _:
            yield from (item.value for item in statement.where)
