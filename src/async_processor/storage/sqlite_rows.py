"""What a task looks like as rows, both ways.

Each row carries a checksum of what matters in it. SQLite checks the form of its pages, not what is in them; without
this a flipped bit in a payload would simply be another payload.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from ..model import TaskStatus
from .base import EncodedTask, StoredTask, TaskFinished

_NUMBERS = struct.Struct("<qdd")
# A time beyond this (in the year 5138) is no time.
_LATEST = 1e11


class UnreadableRowError(ValueError):
    """A row holds something that was never written there."""


class Columns(NamedTuple):
    """What ``read_unfinished`` and ``read_finished`` select, in their order."""

    row: int
    id: str
    type: str
    priority: int
    created_at: float
    submitted_at: float
    idempotency_key: str | None
    crc: int
    spec: bytes
    status: str
    attempt: int
    crashes: int
    cancel_requested: int
    first_started_at: float | None
    started_at: float | None
    due: float | None
    finished_at: float | None
    error: str | None
    progress: float | None
    progress_message: str | None
    finished_crc: int | None
    outcome: bytes | None
    value: bytes | None
    value_file: str | None


def task_row(row: int, task: EncodedTask) -> tuple[Any, ...]:
    """Parameters of ``accept``.

    Raises:
        ValueError, TypeError, struct.error: the task holds what no row can.
    """
    return (
        row, task.id, task.task_type, task.priority, task.created_at, task.submitted_at, task.idempotency_key,
        task_crc(task), task.spec,
    )  # fmt: skip


def finished_row(change: TaskFinished, value: bytes | None, value_file: str | None) -> tuple[Any, ...]:
    """Parameters of ``finish``: the value inline or in a file."""
    row, status, at, error, outcome, _ = change
    text = status._value_  # as ``value``, without its detour
    return row, text, at, error, finished_crc(text, error, outcome, value, value_file), outcome, value, value_file


def task_crc(task: EncodedTask) -> int:
    """Over all that is accepted."""
    task_id, task_type, priority, created_at, submitted_at, key, depends_on, spec = task
    texts = f"{task_id}\0{task_type}\0{key}\0{depends_on}" if depends_on else f"{task_id}\0{task_type}\0{key}"
    return crc32(spec, crc32(_NUMBERS.pack(priority, created_at, submitted_at), crc32(texts.encode())))


def finished_crc(
    status: str, error: str | None, outcome: bytes | None, value: bytes | None, value_file: str | None
) -> int:
    """Over all that is told of an end."""
    crc = crc32(f"{status}\0{error}\0{value_file}".encode())
    if outcome is not None:
        crc = crc32(outcome, crc)
    return crc if value is None else crc32(value, crc)


def stored_task(
    found: Sequence[Any], depends_on: tuple[str, ...], value_of: Callable[[str], bytes] | None
) -> StoredTask:
    """A task from what was read of it.

    Args:
        found: as in ``Columns``.
        depends_on: read apart.
        value_of: reads a value that is in a file.

    Raises:
        ValueError: it is not what was written.
    """
    columns = Columns(*found)
    try:
        return _checked(columns, depends_on, value_of)
    except (TypeError, AttributeError, OverflowError, struct.error, UnicodeError) as error:
        raise UnreadableRowError(f"its row in the store does not hold a task ({error})") from None


def _checked(columns: Columns, depends_on: tuple[str, ...], value_of: Callable[[str], bytes] | None) -> StoredTask:
    task = EncodedTask(
        columns.id, columns.type, columns.priority, columns.created_at, columns.submitted_at,
        columns.idempotency_key, depends_on, columns.spec,
    )  # fmt: skip
    if task_crc(task) != columns.crc:
        raise UnreadableRowError("its row in the store is damaged")
    value = columns.value
    if columns.finished_at is not None:
        crc = finished_crc(columns.status, columns.error, columns.outcome, value, columns.value_file)
        if crc != columns.finished_crc:
            raise UnreadableRowError("the row of its result in the store is damaged")
        if columns.value_file is not None and value_of is not None:
            value = value_of(columns.value_file)
    return StoredTask(
        row=columns.row,
        task=task,
        status=TaskStatus(columns.status),
        attempt=columns.attempt,
        crashes=columns.crashes,
        cancel_requested=bool(columns.cancel_requested),
        first_started_at=columns.first_started_at,
        started_at=columns.started_at,
        due=columns.due,
        finished_at=columns.finished_at,
        error=columns.error,
        progress=columns.progress,
        progress_message=columns.progress_message,
        outcome=columns.outcome,
        value=value,
    )


def remains(found: Sequence[Any], reason: str, at: float) -> StoredTask:
    """What can still be said of a task whose row is unreadable: that it failed, and under which id."""
    columns = Columns(*found)
    task = EncodedTask(
        id=_sound_text(columns.id) or f"unreadable-{columns.row}",
        task_type=_sound_text(columns.type) or "unreadable",
        priority=columns.priority if columns.priority in range(1, 6) else 3,
        created_at=_sound_time(columns.created_at, at),
        submitted_at=_sound_time(columns.submitted_at, at),
        idempotency_key=_sound_text(columns.idempotency_key),
        depends_on=(),
        spec=b"",
    )
    return StoredTask(
        row=columns.row,
        task=task,
        status=TaskStatus.FAILED,
        attempt=_sound_count(columns.attempt),
        crashes=_sound_count(columns.crashes),
        finished_at=at,
        error=reason,
    )


def _sound_text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode()


def _sound_time(value: object, otherwise: float) -> float:
    return value if isinstance(value, float) and 0 <= value < _LATEST else otherwise


def _sound_count(value: object) -> int:
    return value if isinstance(value, int) else 0
