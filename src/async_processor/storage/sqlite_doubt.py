"""What became of a transaction whose commit failed.

It may be there: the pages can have reached the write-ahead log before ``fsync`` reported its error; whether they did,
only a new opening of the log tells. A transaction is there as a whole or not at all, so it is enough to look for one
task that it accepted. One that accepted none need not be looked for: all other changes may be made a second time, and
nothing comes of it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from enum import Enum

from .sql_files import statements
from .sqlite_schema import VERSION, patience, transaction


class Outcome(Enum):
    """Of a commit that failed."""

    KEPT = "kept"
    NOT_KEPT = "not kept"


def outcome_of(rows: Sequence[int], connection: sqlite3.Connection, *, durable: bool) -> Outcome:
    """Look, and make sure that it stays as it was seen.

    Args:
        rows: of the tasks that the transaction accepted.
        connection: opened since, unless the error left no doubt.
        durable: whether what is there must survive a power cut.

    Raises:
        sqlite3.Error: it cannot be known now.
    """
    if not rows:
        return Outcome.NOT_KEPT
    if not _are_there(connection, rows):
        _overwrite_remains(connection)
        return Outcome.NOT_KEPT
    if not durable or _sync(connection):
        return Outcome.KEPT
    # There, but only in the system's memory, on a disk that fails: nothing that one may promise.
    _take_back(connection, rows)
    return Outcome.NOT_KEPT


def _are_there(connection: sqlite3.Connection, rows: Sequence[int]) -> bool:
    return bool(statements()["accepted_rows"].read(connection, [(row,) for row in rows]))


def _sync(connection: sqlite3.Connection) -> bool:
    """Move the log into the database, which writes and syncs every page again: a second ``fsync`` of the log alone
    would report success for pages that the first one gave up."""
    try:
        with patience(connection):
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return not busy


def _take_back(connection: sqlite3.Connection, rows: Sequence[int]) -> None:
    keys = [(row,) for row in rows]
    try:
        with transaction(connection):
            for name in ("erase_unfinished", "erase_finished", "erase_dependencies", "erase_tasks"):
                statements()[name].write(connection, keys)
    except sqlite3.Error:
        if _are_there(connection, rows):
            raise


def _overwrite_remains(connection: sqlite3.Connection) -> None:
    """Should another program keep the log open, a commit that failed at its last step could still be in it, unseen
    now and found by the next recovery: write over it. Without such a program there is nothing to write over."""
    with contextlib.suppress(sqlite3.Error), transaction(connection):
        connection.execute(f"PRAGMA user_version = {VERSION}")
