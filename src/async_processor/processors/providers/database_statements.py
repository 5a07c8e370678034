"""Requests as statements. A name becomes part of a statement only when the database has it; values are bound."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import InvalidPayloadError
from .. import payload as read
from ..database_request import Condition, Delete, Insert, Select, Sql, Update
from ..database_values import from_text
from . import sqlalchemy_core as core

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Table

ONCE_COLUMN = "idempotency_key"
_SHOWN_NAMES = 10

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda column, values: column.in_(values),
    "not in": lambda column, values: column.not_in(values),
    "like": lambda column, pattern: column.like(pattern),
    "not like": lambda column, pattern: column.not_like(pattern),
    "is null": lambda column, _none: column.is_(None),
    "is not null": lambda column, _none: column.is_not(None),
}


class Prepared(NamedTuple):
    """A statement, and how to execute it.

    Attributes:
        rows: the rows it is executed for, if it inserts any; what it returns are their keys.
        reads: whether what it returns is what was asked for, and may be much.
        is_free: whether it came as SQL, so that nobody has said what it does.
    """

    statement: Any
    rows: list[dict[str, Any]] | None = None
    reads: bool = False
    is_free: bool = False


class Tables:
    """What is known of a database's tables; asked for again when a name is missing.

    Args:
        adapt: makes of a value what the driver wants for it.
        kept_types: see ``sqlalchemy_core.reflect``.
    """

    def __init__(self, adapt: Callable[[Any], Any], kept_types: tuple[type, ...] | None) -> None:
        self.adapt = adapt
        self._kept_types = kept_types
        self._known: dict[str, Table] = {}

    def get(self, connection: Connection, name: str, columns: Iterable[tuple[str, str]]) -> Table:
        """A table that has these columns.

        Args:
            columns: the payload's field, and the column named in it.

        Raises:
            InvalidPayloadError: there is no such table, or no such column.
        """
        wanted = list(columns)
        table = self._known.get(name)
        if table is None or any(column not in table.c for _, column in wanted):
            table = self._known[name] = self._reflect(connection, name)
        for field, column in wanted:
            if column not in table.c:
                raise read.invalid(field, f"names a column that the table does not have; send {_some(table.c.keys())}")
        return table

    def forget(self) -> None:
        """The tables may have changed."""
        self._known.clear()

    def _reflect(self, connection: Connection, name: str) -> Table:
        names = core.table_names(connection)
        if name not in names:
            raise read.invalid("table", f"is no table of this connection; send {_some(names)}")
        return core.reflect(connection, name, kept_types=self._kept_types)

    def value(self, field: str, column: Column[Any], value: Any) -> Any:
        """A value as the column takes it: dates, numbers and the like may come as text.

        Raises:
            InvalidPayloadError: the text is none of what the column takes.
        """
        if not isinstance(value, str):
            return self.adapt(value)
        kind = core.python_type(column.type)
        try:
            return from_text(kind, value)
        except ValueError:
            problem = f"has a text for a column of type {kind.__name__} that cannot be read as such"
            raise read.invalid(field, f"{problem}; send ISO 8601 dates and times, and plain digits") from None


def select(connection: Connection, *, tables: Tables, wish: Select, max_rows: int) -> Prepared:
    """Rows of a table; one more than the limit, to know whether there are more."""
    names = [
        *(("columns", name) for name in wish.columns),
        *(("where", item.column) for item in wish.where),
        *(("order_by", item.column) for item in wish.order_by),
    ]
    table = tables.get(connection, wish.table, names)
    order = (table.c[item.column].desc() if item.descending else table.c[item.column] for item in wish.order_by)
    limit = max_rows + 1 if wish.limit is None else min(wish.limit, max_rows + 1)
    statement = table.select().where(*_conditions(tables, table, wish.where)).order_by(*order)
    if wish.columns:
        statement = statement.with_only_columns(*(table.c[name] for name in wish.columns))
    return Prepared(statement.limit(limit).offset(wish.offset), reads=True)


def insert(connection: Connection, *, tables: Tables, wish: Insert) -> Prepared:
    """New rows, giving back their primary keys."""
    columns = wish.rows[0].keys()
    names = [("values", name) for name in columns] + [("conflict_columns", name) for name in wish.conflict_columns]
    table = tables.get(connection, wish.table, names)
    _check_keys(table, columns)
    rows = [{name: tables.value("values", table.c[name], value) for name, value in row.items()} for row in wish.rows]
    statement = core.inserting(connection, table)
    if wish.upsert:
        statement = _upserting(statement, table, wish)
    keys = list(table.primary_key) or [table.c[name] for name in wish.conflict_columns]
    return Prepared(statement.returning(*keys) if keys else statement, rows)


def _check_keys(table: Table, columns: Iterable[str]) -> None:
    """Every part of the primary key that the database does not fill in must be there."""
    given = set(columns)
    for column in table.primary_key:
        filled = column is table.autoincrement_column or column.server_default is not None
        if not filled and column.name not in given:
            raise read.invalid("values", "lacks a column of the primary key that has no default; send all of them")


def _upserting(statement: Any, table: Table, wish: Insert) -> Any:
    same = wish.conflict_columns or tuple(column.name for column in table.primary_key)
    if not same:
        raise read.invalid("conflict_columns", "is missing, and the table has no primary key; send columns")
    changed = {name: statement.excluded[name] for name in wish.rows[0] if name not in same}
    if not changed:
        return statement.on_conflict_do_nothing(index_elements=same)
    return statement.on_conflict_do_update(index_elements=same, set_=changed)


def update(connection: Connection, *, tables: Tables, wish: Update) -> Prepared:
    """New values for rows."""
    names = [("values", name) for name in wish.values] + [("where", item.column) for item in wish.where]
    table = tables.get(connection, wish.table, names)
    values = {name: tables.value("values", table.c[name], value) for name, value in wish.values.items()}
    # By column and not by name, so that a column may be called like an argument.
    changes = {table.c[name]: value for name, value in values.items()}
    return Prepared(table.update().where(*_conditions(tables, table, wish.where)).values(changes))


def delete(connection: Connection, *, tables: Tables, wish: Delete) -> Prepared:
    """Rows to be removed."""
    table = tables.get(connection, wish.table, [("where", item.column) for item in wish.where])
    return Prepared(table.delete().where(*_conditions(tables, table, wish.where)))


def free(tables: Tables, wish: Sql) -> Prepared:
    """A statement in SQL.

    Raises:
        InvalidPayloadError: its parameters and those that were sent differ.
    """
    names = core.parameter_names(wish.text)
    if names != wish.parameters.keys():
        missing, unknown = names - wish.parameters.keys(), wish.parameters.keys() - names
        raise read.invalid(
            "parameters",
            f"must be those of the statement: {len(missing)} missing, {len(unknown)} that it does not have; "
            "a colon that begins no parameter is written \\:",
        )
    parameters = {name: tables.adapt(value) for name, value in wish.parameters.items()}
    return Prepared(core.free_statement(wish.text, parameters), is_free=True)


def mark(connection: Connection, *, tables: Tables, table_name: str, key: str) -> Prepared:
    """The row that says that a task was done; no row is changed if it is there already."""
    try:
        table = tables.get(connection, table_name, [("once", ONCE_COLUMN)])
    except InvalidPayloadError:
        raise read.invalid(
            "once", f"must be a table of this connection with a column {ONCE_COLUMN} that is unique"
        ) from None
    statement = core.inserting(connection, table).values({table.c[ONCE_COLUMN]: key})
    return Prepared(statement.on_conflict_do_nothing(index_elements=[ONCE_COLUMN]))


def _conditions(tables: Tables, table: Table, where: tuple[Condition, ...]) -> list[Any]:
    return [_condition(tables, table.c[item.column], item) for item in where]


def _condition(tables: Tables, column: Column[Any], item: Condition) -> Any:
    if isinstance(item.value, tuple):
        value: Any = [tables.value("where", column, each) for each in item.value]
    elif item.op.endswith("like"):
        value = item.value  # a pattern, whatever the column's type
    else:
        value = tables.value("where", column, item.value)
    return _OPERATORS[item.op](column, value)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(found[:_SHOWN_NAMES])
    rest = len(found) - _SHOWN_NAMES
    if not found:
        return "another connection: it has none"
    return f"one of {shown}" + (f" and {rest} more" if rest > 0 else "")
