"""Between the engine and its store: each thing is kept before it is acted on.

- A task is accepted when it is kept; until then its submitter waits.
- An attempt begins when its start is kept, so that it is counted even if it kills this process.
- A result is out when the end is kept; until then the task has not ended for anybody outside.

Changes are written in the order in which the scheduler decided them, and a store keeps that order. So the end of a
task is kept before the start of those that waited for it, and acceptance and first start of an urgent task often go
into one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from functools import partial

from ..clock import Clock
from ..config import ProcessorConfig
from ..errors import AsyncProcessorError, InvalidTaskError, UnserializableError
from ..figures import StoreStatistics
from ..model import ProcessingTask, TaskResult
from ..outcome import ErrorInfo, Raised, Returned
from ..storage.base import (
    AttemptRetried,
    AttemptStarted,
    CancelRequested,
    EncodedTask,
    HandedBack,
    Store,
    StoredTask,
    TaskAccepted,
    TaskFinished,
    TaskProgressed,
)
from ..storage.codec import encode_value
from ..storage.task_codec import encode_outcome, encode_task
from .job import Job

logger = logging.getLogger("async_processor.store")

# What is told once a change is kept. Each is bound by ``partial`` and not by a closure: a closure takes a cell for
# each name, and what the garbage collector has to look at for each task is a large part of what a task costs.
Accepted = Callable[[Job, AsyncProcessorError | None], None]
Begin = Callable[[Job, int], None]
Publish = Callable[[Job, TaskResult], None]

PROGRESS_INTERVAL_S = 1.0
# Of each task that waits or runs its acceptance, a start and an end may be on their way to the disk at once. Only what
# ends without ever having begun, cancelled as fast as it comes in, can make more.
CHANGES_PER_TASK = 4
# What bytes and lengths of small values take beyond the values themselves.
SLACK_BYTES = 1_000_000
# How long the time of day is counted on before the clock is looked at again.
_LOOK_S = 0.010


class Entry:
    """What the journal knows of one task.

    Attributes:
        encoded: the task in bytes, until it is written.
        row: its number in the store; 0 before it is written.
        key: the idempotency key, if the caller gave one.
        value: the result in bytes, from the end of the attempt until it is written.
        stored: whether the store has told what became of the task's acceptance.
        refused: why it was not accepted.
        waiters: whoever waits for that: its submitter, and others who came with the same idempotency key; None for
            nobody. With a list of its own, each task would be one more object to look at for the garbage collector.
        progress_at: when progress was last written.
    """

    __slots__ = ("encoded", "key", "progress_at", "refused", "row", "stored", "value", "waiters")

    def __init__(self, encoded: EncodedTask | None = None, row: int = 0) -> None:
        self.encoded = encoded
        self.row = row
        self.key = None if encoded is None else encoded.idempotency_key
        self.value: bytes | None = None
        self.stored = encoded is None
        self.refused: AsyncProcessorError | None = None
        self.waiters: list[asyncio.Future[None]] | None = None
        self.progress_at = float("-inf")


class Journal:
    """Writes what happens into a store, and tells when it is kept.

    Args:
        store: where to.
        clock: dates what is written.
        config: how large payloads and results may be. Checked again in bytes: what is shared within a value is counted
            once by ``payload_size``, and written as often as it is met.
        capacity: how many tasks may wait and run; bounds what is on its way to the disk.
    """

    def __init__(self, store: Store, clock: Clock, config: ProcessorConfig, *, capacity: int) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._starting: dict[int, Job] = {}
        self._finishing = 0
        self._max_pending = CHANGES_PER_TASK * capacity
        self._looked = self._wall = float("-inf")

    # ---- life

    async def open(self, forgotten: Callable[[Iterable[str]], None]) -> dict[str, str]:
        """Take the store; gives the idempotency keys in it. Raises what ``Store.open`` raises."""
        return await self._store.open(forgotten)

    def unfinished(self) -> AsyncIterator[list[StoredTask]]:
        """The tasks of earlier runs that have not ended."""
        return self._store.unfinished()

    async def find(self, task_ids: list[str]) -> dict[str, StoredTask]:
        """What the store knows of these tasks."""
        return await self._store.find(task_ids)

    async def aclose(self, timeout: float) -> None:
        """Write what is left and let the store go."""
        await self._store.aclose(timeout)

    @property
    def quiet(self) -> bool:
        """Whether no attempt waits to begin and no result to come out."""
        return not self._starting and not self._finishing

    @property
    def has_room(self) -> bool:
        """Whether the disk keeps up, so that a further task may come in. All other changes are always taken."""
        return self._store.pending < self._max_pending

    async def flush(self) -> None:
        """Return once what is on its way has been told of."""
        await self._store.flush()

    def statistics(self) -> StoreStatistics:
        """Figures of the store."""
        return self._store.statistics()

    # ---- taking tasks in

    def entry(self, task: ProcessingTask) -> Entry:
        """Put a task into bytes.

        Raises:
            UnserializableError: it cannot be kept as it is.
            InvalidTaskError: it would be too large.
        """
        encoded = encode_task(task, self._now())
        limit = self._config.max_payload_bytes + SLACK_BYTES
        if len(encoded.spec) > limit:
            raise InvalidTaskError(
                f"the payload of task {task.id!r} takes {len(encoded.spec):,} bytes in the store, more than "
                "max_payload_bytes; what it holds several times is written as often",
                field="payload",
                task_id=task.id,
            )
        return Entry(encoded)

    def accept(self, record: Job, told: Accepted) -> None:
        """Write that a task was handed in; ``told`` whether it is kept."""
        entry: Entry = record.entry
        assert entry.encoded is not None, f"{record} is accepted twice"  # noqa: S101 - the scheduler refuses that
        entry.row = self._store.new_row()
        change = TaskAccepted(entry.row, entry.encoded)
        entry.encoded = None
        self._store.write(change, partial(self._accepted, record, told))

    @staticmethod
    def _accepted(record: Job, told: Accepted, error: AsyncProcessorError | None) -> None:
        entry: Entry = record.entry
        entry.stored, entry.refused = True, error
        try:
            told(record, error)
        finally:
            waiters, entry.waiters = entry.waiters, None
            for waiter in waiters or ():
                if not waiter.done():
                    waiter.set_result(None)

    async def until_stored(self, record: Job) -> None:
        """Return once a task is kept.

        Raises:
            AsyncProcessorError: it is not, and why.
        """
        entry: Entry | None = record.entry
        if entry is None:
            return  # it has ended since, and its end is kept
        if not entry.stored:
            waiter: asyncio.Future[None] = self._loop.create_future()
            if entry.waiters is None:
                entry.waiters = [waiter]
            else:
                entry.waiters.append(waiter)
            await waiter
        if entry.refused is not None:
            raise entry.refused

    # ---- attempts

    def start(self, record: Job, token: int, begin: Begin) -> None:
        """Write that an attempt starts, then ``begin`` it; not if ``withdraw`` comes first."""
        self._starting[token] = record
        change = AttemptStarted(record.entry.row, record.attempt, self._now())
        self._store.write(change, partial(self._started, token, begin))

    def _started(self, token: int, begin: Begin, error: AsyncProcessorError | None) -> None:
        record = self._starting.pop(token, None)
        # With an error the store is closed, and so is the engine: nothing begins any more.
        if record is not None and error is None:
            begin(record, token)

    def withdraw(self, token: int) -> bool:
        """Do not begin this attempt. Whether it had not begun."""
        return self._starting.pop(token, None) is not None

    def retried(self, record: Job, delay: float, error: ErrorInfo) -> None:
        """Write that an attempt failed and another is due."""
        due = self._now() + delay
        self._store.write(AttemptRetried(record.entry.row, record.attempt, due, error.message))

    def cancelling(self, record: Job) -> None:
        """Write that a running task was asked to end for good."""
        self._store.write(CancelRequested(record.entry.row))

    def progressed(self, record: Job, fraction: float, message: str) -> None:
        """Write how far a task is, now and then."""
        entry: Entry = record.entry
        now = self._clock.monotonic()
        if now - entry.progress_at >= PROGRESS_INTERVAL_S:
            entry.progress_at = now
            self._store.write(TaskProgressed(entry.row, fraction, message))

    # ---- ends

    def examined(self, record: Job, outcome: Returned) -> Returned | Raised:
        """Put a result into bytes; a result that cannot be kept is a failure that no retry can mend."""
        try:
            value = encode_value(outcome.value, "result")
        except UnserializableError as error:
            return _unkept(record, outcome, "UnserializableError", error.message)
        if len(value) > self._config.max_result_bytes + SLACK_BYTES:
            return _unkept(record, outcome, "SizeLimitError", f"it takes {len(value):,} bytes, over max_result_bytes")
        record.entry.value = value
        return outcome

    def finish(self, record: Job, result: TaskResult, publish: Publish) -> None:
        """Write how a task ended, then ``publish`` its result."""
        entry: Entry = record.entry
        if entry.refused is not None or record.left:
            if record.left and record.attempt:
                self._store.write(HandedBack(entry.row))
            publish(record, result)
            return
        self._finishing += 1
        self._store.write(_end_of(record, result), partial(self._finished, record, result, publish))

    def _finished(self, record: Job, result: TaskResult, publish: Publish, error: AsyncProcessorError | None) -> None:
        self._finishing -= 1
        if error is not None:
            logger.error("the end of task %s could not be stored, it will run again: %s", record.id, error)
        publish(record, result)
        if error is None:
            # A result is remembered for long. What the journal knew of its task is of no use any more.
            record.entry = None

    def end_stored(self, stored: StoredTask, result: TaskResult) -> None:
        """Write the end of a task that is in the store and cannot be taken up."""
        self._store.write(
            TaskFinished(stored.row, result.status, self._now(), result.error, encode_outcome(result), None)
        )  # fmt: skip

    def _now(self) -> float:
        """The time of day. Its clock is dear and may be set: looked at every 10 ms, and counted on from there."""
        now = self._clock.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked, self._wall = now, _seconds(self._clock.wall())
        return self._wall + (now - self._looked)


def _end_of(record: Job, result: TaskResult) -> TaskFinished:
    entry: Entry = record.entry
    # The result of an attempt that was stopped may have come too late: only what completed has one.
    value, entry.value = (entry.value if result.ok else None), None
    return TaskFinished(
        entry.row, record.status, _seconds(result.completed_at), result.error, encode_outcome(result), value
    )  # fmt: skip


def _seconds(time: datetime) -> float:
    return time.timestamp()


def _unkept(record: Job, outcome: Returned, kind: str, why: str) -> Raised:
    message = f"task {record.id!r}: the result cannot be stored: {why}"
    return Raised(ErrorInfo(type_name=kind, message=message, permanent=True), outcome.measures)
