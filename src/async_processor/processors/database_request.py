"""What a DATABASE_OPERATION payload asks for, read and checked without a database or its library.

Names of tables and columns are only read here; whether there are such is checked against the database itself, before
they become part of a statement. Values never do: they are bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import DatabaseConfig
from ..errors import InvalidPayloadError
from ..results.database_operation import TRANSACTION
from . import payload as read
from .database_values import Values

DEFAULT_CONNECTION = "default"
MAX_NAME_CHARS = 128
# As many columns as a table in SQLite may ever have; in PostgreSQL it is a twentieth.
_MAX_NAMES = 32_767
# The largest LIMIT and OFFSET that both databases take.
_MAX_SKIP = 2**63 - 1

COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "like", "not like")
LISTS = ("in", "not in")
NULL_TESTS = ("is null", "is not null")

# What a free statement may begin with. Schema, session and transactions are the application's, not a task's.
SQL_VERBS = ("SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")
# A comment within a comment is not skipped: one database takes its end for the end of both, the other does not.
_BEFORE_VERB = re.compile(r"(?:\s|--[^\n\r]*|\(|/\*(?:(?!/\*).)*?\*/)*", re.DOTALL)
_VERB = re.compile(r"[A-Za-z]+")
_CHANGES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|MERGE)\b", re.IGNORECASE)


@dataclass(slots=True, frozen=True)
class Condition:
    """One comparison of a column; ``value`` is a tuple for ``in``, and None for the tests for null."""

    column: str
    op: str
    value: Any


@dataclass(slots=True, frozen=True)
class Order:
    """One column to sort by."""

    column: str
    descending: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Select:
    """Rows of one table. ``columns`` empty for all of them."""

    table: str
    columns: tuple[str, ...]
    where: tuple[Condition, ...]
    order_by: tuple[Order, ...]
    limit: int | None
    offset: int

    changes = False


@dataclass(slots=True, frozen=True, kw_only=True)
class Insert:
    """New rows, all with the same columns.

    Attributes:
        upsert: whether a row that is there already is changed instead.
        conflict_columns: what makes a row the same one; empty for the primary key.
    """

    table: str
    rows: tuple[Mapping[str, Any], ...]
    upsert: bool
    conflict_columns: tuple[str, ...]

    changes = True


@dataclass(slots=True, frozen=True, kw_only=True)
class Update:
    """New values for the rows that meet all conditions; without conditions, for all rows."""

    table: str
    values: Mapping[str, Any]
    where: tuple[Condition, ...]

    changes = True


@dataclass(slots=True, frozen=True, kw_only=True)
class Delete:
    """Removes the rows that meet all conditions; without conditions, all rows."""

    table: str
    where: tuple[Condition, ...]

    changes = True


@dataclass(slots=True, frozen=True, kw_only=True)
class Sql:
    """One statement in SQL, with the values of its ``:name`` parameters.

    ``changes`` errs on the side of True: a column named "update" makes it so.
    """

    text: str
    parameters: Mapping[str, Any]
    changes: bool


Statement = Select | Insert | Update | Delete | Sql


@dataclass(slots=True, frozen=True, kw_only=True)
class DatabaseRequest:
    """What one task asks for.

    Attributes:
        connection: name of a configured connection.
        operation: as the payload names it.
        statements: one, or those of a transaction.
        once: table in which the task is marked as done, in the same transaction; None to do it each time.
    """

    connection: str
    operation: str
    statements: tuple[Statement, ...]
    once: str | None

    @property
    def changes(self) -> bool:
        """Whether anything in the database may be different afterwards."""
        return self.once is not None or any(item.changes for item in self.statements)


def read_request(payload: Mapping[str, Any], settings: DatabaseConfig) -> DatabaseRequest:
    """Read a payload.

    Raises:
        InvalidPayloadError: names the field and what to send.
    """
    return _read(payload, _Reading(settings, Values(settings.max_parameters, in_passing=False)))


def check_payload(payload: Mapping[str, Any], settings: DatabaseConfig) -> None:
    """Refuse what ``read_request`` would, but for what only shows in many or long values.

    Raises:
        InvalidPayloadError: names the field and what to send.
    """
    _read(payload, _Reading(settings, Values(settings.max_parameters, in_passing=True)))


@dataclass(slots=True, frozen=True)
class _Reading:
    """One payload being read: under which settings, and who takes its values."""

    settings: DatabaseConfig
    values: Values


def _read(payload: Mapping[str, Any], reading: _Reading) -> DatabaseRequest:
    operation = read.choice(payload, "operation", None, (*_READERS, TRANSACTION))
    if operation == TRANSACTION:
        statements = tuple(_read_transaction(payload, reading))
    else:
        statements = (_READERS[operation](payload, reading),)
    return DatabaseRequest(
        connection=_name(payload, "connection", DEFAULT_CONNECTION),
        operation=operation,
        statements=statements,
        once=None if payload.get("once") is None else _name(payload, "once"),
    )


def _read_transaction(payload: Mapping[str, Any], reading: _Reading) -> Iterator[Statement]:
    wanted = "a list of operations, each a mapping like a payload"
    items: Sequence[Any] = read.required(payload, "statements", (list, tuple), wanted)
    most = reading.settings.max_statements
    if not 1 <= len(items) <= most:
        raise read.invalid("statements", f"has {len(items)} items; send 1 to {most}")
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            read.refuse("statements", wanted, item)
        try:
            yield _READERS[read.choice(item, "operation", None, tuple(_READERS))](item, reading)
        except InvalidPayloadError as error:
            raise InvalidPayloadError(f"payload['statements'][{number}]: {error}", field="statements") from None


# One reader for each operation


def _read_select(payload: Mapping[str, Any], reading: _Reading) -> Select:
    limit = payload.get("limit")
    return Select(
        table=_name(payload, "table"),
        columns=_names(payload, "columns"),
        where=_conditions(payload, reading.values),
        order_by=_order(payload),
        limit=None if limit is None else read.whole(payload, "limit", None, 0, _MAX_SKIP),
        offset=read.whole(payload, "offset", 0, 0, _MAX_SKIP),
    )


def _read_insert(payload: Mapping[str, Any], reading: _Reading, *, upsert: bool = False) -> Insert:
    return Insert(
        table=_name(payload, "table"),
        rows=_rows(payload, reading.values),
        upsert=upsert,
        conflict_columns=_names(payload, "conflict_columns") if upsert else (),
    )


def _read_upsert(payload: Mapping[str, Any], reading: _Reading) -> Insert:
    return _read_insert(payload, reading, upsert=True)


def _read_update(payload: Mapping[str, Any], reading: _Reading) -> Update:
    wanted = "a mapping of columns to values"
    given = read.required(payload, "values", Mapping, wanted)
    reading.values.expect("values", len(given))
    values = _row(given, wanted, reading.values)
    return Update(table=_name(payload, "table"), values=values, where=_conditions_or_all(payload, reading.values))


def _read_delete(payload: Mapping[str, Any], reading: _Reading) -> Delete:
    return Delete(table=_name(payload, "table"), where=_conditions_or_all(payload, reading.values))


def _read_sql(payload: Mapping[str, Any], reading: _Reading) -> Sql:
    text = read.text(payload, "sql", max_chars=reading.settings.max_statement_chars, wanted="one SQL statement")
    verb = _VERB.match(text, _BEFORE_VERB.match(text).end())  # type: ignore[union-attr]  # it matches nothing, too
    if verb is None or verb[0].upper() not in SQL_VERBS:
        raise read.invalid("sql", f"must be one statement that begins with {', '.join(SQL_VERBS)}")
    given = read.mapping(payload, "parameters", "a mapping of parameter names to values")
    reading.values.expect("parameters", len(given))
    parameters = {name: reading.values.bindable("parameters", value) for name, value in given.items()}
    return Sql(text=text, parameters=parameters, changes=_CHANGES.search(text) is not None)


_READERS: dict[str, Callable[[Mapping[str, Any], _Reading], Statement]] = {
    "select": _read_select,
    "insert": _read_insert,
    "upsert": _read_upsert,
    "update": _read_update,
    "delete": _read_delete,
    "sql": _read_sql,
}


# Parts of them


def _name(payload: Mapping[str, Any], key: str, default: str | None = None) -> str:
    name = read.text(payload, key, default, max_chars=MAX_NAME_CHARS, wanted="a name, as text")
    if not name:
        raise read.invalid(key, "is empty; it must be a name")
    return name


def _names(payload: Mapping[str, Any], key: str) -> tuple[str, ...]:
    given = read.optional(payload, key, (str, list, tuple), "a list of column names") or ()
    names = (given,) if isinstance(given, str) else tuple(given)
    if len(names) > _MAX_NAMES:
        raise read.invalid(key, f"has {len(names)} names; send at most {_MAX_NAMES}")
    for name in names:
        _check_column(name, key)
    if len(set(names)) < len(names):
        raise read.invalid(key, "names a column twice; send each once")
    return names


def _check_column(name: object, key: str) -> None:
    # Longer ones than any database has cannot be known to it; here they are spared the search.
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise read.invalid(key, f"must be column names: texts of 1 to {MAX_NAME_CHARS} characters")


def _rows(payload: Mapping[str, Any], values: Values) -> tuple[Mapping[str, Any], ...]:
    wanted = "a mapping of columns to values, or a list of such"
    given = read.required(payload, "values", (Mapping, list, tuple), wanted)
    rows = (given,) if isinstance(given, Mapping) else tuple(given)
    if not rows:
        raise read.invalid("values", f"is empty; it must be {wanted}")
    # Each has one value at least. Counted first, so that nobody's millions of rows are gone through.
    values.expect("values", len(rows))
    for row in rows:
        if not isinstance(row, Mapping):
            read.refuse("values", wanted, row)
        values.expect("values", max(0, len(row) - 1))
    checked = tuple(_row(row, wanted, values) for row in rows)
    if any(row.keys() != checked[0].keys() for row in checked):
        raise read.invalid(
            "values", "has rows with different columns; send the same columns in each, with None if need be"
        )
    return checked


def _row(item: Mapping[str, Any], wanted: str, values: Values) -> Mapping[str, Any]:
    if not item:
        raise read.invalid("values", f"is empty; it must be {wanted}")
    for name in item:
        _check_column(name, "values")
    return {name: values.bindable_or_json("values", value) for name, value in item.items()}


def _order(payload: Mapping[str, Any]) -> tuple[Order, ...]:
    names = _names(payload, "order_by")
    order = tuple(Order(name.removeprefix("-"), name.startswith("-")) for name in names)
    if not all(item.column for item in order):
        raise read.invalid("order_by", "must be column names, with '-' before them to sort downwards")
    return order


def _conditions_or_all(payload: Mapping[str, Any], values: Values) -> tuple[Condition, ...]:
    all_rows = read.optional(payload, "all_rows", bool, "True or False") or False
    conditions = _conditions(payload, values)
    if not conditions and not all_rows:
        raise read.invalid("where", "is missing or empty; send conditions, or all_rows: True if every row is meant")
    if conditions and all_rows:
        raise read.invalid("all_rows", "contradicts payload['where']; send one of the two")
    return conditions


def _conditions(payload: Mapping[str, Any], values: Values) -> tuple[Condition, ...]:
    where = read.mapping(payload, "where", "a mapping of columns to values or conditions")
    found: list[Condition] = []
    for column, given in where.items():
        _check_column(column, "where")
        for item in given if isinstance(given, list | tuple) else (given,):
            if isinstance(given, list | tuple) and not isinstance(item, Mapping):
                raise read.invalid("where", "has a list; for one of several values send {'op': 'in', 'value': [...]}")
            found.append(_condition(column, item, values))
    return tuple(found)


def _condition(column: str, given: object, values: Values) -> Condition:
    if not isinstance(given, Mapping):
        values.expect("where", 1)
        value = values.bindable("where", given)
        return Condition(column, "is null", None) if value is None else Condition(column, "=", value)
    try:
        op = read.choice(given, "op", None, (*COMPARISONS, *LISTS, *NULL_TESTS))
    except InvalidPayloadError as error:
        raise read.invalid("where", f"has a condition that cannot be used: {error}") from None
    value = given.get("value")
    if op in LISTS:
        if not isinstance(value, list | tuple):
            raise read.invalid("where", f"has a condition {op!r} whose 'value' must be a list")
        values.expect("where", len(value))
        return Condition(column, op, tuple(_not_none(op, values.bindable("where", item)) for item in value))
    values.expect("where", 1)
    if op in NULL_TESTS:
        return Condition(column, op, None)
    value = _not_none(op, values.bindable("where", value))
    if op.endswith("like") and not isinstance(value, str):
        raise read.invalid("where", f"has a condition {op!r} whose 'value' must be a text")
    return Condition(column, op, value)


def _not_none(op: str, value: Any) -> Any:
    # Comparing with NULL is never true, which nobody means.
    if value is None:
        raise read.invalid("where", f"has a condition {op!r} without a 'value'; send 'is null' to find what has none")
    return value
