"""Taking up what earlier runs left in the store.

What waited waits again; what ran when the process died is run again, as a further attempt. Not taken up, but ended
with an error that says why: what killed its process too often, what was asked to end, what needs data that was never
written, and what cannot be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from ..clock import Clock
from ..config import ProcessorConfig
from ..errors import StoreError, StoreFormatError
from ..model import TaskPriority, TaskResult, TaskStatus, parse_task_type
from ..outcome import ErrorInfo
from ..scheduling.scheduler import Scheduler
from ..storage.base import StoredTask
from ..storage.task_codec import RestoredTask, decode_result, decode_task
from .faults import Faults
from .job import Job, JobFactory
from .journal import Entry, Journal
from .lookup import DependencyLookup

logger = logging.getLogger("async_processor.store")

TRIES = 10
PAUSE_S = 0.2
ROWS_PER_TURN = 64


class Recovery:
    """Reads the store once, and knows what became of what was in it.

    Args:
        scheduler: handed every task that goes on.
        journal: the store.
        jobs: makes records of tasks.
        config: how often a task may lose its process, and how long it waits for its function.
        clock: the time.
        faults: told of errors of our own.
        settle: carries out what the scheduler decides.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        journal: Journal,
        jobs: JobFactory,
        config: ProcessorConfig,
        clock: Clock,
        faults: Faults,
        settle: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._jobs = jobs
        self._config = config
        self._clock = clock
        self._settle = settle
        self._lookup = DependencyLookup(journal, self._known, self.remember, faults)
        self._held: dict[str, list[Job]] = {}

    async def run(self) -> int:
        """Take up everything; how many tasks that were.

        Raises:
            StoreError: the store cannot be read, and trying again did not help.
        """
        for number in range(1, TRIES + 1):
            try:
                return await self._read()
            except StoreError as error:
                if number == TRIES:
                    raise
                logger.warning("reading the store failed and is tried again: %s", error)
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    async def _read(self) -> int:
        count = 0
        async for chunk in self._journal.unfinished():
            # What the rows before started has its turn in between, and so has the rest of the program.
            for start in range(0, len(chunk), ROWS_PER_TURN):
                # A second try begins at the beginning.
                new = [item for item in chunk[start : start + ROWS_PER_TURN] if not self._known(item.task.id)]
                for stored in new:
                    self._judge(stored)
                count += len(new)
                self._settle()
                await asyncio.sleep(0)
        return count

    def _judge(self, stored: StoredTask) -> None:
        try:
            restored = decode_task(stored.task)
        except StoreFormatError as error:
            self._end(stored, TaskStatus.FAILED, "StoreFormatError", error.message)
            return
        reason = _lost(restored, stored, self._config.max_crashes)
        if stored.cancel_requested:
            self._end(
                stored, TaskStatus.CANCELLED, "TaskCancelledError", f"task {stored.task.id!r} was cancelled by a caller"
            )
        elif reason is not None:
            self._end(stored, TaskStatus.FAILED, *reason)
        else:
            self._restore(restored, stored)

    def _restore(self, restored: RestoredTask, stored: StoredTask) -> None:
        record = self._jobs.restore(restored.task, Entry(row=stored.row))
        now, wall = self._clock.monotonic(), self._clock.wall().timestamp()
        waited = max(0.0, wall - stored.task.submitted_at)
        record.attempt = stored.attempt
        if stored.first_started_at is not None:
            record.first_started_at = now - waited + max(0.0, stored.first_started_at - stored.task.submitted_at)
        if stored.due is not None:
            # However the clock was set meanwhile, a backoff lasts no longer than the longest there is.
            record.not_before = now + min(max(0.0, stored.due - wall), 2 * self._config.retry_max_s)
        held_for = None if record.spec is not None else self._config.registration_timeout_s
        if held_for is not None:
            self._held.setdefault(stored.task.task_type, []).append(record)
        self._scheduler.submit(record, now, waited=waited, held_for=held_for)
        self.look_up_dependencies(record)

    def _end(self, stored: StoredTask, status: TaskStatus, error_type: str, error: str) -> None:
        # Somebody wished the one, nobody the others.
        level = logging.INFO if status is TaskStatus.CANCELLED else logging.ERROR
        logger.log(level, "a task of an earlier run is not taken up: %s", error)
        result = _given_up(stored, status, error_type, error)
        self._journal.end_stored(stored, result)
        self._remember(result)

    # ---- what is found out later

    def look_up_dependencies(self, record: Job) -> None:
        """Look for what a task waits for and the scheduler does not know: it may have ended in an earlier run."""
        if record.depends_on:
            known = record.dependencies or {}
            self._lookup.want(item for item in record.depends_on if item not in known)

    async def result_of(self, task_id: str) -> TaskResult | None:
        """The result of a task that only the store remembers; None if there is none."""
        stored = (await self._journal.find([task_id])).get(task_id)
        return _result_of(stored) if stored is not None and stored.status.is_terminal else None

    def remember(self, stored: StoredTask) -> None:
        """A task that somebody waits for ended in an earlier run."""
        self._remember(_result_of(stored))
        self._settle()

    def _remember(self, result: TaskResult) -> None:
        error = None if result.ok else ErrorInfo(type_name=result.error_type or "", message=result.error or "")
        record = Job(result.task_id, priority=result.priority)
        record.carry(result.task_type)
        record.result = result
        self._scheduler.remember(record, result.status, error, self._clock.monotonic())

    def type_registered(self, task_type: str) -> None:
        """A type has a function now: its tasks need not wait for that any more."""
        for record in self._held.pop(task_type, ()):
            if record.held_for is not None and not record.finished:
                lane, memory_mb = self._jobs.registered(record)
                self._scheduler.release(record.id, lane, memory_mb, self._clock.monotonic())
        self._settle()

    def waiting_for_registration(self) -> dict[str, int]:
        """Task type -> how many tasks wait for its function."""
        counts = {
            task_type: sum(not record.finished for record in records) for task_type, records in self._held.items()
        }
        return {task_type: count for task_type, count in counts.items() if count}

    def stop(self) -> None:
        """Look nothing up any more."""
        self._lookup.stop()

    def _known(self, task_id: str) -> bool:
        return self._scheduler.find(task_id) is not None


def _lost(restored: RestoredTask, stored: StoredTask, max_crashes: int) -> tuple[str, str] | None:
    """Why a task cannot go on: type and text of an error."""
    task_id = stored.task.id
    if stored.crashes >= max(max_crashes, restored.task.max_retries + 1):
        return "ProcessKilledError", (
            f"task {task_id!r} killed its process {stored.crashes} times (or ran each time when it was killed) and is "
            "given up; raise max_retries or max_crashes if it is not to blame"
        )
    if restored.missing:
        names = ", ".join(map(repr, restored.missing))
        return "EphemeralPayloadError", (
            f"task {task_id!r} needs the ephemeral payload fields {names}, which are never written to a store and were "
            "lost with the process; submit it again with them"
        )
    return None


def _result_of(stored: StoredTask) -> TaskResult:
    """The result of a task that ended in an earlier run; a failure that says so if it cannot be read."""
    try:
        return decode_result(stored)
    except StoreFormatError as error:
        return _given_up(stored, TaskStatus.FAILED, "StoreFormatError", error.message)


def _given_up(stored: StoredTask, status: TaskStatus, error_type: str, error: str) -> TaskResult:
    task = stored.task
    return TaskResult(
        task_id=task.id,
        status=status,
        error=error,
        error_type=error_type,
        attempts=stored.attempt,
        task_type=parse_task_type(task.task_type),
        priority=TaskPriority(task.priority),
        created_at=datetime.fromtimestamp(task.created_at, UTC),
    )
