"""DATABASE_OPERATION: rows read from and written to SQLite and PostgreSQL. Described in docs/database-operation.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..config import DatabaseConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, ConfigurationError
from ..model import LaneName, ProcessingTask
from ..results.database_operation import (
    TRANSACTION,
    DatabaseOperationResult,
    RowsResult,
    StatementResult,
    TransactionResult,
)
from .database_request import DatabaseRequest, check_payload, read_request
from .registry import ProcessorSpec, Readiness

if TYPE_CHECKING:
    from .providers.database_session import Database

MEMORY = "memory"
"""A connection that is always there: an empty SQLite database in memory, to try an installation with."""

_MEMORY_URL = "sqlite:///:memory:"
_HOW_TO_NAME = "name it in DatabaseConfig.connections (ASYNC_PROCESSOR_DATABASE_CONNECTIONS)"


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How DATABASE_OPERATION runs: on the event loop, where its connections live; a thread would only wait for them.

    Raises:
        ConfigurationError: a bound in ``config.database`` leaves no room for any statement.
    """
    operations = DatabaseOperations(config.database)
    return ProcessorSpec(
        func=operations,
        is_async=True,
        wants_context=True,
        lane=LaneName.ASYNC,
        check=lambda task: check_payload(task.payload, config.database),
        aclose=operations.aclose,
        readiness=operations.readiness,
        example=lambda: {"connection": MEMORY, "operation": "sql", "sql": "SELECT 6 * 7 AS answer"},
    )


class DatabaseOperations:
    """The processor function. Keeps one pool of connections per event loop and configured name, opened at first use."""

    def __init__(self, settings: DatabaseConfig) -> None:
        for name in ("pool_size", "connect_timeout_s", "statement_timeout_s", "max_bytes", "max_statement_chars"):
            if getattr(settings, name) == 0:
                raise ConfigurationError(f"DatabaseConfig.{name} must be above 0")
        self._settings = settings
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Database]]] = (
            WeakKeyDictionary()
        )

        # Referred to, so that none is collected before its end.
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Do what one task asks for: all of it in one transaction, or nothing.

        Raises:
            InvalidPayloadError: the payload cannot be used, or names what the database does not have.
            ConfigurationError: there is no such connection, it cannot be opened, or the extra is missing.
            AuthenticationError: the server refused user or password.
            ProviderError: another attempt may help. What was done may have been committed all the same; the error
                says so.
            PermanentError: no other attempt would help.
        """
        request = read_request(task.payload, self._settings)
        began = time.monotonic()
        database = await self._database(request.connection)
        results = await database.run(request, context.idempotency_key)
        return _result(request, results, database, time.monotonic() - began).as_dict()

    async def readiness(self) -> Readiness:
        """Connect to each configured database."""
        names = list(self._settings.connections)
        remarks = () if names else (f"no database is configured; {_HOW_TO_NAME}",)
        offline = True
        try:
            for name in names or [MEMORY]:
                database = await self._database(name)
                offline = offline and database.side.offline
                await database.check()
        except AsyncProcessorError as error:
            return Readiness(provider="sqlalchemy", offline=offline, problem=str(error), remarks=remarks)
        return Readiness(provider="sqlalchemy", offline=offline, remarks=remarks)

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones.

        Who does not wait for the end of it does not keep it from ending.
        """
        opened = self._open.pop(asyncio.get_running_loop(), {})
        if opened:
            closing = asyncio.create_task(_close(opened.values()), name="close databases")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)

    async def _database(self, name: str) -> Database:
        """The database of a name; all who ask at once share one."""
        url = self._url(name)
        opened = self._open.setdefault(asyncio.get_running_loop(), {})
        opening = opened.get(name)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            opening = asyncio.create_task(_opened(name, url, self._settings), name=f"open database {name}")
            opened[name] = opening
        # One who gives up waiting must not take it from the others.
        return await asyncio.shield(opening)

    def _url(self, name: str) -> str:
        url = self._settings.connections.get(name, _MEMORY_URL if name == MEMORY else None)
        if url is None:
            known = ", ".join(repr(item) for item in (*self._settings.connections, MEMORY))
            raise ConfigurationError(f"there is no database connection of that name, only {known}; {_HOW_TO_NAME}")
        return url


async def _close(opened: Iterable[asyncio.Task[Database]]) -> None:
    found = await asyncio.gather(*opened, return_exceptions=True)
    await asyncio.gather(*(item.aclose() for item in found if not isinstance(item, BaseException)))


async def _opened(name: str, url: str, settings: DatabaseConfig) -> Database:
    # In a thread: importing the libraries takes most of a second, for which no event loop may stand still.
    return await asyncio.to_thread(_open, name, url, settings)


def _open(name: str, url: str, settings: DatabaseConfig) -> Database:
    from .providers.database_session import open_database

    return open_database(name, url, settings)


def _result(
    request: DatabaseRequest, results: list[StatementResult] | None, database: Database, duration_s: float
) -> DatabaseOperationResult:
    about: dict[str, Any] = {
        "already_done": results is None,
        "operation": request.operation,
        "connection": request.connection,
        "duration_s": round(duration_s, 6),
        "provider": database.side.provider,
        "offline": database.side.offline,
    }
    if request.operation == TRANSACTION:
        counts = [item.row_count for item in results or ()]
        known = sum(count for count in counts if count is not None)
        return TransactionResult(results=tuple(results or ()), row_count=known, **about)
    only = results[0] if results else StatementResult()
    return RowsResult(
        rows=only.rows,
        columns=only.columns,
        row_count=only.row_count,
        truncated=only.truncated,
        keys=only.keys,
        **about,
    )
