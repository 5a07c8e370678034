"""The table that is analysed: how its columns come into the database, and how they are found by name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import DataConfig
from . import payload as read
from .data_columns import FIELD, LARGEST, Column, Kind, check_cells, check_column_count, columns_of, shown, too_large
from .data_request import QUERY, File, Source, check_records
from .providers import duckdb_engine, pyarrow_tables
from .providers.duckdb_engine import Engine, Relation, file_in_memory

_FINITE = "CASE WHEN isfinite({0}::{1}) THEN {0}::{1} END"
# Types of the database by the kind that they are here, with how each comes in. Lists, structs and bytes do not.
_TYPES = (
    (r"BOOLEAN", Kind.BOOLEAN, "{}"),
    (r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", Kind.INTEGER, "{}"),
    (r"FLOAT|DOUBLE|DECIMAL\(.*\)", Kind.NUMBER, _FINITE.format("{0}", "DOUBLE")),
    # Without the zone: times are in UTC throughout.
    (r"TIMESTAMP WITH TIME ZONE", Kind.TIME, "CASE WHEN isfinite({0}) THEN make_timestamp(epoch_us({0})) END"),
    (r"DATE|TIMESTAMP(_S|_MS|_NS)?", Kind.TIME, _FINITE.format("{0}", "TIMESTAMP")),
    (r"VARCHAR|UUID|BIGNUM|TIME|TIME WITH TIME ZONE|INTERVAL|ENUM\(.*\)|\"NULL\"", Kind.TEXT, "{}::VARCHAR"),
)


@dataclass(slots=True, frozen=True, kw_only=True)
class TableColumn:
    """A column of the table ``t``; ``sql`` is its name there, which no caller chose."""

    name: str
    kind: Kind
    sql: str

    @property
    def numeric(self) -> bool:
        """Whether one can calculate with it."""
        return self.kind in (Kind.INTEGER, Kind.NUMBER)


@dataclass(slots=True, frozen=True, kw_only=True)
class Table:
    """What is known of the table ``t`` in the database."""

    columns: tuple[TableColumn, ...]
    rows: int
    remarks: tuple[str, ...]

    def column(self, key: str, name: str) -> TableColumn:
        """The column of a name that stands in the payload's field ``key``.

        Raises:
            InvalidPayloadError: there is none.
        """
        found = next((item for item in self.columns if item.name == name), None)
        if found is None:
            raise read.invalid(
                key, f"names {shown(name)}, which is no column of the data; it must be one of its columns"
            )
        return found

    def numeric(self, key: str, names: Sequence[str]) -> list[TableColumn]:
        """The columns of these names, or else all that one can calculate with.

        Raises:
            InvalidPayloadError: a name is of no column, or of one that holds no numbers; or no column holds any.
        """
        if not names:
            found = [item for item in self.columns if item.numeric]
            if not found:
                raise read.invalid(FIELD, "has no column of numbers; send at least one")
            return found
        return [self.numeric_column(key, name) for name in names]

    def numeric_column(self, key: str, name: str) -> TableColumn:
        """The column of a name, which must hold numbers.

        Raises:
            InvalidPayloadError: there is none, or it holds something else.
        """
        column = self.column(key, name)
        if not column.numeric:
            raise read.invalid(key, f"names {shown(name)}, a column of kind {column.kind}; it must be one of numbers")
        return column


def load(engine: Engine, source: Source, config: DataConfig) -> Table:
    """Bring the data into the table ``t``, then lock the database.

    Raises:
        InvalidPayloadError: it cannot be read, is too large, or holds what cannot be analysed.
    """
    if isinstance(source, File):
        table = _load_file(engine, source, config)
        _check_sizes(engine, table)
    else:
        if not isinstance(source, Mapping):
            check_records(source)
        limits = {"max_columns": config.max_columns, "max_cells": config.max_cells}
        table = _load_columns(engine, columns_of(source, **limits, step=engine.check))
    engine.lock()
    return table


def about(table: Table) -> dict[str, Any]:
    """What the results of all analyses tell of their table."""
    return {"row_count": table.rows, "warnings": table.remarks, "provider": duckdb_engine.NAME, "offline": True}


def name_columns(engine: Engine, table: Table) -> None:
    """Show the table as ``data``, under the names that the caller gave its columns.

    Raises:
        InvalidPayloadError: two names differ in case only, which SQL does not tell apart.
    """
    if len({item.name.casefold() for item in table.columns}) < len(table.columns):
        raise read.invalid(FIELD, "has columns whose names differ in case only, as SQL cannot; send other names")
    if any(not item.name or "\0" in item.name for item in table.columns):
        raise read.invalid(QUERY, "is over columns of which one has no name that SQL can have; send other names")
    listed = ", ".join(f"{item.sql} AS {quoted(item.name)}" for item in table.columns)
    engine.run(f"CREATE VIEW data AS SELECT {listed} FROM t")


def quoted(name: str) -> str:
    """A name as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def _load_columns(engine: Engine, columns: Sequence[Column]) -> Table:
    arrays = {f"c{number}": column.values for number, column in enumerate(columns)}
    expressions = list(arrays)
    for number, column in enumerate(columns):
        if column.missing is not None:
            arrays[f"m{number}"] = column.missing
            expressions[number] = f"CASE WHEN NOT m{number} THEN c{number} END"
    rows = len(columns[0].values)
    engine.load(engine.offer(arrays), len(columns), expressions, rows)
    return Table(
        columns=_numbered((item.name, item.kind) for item in columns),
        rows=rows,
        remarks=tuple(item.remark for item in columns if item.remark is not None),
    )


def _load_file(engine: Engine, file: File, config: DataConfig) -> Table:
    with _opened(engine, file) as relation:
        described = engine.describe(relation)
        check_column_count(len(described), config.max_columns)
        kinds = [(name, *_kind(name, kind)) for name, kind in described]
        expressions = [form.format(f"c{number}") for number, (_, _, form) in enumerate(kinds)]
        most = config.max_cells // max(1, len(kinds))
        engine.load(relation, len(kinds), expressions, most)
    rows = engine.rows("SELECT count(*) FROM t")[0][0]
    check_cells(rows, len(kinds), config.max_cells)
    return Table(columns=_numbered((name, kind) for name, kind, _ in kinds), rows=rows, remarks=())


@contextlib.contextmanager
def _opened(engine: Engine, file: File) -> Iterator[Relation]:
    if file.form == "arrow":
        yield engine.offer(pyarrow_tables.read_table(bytes(file.data)))
    else:
        with file_in_memory(bytes(file.data)) as path:
            yield engine.file(path, file.form)


def _kind(name: str, found: str) -> tuple[Kind, str]:
    for pattern, kind, form in _TYPES:
        if re.fullmatch(pattern, found, re.DOTALL):
            return kind, form
    raise read.invalid(
        FIELD, f"has the type {found[:20]} in column {shown(name)}; values must be numbers, texts, times or bools"
    )


def _numbered(columns: Iterable[tuple[str, Kind]]) -> tuple[TableColumn, ...]:
    return tuple(TableColumn(name=name, kind=kind, sql=f"c{number}") for number, (name, kind) in enumerate(columns))


def _check_sizes(engine: Engine, table: Table) -> None:
    numbers = [item for item in table.columns if item.kind is Kind.NUMBER]
    if not numbers:
        return
    largest = engine.rows(f"SELECT {', '.join(f'max(abs({item.sql}))' for item in numbers)} FROM t")[0]
    for column, size in zip(numbers, largest, strict=True):
        if size is not None and size > LARGEST:
            raise too_large(column.name)
