"""A store in memory: it outlives a processor, but not the process.

For tests of what happens after a crash, without a crash: give one ``MemoryStore`` to two processors, one after the
other. It passes the same suite as the store on disk. A processor with ``store="memory:"`` has none at all: nothing
it could remember would be there after a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace

from ..errors import AsyncProcessorError, DuplicateTaskError, StoreError, StoreLockedError
from ..model import TaskStatus
from .base import (
    AttemptRetried,
    AttemptStarted,
    CancelRequested,
    Change,
    Done,
    HandedBack,
    StoredTask,
    StoreStatistics,
    TaskAccepted,
    TaskFinished,
    TaskProgressed,
)

CHUNK = 256


class MemoryStore:
    """Remembers tasks as long as this object lives.

    Args:
        max_results, result_ttl_s: how many completed tasks are remembered, and for how long.
        max_failures, failure_ttl_s: the same for tasks that ended otherwise.
        wall: tells the time, in seconds since the epoch.

    Attributes:
        failing: why nothing can be written; assigned by tests of what then happens, empty to let it work again.
    """

    def __init__(
        self,
        *,
        max_results: int = 10_000,
        result_ttl_s: float = 3_600.0,
        max_failures: int = 10_000,
        failure_ttl_s: float = 604_800.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.failing = ""
        self._limits = {True: (max_results, result_ttl_s), False: (max_failures, failure_ttl_s)}
        self._wall = wall
        self._tasks: dict[int, StoredTask] = {}
        self._rows: dict[str, int] = {}
        # In order of their ends, which is the order in which they are forgotten.
        self._ended: dict[bool, dict[int, None]] = {True: {}, False: {}}
        self._last_row = 0
        self._written: list[tuple[Change, Done | None]] = []
        self._flushed: list[asyncio.Future[None]] = []
        self._owner: asyncio.AbstractEventLoop | None = None
        self._forgotten: Callable[[Sequence[str]], None] = _nobody
        self._commits = self._changes = 0

    # ---- the protocol

    async def open(self, forgotten: Callable[[Sequence[str]], None]) -> dict[str, str]:
        """As in ``Store``."""
        if self._owner is not None:
            raise StoreLockedError("this MemoryStore has an owner: close that processor first")
        if self.failing:
            raise StoreError(f"the store cannot be opened: {self.failing}")
        self._owner = asyncio.get_running_loop()
        self._forgotten = forgotten
        for row, task in self._tasks.items():
            if task.status is TaskStatus.RUNNING:
                self._tasks[row] = replace(task, status=TaskStatus.PENDING, crashes=task.crashes + 1)
        self._retain()
        return {item.task.idempotency_key: item.task.id for item in self._tasks.values() if item.task.idempotency_key}

    async def unfinished(self) -> AsyncIterator[list[StoredTask]]:
        """As in ``Store``."""
        self._check_open()
        self._commit()
        found = [replace(task, value=None) for task in self._tasks.values() if not task.status.is_terminal]
        found.sort(key=lambda task: (task.task.priority, task.row))
        for start in range(0, len(found), CHUNK):
            self._check_open()
            yield found[start : start + CHUNK]

    async def find(self, task_ids: Sequence[str]) -> dict[str, StoredTask]:
        """As in ``Store``."""
        self._check_open()
        self._commit()
        return {item: self._tasks[self._rows[item]] for item in task_ids if item in self._rows}

    def new_row(self) -> int:
        """As in ``Store``."""
        self._last_row += 1
        return self._last_row

    def write(self, change: Change, done: Done | None = None) -> None:
        """As in ``Store``: kept in the next turn of the event loop, so that a crash can come before."""
        if self._owner is None:
            if done is not None:
                # Told in the next turn, as all else.
                asyncio.get_running_loop().call_soon(done, _closed())
            return
        self._written.append((change, done))
        if len(self._written) == 1:
            self._owner.call_soon(self._commit)

    @property
    def pending(self) -> int:
        """As in ``Store``."""
        return len(self._written)

    async def flush(self) -> None:
        """As in ``Store``."""
        self._commit()
        if self._written:
            flushed = asyncio.get_running_loop().create_future()
            self._flushed.append(flushed)
            await flushed

    def statistics(self) -> StoreStatistics:
        """As in ``Store``."""
        return StoreStatistics(
            kind="memory",
            pending_changes=self.pending,
            commits=self._commits,
            changes=self._changes,
            failing=self.failing,
        )

    async def aclose(self, timeout: float) -> None:  # noqa: ARG002 - nothing here takes time
        """As in ``Store``; what was remembered is there for the next ``open``."""
        if self._owner is None:
            return
        self._commit()
        left, self._written = self._written, []
        self._owner = None
        _tell((done, _closed()) for _, done in left)
        self._release_flushed()

    # ---- for tests

    def crash(self) -> None:
        """Let the owner lose the store as if its process had died: what was not kept is gone, and nobody is told."""
        self._written = []
        self._owner = None
        self._release_flushed()

    # ---- inner

    def _check_open(self) -> None:
        if self._owner is None:
            raise _closed()
        if self.failing:
            raise StoreError(f"the store cannot be read: {self.failing}")

    def _commit(self) -> None:
        written, self._written = self._written, []
        if not written or self._owner is None:
            return
        told = []
        for change, done in written:
            if not self.failing:
                told.append((done, self._apply(change)))
            elif isinstance(change, TaskAccepted):
                told.append((done, StoreError(f"task {change.task.id!r} cannot be stored: {self.failing}")))
            else:
                self._written.append((change, done))
        if self._written:
            self._owner.call_later(0.05, self._commit)
        self._commits += 1
        _tell(told)
        self._release_flushed()
        self._retain()

    def _release_flushed(self) -> None:
        if not self._written:
            flushed, self._flushed = self._flushed, []
            for waiter in flushed:
                if not waiter.done():
                    waiter.set_result(None)

    def _apply(self, change: Change) -> AsyncProcessorError | None:
        if isinstance(change, TaskAccepted):
            return self._accept(change)
        task = self._tasks.get(change.row)
        # Without a row, the task was refused, and what became of it concerns nobody.
        if task is not None and not task.status.is_terminal:
            self._tasks[change.row] = _changed(task, change)
            if isinstance(change, TaskFinished):
                self._ended[change.status is TaskStatus.COMPLETED][change.row] = None
        self._changes += 1
        return None

    def _accept(self, change: TaskAccepted) -> AsyncProcessorError | None:
        task_id = change.task.id
        if task_id in self._rows:
            return DuplicateTaskError(
                f"a task with the id {task_id!r} is in the store; leave the id out to get a new one",
                field="id",
                task_id=task_id,
            )
        self._rows[task_id] = change.row
        self._tasks[change.row] = StoredTask(row=change.row, task=change.task, status=TaskStatus.PENDING)
        self._changes += 1
        return None

    def _retain(self) -> None:
        """Forget what is too old or too much, but nothing that an unfinished task still depends on."""
        erased = [item for completed in self._ended for item in self._too_old(completed)]
        for item in erased:
            del self._ended[item.status is TaskStatus.COMPLETED][item.row]
            del self._tasks[item.row]
            del self._rows[item.task.id]
        keys = [item.task.idempotency_key for item in erased if item.task.idempotency_key]
        if keys:
            self._forgotten(keys)

    def _too_old(self, completed: bool) -> list[StoredTask]:
        (most, ttl), ended, now = self._limits[completed], self._ended[completed], self._wall()
        found: list[StoredTask] = []
        for row in ended:
            task = self._tasks[row]
            if len(ended) - len(found) <= most and (task.finished_at or 0.0) + ttl > now:
                break
            if not self._awaited(task.task.id):
                found.append(task)
        return found

    def _awaited(self, task_id: str) -> bool:
        return any(task_id in item.task.depends_on for item in self._tasks.values() if not item.status.is_terminal)


def _changed(task: StoredTask, change: Change) -> StoredTask:
    match change:
        case AttemptStarted():
            first = change.at if task.first_started_at is None else task.first_started_at
            return replace(
                task, status=TaskStatus.RUNNING, attempt=change.attempt, first_started_at=first,
                started_at=change.at, due=None, progress=None, progress_message=None,
            )  # fmt: skip
        case AttemptRetried():
            return replace(task, status=TaskStatus.PENDING, due=change.due, error=change.error)
        case CancelRequested():
            return replace(task, cancel_requested=True)
        case HandedBack():
            return replace(task, status=TaskStatus.PENDING)
        case TaskProgressed():
            return replace(task, progress=change.fraction, progress_message=change.message)
        case TaskFinished():
            return replace(
                task, status=change.status, finished_at=change.at, error=change.error, outcome=change.outcome,
                value=change.value, due=None,
            )  # fmt: skip
        case _:
            raise AssertionError(f"not a change of a task that is known: {change}")


def _tell(told: Iterable[tuple[Done | None, AsyncProcessorError | None]]) -> None:
    for done, error in told:
        if done is not None:
            try:
                done(error)
            except Exception as fault:  # noqa: BLE001 - of the one who is told; the others must be told all the same
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a change that was written could not be told of", "exception": fault}
                )


def _closed() -> StoreError:
    return StoreError("the store is closed")


def _nobody(_keys: Sequence[str]) -> None:
    """Nobody wants to know."""
