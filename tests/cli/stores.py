"""Big stores for tests of the command, made in a process of their own: ``python -m tests.cli.stores FILE ...``."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.source_code import ROOT

from async_processor import TaskStatus, create_task
from async_processor.storage.base import TaskAccepted, TaskFinished
from async_processor.storage.sql_files import script
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.task_codec import encode_task

# Between the moves a second or so of work for the database, which stands for the rows of a larger store.
_MOVED = """
INSERT INTO tasks SELECT * FROM old_tasks;
INSERT INTO unfinished (row) SELECT row FROM old_tasks;
CREATE TABLE work AS WITH RECURSIVE step (number) AS
    (SELECT 1 UNION ALL SELECT number + 1 FROM step WHERE number < 4000000) SELECT count(*) AS steps FROM step;
DROP TABLE work;
DROP TABLE old_tasks;
"""


def make_store(path: Path, *, waiting: int, completed: int = 0) -> Path:
    """A store with so many tasks that nobody has begun, after so many that completed."""
    command = [sys.executable, "-m", "tests.cli.stores", str(path), str(waiting), str(completed)]
    subprocess.run(command, check=True, timeout=60, cwd=ROOT)
    return path


def make_older(path: Path) -> None:
    """Turn a store of waiting tasks back into what a "version 0" would have written: one table, and no more."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE old_tasks AS SELECT * FROM tasks; PRAGMA user_version = 0;")
        others = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'old_tasks'"
        for (name,) in connection.execute(others).fetchall():
            connection.execute(f"DROP TABLE {name}")


def migration() -> str:
    """What leads from there to version 1."""
    return script("schema.sql") + _MOVED


async def _write(path: str, waiting: int, completed: int) -> None:
    store = SqliteStore(path, durability="process", max_results=completed)
    await store.open(lambda _: None)
    for number in range(completed + waiting):
        task = create_task("nap", {"seconds": 0.0})
        row = store.new_row()
        store.write(TaskAccepted(row, encode_task(task, time.time())))
        if number < completed:
            store.write(TaskFinished(row, TaskStatus.COMPLETED, time.time(), None, b"", b""))
    await store.aclose(40.0)


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
