"""The result of DATABASE_OPERATION: one class for all operations, and what it is besides by operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import Record, Result

TRANSACTION = "transaction"


@dataclass(slots=True, frozen=True, kw_only=True)
class StatementResult(Record):
    """What one statement gave.

    Attributes:
        rows: a dict for each row that was read.
        columns: their names.
        row_count: how many rows were read or else changed; None where the database does not say.
        truncated: whether there were more rows than a task is given.
        keys: primary keys of the rows that were inserted.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    row_count: int | None = 0
    truncated: bool = False
    keys: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, frozen=True, kw_only=True)
class DatabaseOperationResult(Result):
    """What was done. Read as such, it is a ``TransactionResult`` or else a ``RowsResult``.

    Attributes:
        row_count: how many rows were read or else changed, by all statements together; None where the database does
            not say.
        already_done: whether ``once`` found that there was nothing to do.
        operation: as in the payload.
        connection: as in the payload.
        duration_s: seconds, waiting for a connection and locks included.
        provider: the kind of database.
        offline: whether it is a file or memory of this machine.
    """

    row_count: int | None
    already_done: bool
    operation: str
    connection: str
    duration_s: float
    provider: str
    offline: bool

    @classmethod
    def _variant(cls, plain: Mapping[str, Any]) -> type[Any]:
        if cls is not DatabaseOperationResult:
            return cls
        return TransactionResult if plain.get("operation") == TRANSACTION else RowsResult


@dataclass(slots=True, frozen=True, kw_only=True)
class RowsResult(DatabaseOperationResult):
    """What an operation of one statement gave.

    Attributes:
        rows: a dict for each row that was read.
        columns: their names.
        truncated: whether there were more rows than a task is given.
        keys: primary keys of the rows that were inserted.
    """

    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    truncated: bool
    keys: list[dict[str, Any]]


@dataclass(slots=True, frozen=True, kw_only=True)
class TransactionResult(DatabaseOperationResult):
    """What the statements of a transaction gave, each; nothing where it was done already."""

    results: tuple[StatementResult, ...]
