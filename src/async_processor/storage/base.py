"""The protocol every store keeps, and the vocabulary it is spoken to in.

A store remembers tasks; it decides nothing. The runtime hands it *changes* in the order in which they happened, and is
told of each when it can no longer be lost. The rules:

- ``write`` is called on the event loop's thread, never blocks and never raises; changes take effect in the order in
  which they were written, and their ``done`` is called in that order, on the event loop, exactly once each.
- ``done(None)`` means: this survives what ``durability`` promises. ``done(error)`` means: it did not take effect and
  never will, not even after a restart. An outcome that is unknown (a commit failed) is found out before it is told.
- A change that cannot be kept for its own sake (a repeated id) fails alone; its neighbours do not notice.
- While the disk fails, ``TaskAccepted`` is refused with a ``StoreError``; every other change waits until it can be
  written, because what it tells has happened already. ``statistics().failing`` says so meanwhile.
- One owner: ``open`` takes the store for this processor and no other, until ``aclose`` or the death of the process.
- Reads through ``find`` see every change written before them.

Times are seconds since the epoch (UTC): unlike the monotonic clock's they mean something after a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..errors import AsyncProcessorError
from ..figures import StoreStatistics as StoreStatistics  # noqa: PLC0414 - part of this vocabulary; stores import it from here
from ..model import TaskStatus

Done = Callable[[AsyncProcessorError | None], None]
"""Told once what became of a change: None when it is kept, else why not."""


class EncodedTask(NamedTuple):
    """A task as it is kept: what a store must look at in fields of their own, the rest as bytes.

    Attributes:
        id, task_type, priority: as on the task.
        created_at: when the caller made it.
        submitted_at: when it was accepted.
        idempotency_key: only if the caller gave one.
        depends_on: ids, without repeats.
        spec: everything else, payload included but for its ephemeral fields; see ``codec``.
    """

    id: str
    task_type: str
    priority: int
    created_at: float
    submitted_at: float
    idempotency_key: str | None
    depends_on: tuple[str, ...]
    spec: bytes


# ---- changes. ``row`` is the number that ``Store.new_row`` gave for the task.


class TaskAccepted(NamedTuple):
    """A task was handed in. Fails with ``DuplicateTaskError`` if its id is in the store."""

    row: int
    task: EncodedTask


class AttemptStarted(NamedTuple):
    """An attempt is about to begin: counted before its body runs."""

    row: int
    attempt: int
    at: float


class AttemptRetried(NamedTuple):
    """The attempt failed, and another is due at ``due``. ``error`` is a short text for people."""

    row: int
    attempt: int
    due: float
    error: str


class CancelRequested(NamedTuple):
    """A running task was asked to end for good: if the process dies now, it does not run again."""

    row: int


class HandedBack(NamedTuple):
    """The processor shuts down in good order: the task waits again, and its last attempt was no crash."""

    row: int


class TaskProgressed(NamedTuple):
    """A running task said how far it is. Nobody waits for this; the newest one counts."""

    row: int
    fraction: float
    message: str


class TaskFinished(NamedTuple):
    """The task has ended.

    Attributes:
        status: a terminal one.
        at: when.
        error: a short text for people; None when it completed.
        outcome: the ``TaskResult`` but for its value and what the task itself tells; see ``codec``.
        value: what the processor function returned, encoded; None unless it completed.
    """

    row: int
    status: TaskStatus
    at: float
    error: str | None
    outcome: bytes
    value: bytes | None


Change = TaskAccepted | AttemptStarted | AttemptRetried | CancelRequested | HandedBack | TaskProgressed | TaskFinished


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredTask:
    """A task as a store remembers it. Bytes stay bytes: whoever wants to look inside decodes them.

    Attributes:
        row: its number in the store, in order of acceptance.
        task: as it was accepted.
        status: PENDING, RUNNING or how it ended.
        attempt: number of the last attempt that was started; 0 before the first.
        crashes: how many attempts ended because this process died.
        cancel_requested: whether it was asked to end for good, and had not yet.
        started_at: when the last attempt was started.
        first_started_at: when the first was.
        due: when the next attempt is due, if it waits for that.
        finished_at: when it ended.
        error: a short text for people; of the last failed attempt or for good.
        progress, progress_message: as last reported; None if never.
        outcome, value: as in ``TaskFinished``; ``value`` is read with ``find`` only, and None from elsewhere.
    """

    row: int
    task: EncodedTask
    status: TaskStatus
    attempt: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    first_started_at: float | None = None
    started_at: float | None = None
    due: float | None = None
    finished_at: float | None = None
    error: str | None = None
    progress: float | None = None
    progress_message: str | None = None
    outcome: bytes | None = None
    value: bytes | None = None


class Store(Protocol):
    """Where tasks are remembered."""

    async def open(self, forgotten: Callable[[Sequence[str]], None]) -> dict[str, str]:
        """Take the store; count a crash for every attempt that was running when its last owner died.

        Those tasks are PENDING from here on.

        Args:
            forgotten: told on the event loop of the idempotency keys of tasks that retention has erased.

        Returns:
            Idempotency key -> task id, of all tasks that gave one.

        Raises:
            StoreLockedError: another processor has it; told at once.
            StoreFormatError: the file is no store, is damaged, or was made by a newer version.
            StoreError: it cannot be read or written; the message says what would help.
        """
        ...

    def unfinished(self) -> AsyncIterator[list[StoredTask]]:
        """Every task that has not ended, in chunks, by priority and then in order of acceptance.

        Rows that cannot be read are set aside, counted and logged, and end FAILED. Changes may be written meanwhile.

        Raises:
            StoreError: reading failed; it may be tried again from the start.
        """
        ...

    async def find(self, task_ids: Sequence[str]) -> dict[str, StoredTask]:
        """The tasks of these ids, as far as they are remembered. Sees every change written before.

        Raises:
            StoreError: reading failed.
        """
        ...

    def new_row(self) -> int:
        """A number for a task to be accepted: higher than all before, also before a restart."""
        ...

    def write(self, change: Change, done: Done | None = None) -> None:
        """Keep a change; see the rules above."""
        ...

    @property
    def pending(self) -> int:
        """How many changes were written and not yet told of. A store takes all it is given; who writes looks here."""
        ...

    async def flush(self) -> None:
        """Return once everything written before has been told of."""
        ...

    def statistics(self) -> StoreStatistics:
        """Figures of this moment; cheap."""
        ...

    async def aclose(self, timeout: float) -> None:
        """Write what is left, then let the store go.

        What cannot be written within ``timeout`` seconds is told of with a ``StoreError``. Idempotent.
        """
        ...
