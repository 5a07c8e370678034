"""A store of a version that never was, to hold the mechanism of migrations."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from async_processor.storage.sql_files import script
from async_processor.storage.sqlite_schema import APPLICATION_ID

_TASKS = [(1, "old-1"), (2, "old-2")]


def make_version_0(path: Path) -> None:
    """A store as "version 0" wrote it: one table, and nothing but ids."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE old_tasks (row INTEGER PRIMARY KEY, id TEXT NOT NULL)")
        connection.executemany("INSERT INTO old_tasks VALUES (?, ?)", _TASKS)
        connection.commit()


def migrations_from_0() -> Mapping[int, str]:
    """What leads from it to version 1."""
    moved = """
    -- Its tasks were never anything but waiting.
    INSERT INTO unfinished (row) SELECT row FROM old_tasks;
    INSERT INTO tasks (row, id, type, priority, created_at, submitted_at, crc, spec)
    SELECT row, id, 'demo', 3, 1.5, 1.5, 0, x'' FROM old_tasks;
    DROP TABLE old_tasks;
    """
    return {1: script("schema.sql") + moved}
