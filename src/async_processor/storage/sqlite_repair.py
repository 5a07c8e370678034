"""Changes to a store whose owner is gone: ending a task that waits there, and having one done again.

They take the lock as an owner does, so that no processor can come in between.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from ..errors import StoreError, UnknownTaskError
from ..model import TaskPriority, TaskResult, TaskStatus, parse_task_type
from .base import StoredTask, TaskFinished
from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_changes import Changes
from .sqlite_errors import MEDIUM, translated
from .sqlite_lock import StoreLock
from .sqlite_schema import open_database, refuse_missing, transaction
from .sqlite_staging import carry_out
from .sqlite_view import read_task
from .task_codec import decode_task, encode_outcome


def cancel_stored(path: str, task_id: str, now: datetime) -> None:
    """End a task that has not ended. Who depends on it is cancelled at the next start.

    Raises:
        UnknownTaskError: there is none of that id.
        StoreLockedError: the store has an owner; ask that one.
        StoreError: the task has ended, or the store cannot be written.
    """
    with _owned(path) as connection:
        stored = _found(connection, path, task_id)
        if stored.status.is_terminal:
            raise StoreError(f"task {task_id!r} has ended already: {stored.status}", task_id=task_id)
        result = _cancelled(stored, now)
        end = TaskFinished(stored.row, result.status, now.timestamp(), result.error, encode_outcome(result), None)
        carry_out(Changes(ResultFiles(path), 0).prepare([end]).staged, connection)


def retry_stored(path: str, task_id: str) -> None:
    """Have a task that ended without completing done again at the next start, as if it had never been tried.

    Raises:
        UnknownTaskError: there is none of that id.
        StoreLockedError: the store has an owner.
        StoreFormatError: the task cannot be read.
        StoreError: it waits anyway, has completed, or needs what was never written.
    """
    with _owned(path) as connection:
        stored = _found(connection, path, task_id)
        _refuse_retry(stored)
        statements()["erase_finished"].write(connection, [(stored.row,)])
        statements()["unfinished_again"].write(connection, [(stored.row,)])


def _refuse_retry(stored: StoredTask) -> None:
    task_id = stored.task.id
    if not stored.status.is_terminal:
        raise StoreError(f"task {task_id!r} has not ended: it goes on at the next start", task_id=task_id)
    if stored.status is TaskStatus.COMPLETED:
        raise StoreError(f"task {task_id!r} has completed; submit a new one to have it done again", task_id=task_id)
    missing = decode_task(stored.task).missing
    if missing:
        raise StoreError(
            f"task {task_id!r} needs the ephemeral payload fields {', '.join(map(repr, missing))}, which are never "
            "written; submit it again with them",
            task_id=task_id,
        )


def _found(connection: sqlite3.Connection, path: str, task_id: str) -> StoredTask:
    stored = read_task(connection, path, task_id)
    if stored is None:
        raise UnknownTaskError(f"no task {task_id!r} is in the store {path}", task_id=task_id)
    return stored


def _cancelled(stored: StoredTask, now: datetime) -> TaskResult:
    return TaskResult(
        task_id=stored.task.id,
        status=TaskStatus.CANCELLED,
        error=f"task {stored.task.id!r} was cancelled in the store, by the command",
        error_type="TaskCancelledError",
        attempts=stored.attempt,
        task_type=parse_task_type(stored.task.task_type),
        priority=TaskPriority(stored.task.priority),
        created_at=datetime.fromtimestamp(stored.task.created_at, UTC),
        completed_at=now,
    )


@contextmanager
def _owned(path: str) -> Iterator[sqlite3.Connection]:
    """The store for oneself, in one transaction."""
    path = os.path.realpath(path)
    refuse_missing(path)
    lock = StoreLock(path)
    try:
        lock.take()
        with closing(open_database(path, "power")) as connection, transaction(connection):
            yield connection
    except MEDIUM as error:
        raise translated(error, path) from None
    finally:
        lock.release()
