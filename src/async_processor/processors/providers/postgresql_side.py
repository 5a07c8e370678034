"""What is PostgreSQL's own: limits that the server keeps, how a statement is stopped, and what its errors mean.

The server gets its limits with each transaction, so that it ends what nobody waits for any more, even where the network
is gone. A cancel reaches it by way of a second connection, which asyncpg opens for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ...config import DatabaseConfig
from ...errors import AsyncProcessorError
from . import database_failures as failures
from . import sqlalchemy_core as core
from .database_failures import Situation

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

# What the server may take to say itself that a statement's time is up.
_ANSWER_S = 1.0
_LONGEST_MS = 2**31 - 1

_LIMITS = (
    "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true), "
    "set_config('idle_in_transaction_session_timeout', $1, true)"
)

# Classes of SQLSTATE, and codes, that another attempt may mend: connection, rolled back (deadlock, serialization),
# resources, operator intervention, system error; lock not available, object in use.
_PASSING = ("08", "40", "53", "57P", "58", "55P03", "55006")
# Of these, what the server says only when it has undone everything.
_UNDONE = ("40", "55")
_CANCELLED = "57014"
_NO_SUCH_DATABASE = "3D000"
# Messages of these speak of the statement and the schema: syntax or access rules, features, transaction state, roles.
_TELLING = ("42", "0A", "25", "2F", "3F")
_ARGUMENT = re.compile(r"invalid input for query argument \$(\d+)")


class PostgresqlSide:
    """PostgreSQL through asyncpg."""

    provider = "postgresql"
    offline = False
    kept_types: tuple[type, ...] | None = None
    changes_one_at_a_time = False

    def __init__(self, settings: DatabaseConfig) -> None:
        self._settings = settings

    def make_engine(self, url: URL) -> AsyncEngine:
        """An engine for the URL's server."""
        return core.make_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=max(1, self._settings.pool_size),
            pool_timeout=self._settings.connect_timeout_s,
            pool_pre_ping=True,  # a server that was restarted costs no attempt
            connect_args={
                "timeout": self._settings.connect_timeout_s,
                "server_settings": {"application_name": "async-processor"},
            },
        )

    def begin(self, connection: Connection, *, changes: bool) -> Any:
        """Begin a transaction with its limits. ``changes`` makes no difference here."""
        del changes
        limits = _milliseconds(self._settings.statement_timeout_s), _milliseconds(self._settings.lock_timeout_s)
        connection.exec_driver_sql(_LIMITS, limits)
        return connection.connection.driver_connection

    @contextlib.asynccontextmanager
    async def limited(self, driver: Any, situation: Situation) -> AsyncIterator[None]:  # noqa: ARG002 - as SQLite's
        """For one statement of a task: it could have lifted the server's limit, and may send rows for ever."""
        seconds = self._settings.statement_timeout_s
        limit = asyncio.timeout(seconds + _ANSWER_S)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise  # the driver's own
        if limit.expired():
            raise failures.took_too_long(situation, seconds)

    async def stop(self, driver: Any, work: asyncio.Task[Any]) -> None:  # noqa: ARG002 - as SQLite's
        """Have the work end: asyncpg tells the server, and SQLAlchemy closes the connection."""
        work.cancel()

    def kill(self, driver: Any) -> None:
        """The server does not answer: let go of it without a word."""
        if driver is not None:
            driver.terminate()

    def returns_rows(self, connection: Connection, statement: Any) -> bool:
        """Whether a statement may be read through a cursor. One that returns no rows may not: whether it was run is
        not certain then, nor how many rows it changed."""
        compiled = str(statement.compile(dialect=connection.dialect))
        driver: Any = connection.connection.dbapi_connection
        return bool(driver.run_async(lambda asyncpg: asyncpg.prepare(compiled)).get_attributes())

    def adapt(self, value: Any) -> Any:
        """A value as the driver takes it: as it is."""
        return value

    def is_locked(self, error: BaseException) -> bool:  # noqa: ARG002 - as SQLite's
        """The server waits for locks by itself."""
        return False

    def failure(self, error: BaseException, driver: Any, situation: Situation) -> AsyncProcessorError:
        """The error for a caller."""
        argument = next((found for item in failures.chain(error) if (found := _ARGUMENT.search(str(item)))), None)
        if argument is not None:
            reason = f"value {argument[1]} is not of the type that the statement takes there"
            return failures.permanent(situation, reason)
        said = next((item for item in failures.chain(error) if isinstance(_code(item), str)), None)
        if said is None:
            return _without_code(error, driver, situation)
        code = str(_code(said))
        if code.startswith("28"):
            return failures.authentication(situation, code)
        if code == _NO_SUCH_DATABASE:
            return failures.missing_database(situation, code)
        if code == _CANCELLED:
            return failures.took_too_long(situation, self._settings.statement_timeout_s)
        reason = f"{_reason(said, code, situation)} (SQLSTATE {code})"
        if code.startswith(_PASSING):
            return failures.retryable(situation, reason, undone=code.startswith(_UNDONE))
        return failures.permanent(situation, reason)


def _code(error: BaseException) -> object:
    # Of the server's own errors only: SQLAlchemy's wrapper has the code, but not the parts.
    return getattr(error, "sqlstate", None) if hasattr(error, "constraint_name") else None


def _reason(said: Any, code: str, situation: Situation) -> str:
    kind = type(said).__name__
    if code.startswith("23"):
        parts = (("constraint", said.constraint_name), ("table", said.table_name), ("column", said.column_name))
        named = ", ".join(f"{what} {situation.cleaned(name)}" for what, name in parts if name)
        return f"{kind}: {named}" if named else kind
    if code.startswith(_TELLING):
        return f"{kind}: {situation.cleaned(said.args[0] if said.args else '')}"
    return kind


def _without_code(error: BaseException, driver: Any, situation: Situation) -> AsyncProcessorError:
    """What asyncpg itself has to say."""
    if driver is not None and driver.is_closed():
        return failures.retryable(situation, "the connection was lost")
    if any(isinstance(item, TimeoutError) for item in failures.chain(error)):
        return failures.retryable(situation, "the server did not answer in time")
    return failures.unforeseen(situation, error)


def _milliseconds(seconds: float) -> str:
    # 0 would mean no limit.
    return str(int(min(max(1, seconds * 1000), _LONGEST_MS)))
