"""A look at a store from another process: read-only, while its owner works and when it is gone."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from ..errors import StoreError
from .base import StoredTask
from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_errors import MEDIUM, translated
from .sqlite_reader import can_be_bound
from .sqlite_rows import remains, stored_task
from .sqlite_schema import connect_to_look

MOST = 1_000
"""Tasks listed at a time."""
_STATEMENTS = "view.sql"


class TaskLine(NamedTuple):
    """What a list shows of a task. No payload and no result: those are for whoever asks for this one task."""

    row: int
    id: str
    task_type: str
    priority: int
    status: str
    attempt: int
    crashes: int
    submitted_at: float
    started_at: float | None
    due: float | None
    finished_at: float | None
    error: str | None
    progress: float | None
    progress_message: str | None


class StoreCounts(NamedTuple):
    """How much there is of what.

    Attributes:
        by_type: task type -> status -> how many tasks.
        oldest_unfinished: when the oldest task that has not ended was submitted; None if there is none.
        quarantined: rows that could not be read.
    """

    by_type: dict[str, dict[str, int]]
    oldest_unfinished: float | None
    quarantined: int

    def of_status(self, *statuses: str) -> int:
        """How many tasks there are of these, over all types."""
        return sum(counts.get(status, 0) for counts in self.by_type.values() for status in statuses)


class StoreView:
    """Reads a store that another process may own.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def tasks(self, *, status: str | None = None, task_type: str | None = None, limit: int = 50) -> list[TaskLine]:
        """The newest tasks, at most ``MOST``.

        Args:
            status, task_type: only such; None for any.

        Raises:
            StoreError: there is no store, or it cannot be read.
        """
        with self._connected() as connection:
            if not all(can_be_bound(text) for text in (status, task_type) if text is not None):
                return []
            wanted = (status, task_type, min(limit, MOST))
            return [TaskLine(*found) for found in connection.execute(self._sql("list_tasks"), wanted)]

    def task(self, task_id: str) -> StoredTask | None:
        """One task with its payload and result as bytes; None if it is not there. Raises what ``tasks`` raises."""
        with self._connected() as connection:
            return read_task(connection, self._path, task_id)

    def counts(self) -> StoreCounts:
        """How much there is of what. Raises what ``tasks`` raises."""
        by_type: defaultdict[str, dict[str, int]] = defaultdict(dict)
        with self._connected() as connection:
            for task_type, status, count in connection.execute(self._sql("count_tasks")):
                by_type[task_type][status] = count
            (oldest,) = connection.execute(self._sql("oldest_unfinished")).fetchone()
            (quarantined,) = connection.execute(self._sql("count_quarantined")).fetchone()
        return StoreCounts(dict(by_type), oldest, quarantined)

    def unfinished(self) -> int:
        """How many tasks have not ended. Raises what ``tasks`` raises."""
        with self._connected() as connection:
            (count,) = connection.execute(self._sql("count_unfinished")).fetchone()
        return int(count)

    @staticmethod
    def _sql(name: str) -> str:
        return statements(_STATEMENTS)[name].text

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect_to_look(self._path)) as connection:
                yield connection
        except StoreError:
            raise
        except MEDIUM as error:
            raise translated(error, self._path) from None


def read_task(connection: sqlite3.Connection, path: str, task_id: str) -> StoredTask | None:
    """One task as it is stored; of an unreadable one, what can still be said of it."""
    if not can_be_bound(task_id):
        return None
    queries = statements()
    rows = [(row,) for row, _ in queries["rows_of_ids"].read(connection, [(task_id,)])]
    found = queries["read_unfinished"].read(connection, rows) + queries["read_finished"].read(connection, rows)
    if not found:
        return None
    needs = tuple(parent for _, parent in queries["read_dependencies"].read(connection, rows))
    try:
        return stored_task(found[0], needs, ResultFiles(path).get)
    except ValueError as error:
        return remains(found[0], str(error), 0.0)
