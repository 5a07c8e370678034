"""Where tasks come in: checked, given room, handed to the scheduler, and kept before their submitter is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clock import Clock
from ..errors import AsyncProcessorError, ProcessorNotRunningError, QueueFullError
from ..model import ProcessingTask
from ..outcome import ErrorInfo
from ..scheduling.scheduler import Scheduler
from .intake import Intake
from .job import Job, JobFactory
from .keys import IdempotencyKeys, RepeatedKeyError
from .memory_watch import MemoryWatch
from .telling import Teller

if TYPE_CHECKING:
    from .journal import Journal
    from .recovery import Recovery


class Reception:
    """Takes tasks in, from ``open`` until ``close``.

    Args:
        scheduler: handed every task that is accepted.
        jobs: turns tasks into records.
        clock: the time.
        tell: told of what was accepted and refused.
        memory: watched as soon as a memory-intensive task comes.
        settle: carries out what the scheduler decides.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        jobs: JobFactory,
        clock: Clock,
        tell: Teller,
        memory: MemoryWatch,
        settle: Callable[[], None],
    ) -> None:
        self.keys = IdempotencyKeys(self._is_remembered)
        self.waiting = Intake(self._has_room_for, self._accept)
        self._scheduler = scheduler
        self._jobs = jobs
        self._clock = clock
        self._tell = tell
        self._memory = memory
        self._settle = settle
        self._journal: Journal | None = None
        self._recovery: Recovery | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed_because: str | None = None

    # ---- life

    def keep_in(self, journal: Journal, recovery: Recovery) -> None:
        """Accept a task only when it is kept."""
        self._journal, self._recovery = journal, recovery

    def open(self) -> None:
        """Take tasks. Not before those of earlier runs are taken up: an id must not be given twice."""
        if not self._opened.done():
            self._opened.set_result(None)

    def close(self, reason: str) -> bool:
        """Take no more, and send away who waits for room; whether it was open until now."""
        if self._closed_because is not None:
            return False
        self._closed_because = reason
        self.open()
        self.waiting.refuse_all(lambda record: self._not_running(record.id))
        return True

    @property
    def closed(self) -> bool:
        """Whether no task is taken any more."""
        return self._closed_because is not None

    # ---- submitting

    def submit_nowait(self, task: ProcessingTask) -> str:
        """Take a task in now. With a journal, it begins when it is kept; nobody is told of it if it cannot be.

        Raises:
            QueueFullError: there is no room.
            InvalidTaskError, ProcessorNotAvailableError, ProcessorNotRunningError: it is refused.
        """
        try:
            record = self._prepare(task)
            if not self._has_room_for(record.id):
                raise self._no_room(record.id)
            self._accept(record)
        except RepeatedKeyError as repeated:
            return repeated.first_id
        except AsyncProcessorError as error:
            self._tell.rejected(error)
            raise
        self._settle()
        return record.id

    async def submit(self, task: ProcessingTask) -> str:
        """Take a task in, waiting for room if need be, and until it is kept.

        Raises what ``submit_nowait`` does but ``QueueFullError``, and ``StoreError``: it cannot be kept.
        """
        try:
            if not self._opened.done():
                await asyncio.shield(self._opened)
            record = self._prepare(task)
            if self._has_room_for(record.id):
                self._accept(record)
            else:
                await self._wait_for_room(record)
            self._settle()
            if self._journal is not None:
                await self._until_stored(self._journal, record)
        except RepeatedKeyError as repeated:
            return await self._first_of(repeated)
        except AsyncProcessorError as error:
            self._tell.rejected(error)
            raise
        return record.id

    def _prepare(self, task: ProcessingTask) -> Job:
        if self._closed_because is not None or not self._opened.done():
            raise self._not_running(getattr(task, "id", None))
        record = self._jobs.make(task, None if self._journal is None else self._journal.entry)
        if task.idempotency_key is not None:
            self.keys.refuse_repeated(task.idempotency_key)
        return record

    def _accept(self, record: Job) -> None:
        """Hand a record to the scheduler, and after it those that it waits for and that wait for room."""
        task = record.task
        key = None if task is None else task.idempotency_key
        if key is not None:
            self.keys.refuse_repeated(key)
        self._scheduler.submit(record, self._clock.monotonic())
        if key is not None:
            self.keys.add(key, record.id)
        if self._journal is None or self._recovery is None:
            self._tell.submitted(record)
        else:
            self._journal.accept(record, self._on_stored)
            self._recovery.look_up_dependencies(record)
        if record.memory_mb is not None:
            self._memory.begin()
        if self.waiting.size:
            for task_id in record.depends_on:
                self.waiting.admit_id(task_id)

    def _has_room_for(self, task_id: str) -> bool:
        if not self._scheduler.has_room_for(task_id):
            return False
        if self._journal is None or self._journal.has_room:
            return True
        if self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().create_task(self._until_store_catches_up(self._journal))
        return False

    async def _until_store_catches_up(self, journal: Journal) -> None:
        await journal.flush()
        self._catching_up = None
        if not self.closed:
            self._settle()

    async def _wait_for_room(self, record: Job) -> None:
        try:
            await self.waiting.wait(record)
        except asyncio.CancelledError:
            # Cancelled in the very step in which it was let in: whoever asked does not know of the task.
            self._cancel_unseen(record)
            raise

    def _cancel_unseen(self, record: Job) -> None:
        """Cancel a task whose submitter was cancelled, if it was taken in after all."""
        if self._scheduler.find(record.id) is record:
            self._scheduler.cancel(record.id, self._clock.monotonic())
            self._settle()

    # ---- what the store says

    def _on_stored(self, record: Job, error: AsyncProcessorError | None) -> None:
        if error is None:
            self._tell.submitted(record)
            return
        if record.entry.key is not None:
            self.keys.forget([record.entry.key])
        refusal = ErrorInfo(
            type_name=type(error).__name__, message=f"task {record.id!r} was not accepted: {error}"
        )  # fmt: skip
        self._scheduler.cancel(record.id, self._clock.monotonic(), refusal)
        if record.result is not None:
            self._scheduler.forget(record.id)
        self._settle()

    async def _until_stored(self, journal: Journal, record: Job) -> None:
        try:
            await journal.until_stored(record)
        except asyncio.CancelledError:
            self._cancel_unseen(record)
            raise

    async def _first_of(self, repeated: RepeatedKeyError) -> str:
        """The id of the task that came first with a key, once it is kept."""
        first: Job | None = self._scheduler.find(repeated.first_id)
        if first is not None and self._journal is not None and first.entry is not None:
            await self._journal.until_stored(first)
        return repeated.first_id

    def _is_remembered(self, task_id: str) -> bool:
        # A store says itself which keys it has forgotten.
        return self._journal is not None or self._scheduler.find(task_id) is not None

    # ---- refusals

    def _no_room(self, task_id: str) -> QueueFullError:
        why = f"{self._scheduler.pending} tasks wait and queue_size is {self._scheduler.queue_size}"
        if self._scheduler.has_room_for(task_id):
            why = "the store has not yet written what came before"
        return QueueFullError(
            f"task {task_id!r} finds no room: {why}; use `await submit_task`, which waits for room", task_id=task_id
        )

    def _not_running(self, task_id: str | None) -> ProcessorNotRunningError:
        why = self._closed_because or "is still taking up the tasks of its store; `await submit_task` waits for that"
        return ProcessorNotRunningError(f"task {task_id!r} is not accepted: the processor {why}", task_id=task_id)
