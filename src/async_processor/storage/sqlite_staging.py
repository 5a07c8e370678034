"""Many changes as one statement: while the event loop is busy, each statement costs its thread the interpreter's lock.

A thread that steps through a statement gives that lock up, and then waits for it, beside a busy loop for 5 ms and
more. A transaction of a statement for each kind of change, with its BEGIN and its COMMIT, did so a good dozen times.
An INSERT into a temporary table whose triggers carry the changes out (``sql/staging.sql``) does it once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from .sql_files import script

Rows = list[tuple[Any, ...]]
Step = tuple[str, Rows]
"""A trigger's name, and the rows it is carried out for."""

_COLUMNS = 12
# Rows in one statement at most; those of 1 MB of memory, all sizes together.
MOST_ROWS = 512
# What each row of a step changes in the database, where that is not one row.
_CHANGED = {"accept": 2, "finish": 2}


class Staged(NamedTuple):
    """Steps ready to be carried out.

    Attributes:
        pieces: parameters of the statements, one each for at most ``MOST_ROWS`` rows.
        changed: how many rows they change, their own way through the temporary table included.
    """

    pieces: list[list[Any]]
    changed: int


def prepare_staging(connection: sqlite3.Connection) -> None:
    """Make the table and its triggers; once for each connection."""
    connection.executescript(script("staging.sql"))


def stage(steps: Iterable[Step]) -> Staged:
    """Lay steps out as parameters. Steps without rows count for nothing."""
    rows: Rows = []
    changed = 0
    for name, items in steps:
        if not items:
            continue
        rest = (None,) * (_COLUMNS - len(items[0]))
        rows += [item + rest for item in items]
        rows.append(_end_of(name))
        changed += 2 + (2 + _CHANGED.get(name, 1)) * len(items)
    return Staged([_piece(rows[start : start + MOST_ROWS]) for start in range(0, len(rows), MOST_ROWS)], changed)


def carry_out(staged: Staged, connection: sqlite3.Connection) -> bool:
    """Do it. More than one piece needs a transaction that the caller began.

    Returns:
        Whether each change found its row: what has ended cannot be started, and does not end twice.
    """
    before = connection.total_changes
    for flat in staged.pieces:
        # executemany of one: unlike execute it gives the interpreter lock up only once.
        connection.executemany(_insert(len(flat) // _COLUMNS), (flat,))
    return connection.total_changes - before == staged.changed


@lru_cache
def _end_of(step: str) -> tuple[Any, ...]:
    return (0, *(None,) * (_COLUMNS - 2), step)


def _piece(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    flat = list(chain.from_iterable(rows))
    return flat + [None] * (_COLUMNS * (_size(len(rows)) - len(rows)))


def _size(count: int) -> int:
    """How many rows a statement for so many has: two sizes for each power of two, for few texts stay prepared."""
    size = 1 << (count - 1).bit_length()
    return size * 3 // 4 if count <= size * 3 // 4 else size


@lru_cache
def _insert(rows: int) -> str:
    one = f"({', '.join('?' * _COLUMNS)})"
    return f"INSERT INTO staged VALUES {', '.join([one] * rows)}"  # noqa: S608 - of question marks only
