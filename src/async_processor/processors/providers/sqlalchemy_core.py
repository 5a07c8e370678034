"""The one place that imports SQLAlchemy: engines, what is known of tables, and the few constructs that need a function.

Everything else is done with methods of the objects made here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ..extras import needs_extra

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table, TextClause
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

EXTRA, NEEDED_FOR = "database", "DATABASE_OPERATION"
_WRITE_IT_AS = "write it as sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def parse_url(connection: str, text: str) -> URL:
    """The parts of a connection's URL.

    Raises:
        MissingExtraError: the extra "database" is not installed.
        ConfigurationError: it cannot be read; the URL is not part of the message, since it holds a password.
    """
    with needs_extra(EXTRA, NEEDED_FOR):
        from sqlalchemy.engine import make_url
    parsed: URL | None = None
    with contextlib.suppress(Exception):  # what a malformed URL brings about has no list
        parsed = make_url(text)
    if parsed is None:
        raise ConfigurationError(f"the URL of database connection {connection!r} cannot be read; {_WRITE_IT_AS}")
    return parsed


def make_engine(
    url: URL, *, on_connect: Callable[[Any, dict[str, Any]], None] | None = None, **options: Any
) -> AsyncEngine:
    """An engine that has connected to nothing yet. Imports libraries for most of a second, so not on an event loop.

    Args:
        on_connect: called with each new connection of the driver, and with a dict that stays with it.

    Raises:
        MissingExtraError: the driver is not installed.
    """
    with needs_extra(EXTRA, NEEDED_FOR):
        from sqlalchemy import event
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import AsyncAdaptedQueuePool

        # Also for a database in memory, for which SQLAlchemy would let all tasks share one connection and transaction.
        engine = create_async_engine(
            url, poolclass=AsyncAdaptedQueuePool, max_overflow=0, hide_parameters=True, **options
        )
    if on_connect is not None:
        event.listen(engine.sync_engine, "connect", lambda driver, record: on_connect(driver, record.info))
    return engine


def is_pool_timeout(error: Exception) -> bool:
    """Whether no connection of the pool became free in time."""
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    return isinstance(error, PoolTimeoutError)


def table_names(connection: Connection) -> list[str]:
    """The tables and views of the connection's own schema."""
    from sqlalchemy import inspect

    inspector = inspect(connection)
    names = [*inspector.get_table_names(), *inspector.get_view_names()]
    return names if connection.dialect.name == "sqlite" else [*names, *inspector.get_materialized_view_names()]


def reflect(connection: Connection, name: str, *, kept_types: Collection[type] | None) -> Table:
    """What the database says about the columns and the primary key of one of its tables.

    SQLAlchemy's own reflection also asks for indexes and constraints, and warns of those that it has no words for.

    Args:
        kept_types: of columns of other Python types only the name is taken, and their values pass as they are.
    """
    from sqlalchemy import Column, FetchedValue, MetaData, Table, inspect
    from sqlalchemy.types import NullType

    inspector = inspect(connection)
    key = inspector.get_pk_constraint(name)["constrained_columns"]

    def column(found: Any) -> Column[Any]:
        kind = found["type"]
        if hasattr(kind, "none_as_null"):
            kind.none_as_null = True  # else None would be written as JSON's null, which is a value
        if kept_types is not None and python_type(kind) not in kept_types:
            kind = NullType()
        filled = any(found.get(item) is not None for item in ("default", "identity", "computed"))
        return Column(
            found["name"],
            kind,
            primary_key=found["name"] in key,
            autoincrement=found.get("autoincrement", "auto"),
            server_default=FetchedValue() if filled else None,
        )

    return Table(name, MetaData(), *map(column, inspector.get_columns(name)))


def python_type(column_type: Any) -> type:
    """The Python type of a column's values; ``object`` where SQLAlchemy names none."""
    try:
        found: type = column_type.python_type
    except NotImplementedError:
        return object
    return found


def parameter_names(sql: str) -> set[str]:
    """The names of a statement's ``:name`` parameters."""
    from sqlalchemy import text

    return set(text(sql).compile().params)


def free_statement(sql: str, parameters: Mapping[str, Any]) -> TextClause:
    """A statement whose parameters have the types of their values."""
    from sqlalchemy import bindparam, text

    return text(sql).bindparams(*(bindparam(name, value) for name, value in parameters.items()))


def inserting(connection: Connection, table: Table) -> Any:
    """An INSERT with the database's own clauses for conflicts."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite

        return insert_sqlite(table)
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql

    return insert_postgresql(table)
