"""Reading tasks back, on the writer's connection and between its commits, so that reads see what was written before.

A row that is not what was written is set aside: noted in ``quarantine`` as it was found, logged, and from then on a
task that failed. The other rows do not notice.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..model import TaskStatus
from .base import StoredTask
from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_errors import damaged
from .sqlite_rows import finished_crc, remains, stored_task
from .sqlite_schema import transaction

_log = logging.getLogger(__name__)

_Needs = dict[int, tuple[str, ...]]


class Reader:
    """Reads of one store.

    Args:
        path: for messages.
        files: where large values are.
        wall: tells the time, in seconds since the epoch.

    Attributes:
        quarantined: how many rows were set aside.
    """

    def __init__(self, path: str, files: ResultFiles, wall: Callable[[], float]) -> None:
        self.quarantined = 0
        self._path = path
        self._files = files
        self._wall = wall

    def unfinished_in_order(self, connection: sqlite3.Connection) -> list[int]:
        """The rows of all tasks that have not ended, by priority and then in order of acceptance."""
        found = connection.execute(statements()["unfinished_in_order"].text).fetchone()[0]
        return [int(row) for row in found.split(",")] if found else []

    def unfinished(self, connection: sqlite3.Connection, rows: Sequence[int]) -> list[StoredTask]:
        """Those of these rows that still have not ended, in the order given; unreadable ones are set aside."""
        keys = [(row,) for row in rows]
        found = statements()["read_unfinished"].read(connection, keys)
        needs = self._needs(connection, keys)
        read: dict[int, StoredTask] = {}
        for columns in found:
            try:
                read[columns[0]] = stored_task(columns, needs.get(columns[0], ()), None)
            except ValueError as error:
                self._set_aside(connection, columns, str(error), unfinished=True)
        return [read[row] for row in rows if row in read]

    def find(self, connection: sqlite3.Connection, task_ids: Sequence[str]) -> dict[str, StoredTask]:
        """The tasks of these ids, as far as they are there, with their values."""
        asked = [(task_id,) for task_id in task_ids if can_be_bound(task_id)]
        ids = dict(statements()["rows_of_ids"].read(connection, asked))
        keys = [(row,) for row in ids]
        needs = self._needs(connection, keys)
        unfinished = statements()["read_unfinished"].read(connection, keys)
        finished = statements()["read_finished"].read(connection, keys)
        tasks = [self._readable(connection, columns, ids, needs, True) for columns in unfinished]
        tasks += [self._readable(connection, columns, ids, needs, False) for columns in finished]
        if any(task.task.id != ids[task.row] for task in tasks):
            # The index leads to another task, which is sound itself.
            raise damaged(self._path, "its index of ids is wrong")
        return {task.task.id: task for task in tasks}

    def _readable(
        self, connection: sqlite3.Connection, columns: Sequence[Any], ids: dict[int, str], needs: _Needs,
        unfinished: bool,
    ) -> StoredTask:  # fmt: skip
        row = columns[0]
        try:
            return stored_task(columns, needs.get(row, ()), self._files.get)
        except ValueError as error:
            task = self._set_aside(connection, columns, str(error), unfinished=unfinished)
            return replace(task, task=task.task._replace(id=ids[row]))

    @staticmethod
    def _needs(connection: sqlite3.Connection, keys: Sequence[tuple[int]]) -> _Needs:
        found: defaultdict[int, list[str]] = defaultdict(list)
        for child, parent in statements()["read_dependencies"].read(connection, keys):
            found[child].append(parent)
        return {child: tuple(parents) for child, parents in found.items()}

    def _set_aside(
        self, connection: sqlite3.Connection, columns: Sequence[Any], reason: str, *, unfinished: bool
    ) -> StoredTask:
        at, row = self._wall(), columns[0]
        task = remains(columns, f'{reason}; what was found is in the table "quarantine" of {self._path}', at)
        if unfinished or not statements()["quarantined_rows"].read(connection, [(row,)]):
            with transaction(connection):
                connection.execute(statements()["quarantine"].text, (row, at, reason))
                if unfinished:
                    crc = finished_crc(TaskStatus.FAILED.value, task.error, None, None, None)
                    connection.execute(statements()["fail_unreadable"].text, (row, at, task.error, crc))
                    statements()["erase_unfinished"].write(connection, [(row,)])
            self.quarantined += 1
            _log.error("set aside row %d of the store %s: %s", row, self._path, reason, extra={"task_id": task.task.id})
        return task


def can_be_bound(task_id: str) -> bool:
    """Whether SQLite takes it. No task has an id that is no text, so it is not there, rather than an error."""
    try:
        task_id.encode()
    except UnicodeEncodeError:
        return False
    return True


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """The items, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
