"""Errors of SQLite and of the file system, translated here and nowhere else.

Two kinds must never be taken for each other: a row that can never be kept (its own fault, it fails alone), and a
medium that cannot keep anything at the moment (nobody's fault, and what was tried may have happened all the same).
"""

from __future__ import annotations

import errno
import sqlite3
import struct

from ..errors import (
    AsyncProcessorError,
    DuplicateTaskError,
    InvalidTaskError,
    SizeLimitError,
    StoreError,
    StoreFormatError,
)
from .base import Change, TaskAccepted

BAD_ROW = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)
"""What a row brings upon itself. Must be caught before ``MEDIUM``: SQLite's errors have one base."""

MEDIUM = (sqlite3.Error, OSError, MemoryError, UnicodeDecodeError)
"""What disks, file systems and other programs do to a store. A damaged schema comes as text that is none."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_RECOVER = (
    'it is left as it is: put a copy of it in its place, or save what can be read with `sqlite3 "{path}" .recover`, '
    "or move it away to begin with an empty store"
)

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk or the database is full: make room",
    sqlite3.SQLITE_READONLY: "it is read-only: give write permission to the file and its directory",
    sqlite3.SQLITE_BUSY: "another program keeps it locked: end that program or its transaction",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked: end that program or its transaction",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that file and directory exist and may be written",
    sqlite3.SQLITE_PERM: "access is denied: check the permissions of the file and its directory",
    sqlite3.SQLITE_AUTH: "access is denied: check the permissions of the file and its directory",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_IOERR: "the disk reports an error: check the disk and the system's log",
}
_ERRNO_REASONS = {
    errno.ENOSPC: _REASONS[sqlite3.SQLITE_FULL],
    errno.EDQUOT: _REASONS[sqlite3.SQLITE_FULL],
    errno.EFBIG: _REASONS[sqlite3.SQLITE_FULL],
    errno.EROFS: _REASONS[sqlite3.SQLITE_READONLY],
    errno.EACCES: _REASONS[sqlite3.SQLITE_PERM],
    errno.EPERM: _REASONS[sqlite3.SQLITE_PERM],
    errno.ENOENT: "its directory does not exist: create it",
    errno.ENOTDIR: "its directory does not exist: create it",
    errno.EIO: _REASONS[sqlite3.SQLITE_IOERR],
}


def code_of(error: BaseException) -> int:
    """SQLite's primary code; 0 if the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether it tells of a file that is no sound database."""
    return code_of(error) in _DAMAGED or isinstance(error, UnicodeDecodeError)


def is_certain(error: BaseException) -> bool:
    """Whether a transaction that failed with it did not happen: there was no room or no lock for it, or a file beside
    the database could not be written. What a disk reports in the middle of a commit leaves everything open.

    Then the connection can go on; to open it anew needs room for its files, which there may not be.
    """
    return isinstance(error, OSError) or code_of(error) in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def reason_of(error: BaseException) -> str:
    """What is wrong and what would help, in words."""
    if isinstance(error, OSError):
        return f"{_ERRNO_REASONS.get(error.errno or 0, 'the file system refuses')} ({error.strerror})"
    if isinstance(error, MemoryError):
        return _REASONS[sqlite3.SQLITE_NOMEM]
    return f"{_REASONS.get(code_of(error), 'SQLite refuses')} ({error})"


def translated(error: BaseException, path: str) -> StoreError:
    """The error for callers, for trouble with the file as a whole."""
    if isinstance(error, StoreError):
        return error
    if is_damage(error):
        return damaged(path, str(error))
    return StoreError(f"the store {path} cannot be used: {reason_of(error)}")


def damaged(path: str, what: str) -> StoreFormatError:
    """The error for a file that was a store once, and what can be done about it."""
    return StoreFormatError(f"the store {path} is damaged ({what}); {_RECOVER.format(path=path)}")


def refused(change: Change, error: BaseException) -> AsyncProcessorError:
    """The error for one change that can never be kept."""
    task_id = change.task.id if isinstance(change, TaskAccepted) else None
    concerned = f"task {task_id!r}" if task_id is not None else f"{type(change).__name__} of row {change.row}"
    if isinstance(error, sqlite3.IntegrityError) and task_id is not None:
        if "tasks.idempotency_key" in str(error):
            return _duplicate(task_id, "idempotency_key")
        if "tasks.id" in str(error):
            return _duplicate(task_id, "id")
    if isinstance(error, sqlite3.DataError):
        return SizeLimitError(f"{concerned} is too large for the store ({error})", task_id=task_id)
    if task_id is not None:
        return InvalidTaskError(f"{concerned} cannot be stored: {error}", task_id=task_id)
    return StoreError(f"{concerned} cannot be stored: {error}")


def _duplicate(task_id: str, field: str) -> DuplicateTaskError:
    what = "its id" if field == "id" else "its idempotency key"
    remedy = "leave the id out to get a new one" if field == "id" else "take that task's result instead"
    return DuplicateTaskError(
        f"task {task_id!r} cannot be stored: a task with {what} is in the store; {remedy}",
        field=field,
        task_id=task_id,
    )
