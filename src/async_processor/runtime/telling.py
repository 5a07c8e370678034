"""What observers are told. Builds an event only if somebody listens for it: most of these happen once per task."""

from __future__ import annotations

import logging

from ..clock import Clock
from ..errors import (
    AsyncProcessorError,
    CyclicDependencyError,
    DuplicateTaskError,
    InvalidPayloadError,
    InvalidTaskError,
    ProcessorNotRunningError,
    QueueFullError,
    StoreError,
    UnserializableError,
)
from ..model import TaskPriority, TaskResult
from ..monitoring.hub import ObserverHub
from ..monitoring.observer import (
    AttemptEnded,
    AttemptStarted,
    TaskFinished,
    TaskProgress,
    TaskRetried,
    TaskSubmitted,
)
from ..outcome import NO_MEASURES, AttemptOutcome, ErrorInfo, Returned
from .job import Job

logger = logging.getLogger("async_processor.engine")

# By number, because looking a member up in its enum takes a call into Python. There is no priority 0.
_PRIORITIES = (TaskPriority.CRITICAL, *TaskPriority)


class Teller:
    """Turns records into events and hands them to a hub."""

    def __init__(self, hub: ObserverHub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock

    def submitted(self, record: Job) -> None:
        """A task was accepted."""
        if self._hub.task_submitted:
            self._hub.task_submitted(
                TaskSubmitted(record.id, record.type_name, _PRIORITIES[record.priority], record.submitted_at)
            )

    def attempt_started(self, record: Job) -> None:
        """An attempt took a slot."""
        if self._hub.attempt_started:
            at = record.ready_at if record.started_at is None else record.started_at
            self._hub.attempt_started(
                AttemptStarted(
                    record.id,
                    record.type_name,
                    _PRIORITIES[record.priority],
                    record.lane,
                    record.slot or "",
                    record.attempt,
                    at - record.ready_at,
                    at,
                )
            )

    def attempt_ended(self, record: Job, outcome: AttemptOutcome | None, now: float) -> None:
        """An attempt left its slot; without an outcome it was given up."""
        if self._hub.attempt_ended:
            measures = NO_MEASURES if outcome is None else outcome.measures
            self._hub.attempt_ended(
                AttemptEnded(
                    record.id,
                    record.type_name,
                    record.lane,
                    record.slot or "",
                    record.attempt,
                    isinstance(outcome, Returned),
                    0.0 if record.started_at is None else now - record.started_at,
                    now,
                    measures.cpu_time,
                    measures.peak_memory_mb,
                    measures.profile,
                    _PRIORITIES[record.priority],
                    0.0 if record.started_at is None else record.started_at - record.ready_at,
                )
            )

    def retried(self, record: Job, delay: float, error: ErrorInfo) -> None:
        """An attempt failed, another is due."""
        logger.info(
            "task %s (%s) failed attempt %d with %s; next in %.2f s",
            record.id,
            record.type_name,
            record.attempt,
            error.type_name,
            delay,
        )
        if self._hub.task_retried:
            at = self._clock.monotonic()
            self._hub.task_retried(
                TaskRetried(record.id, record.type_name, record.attempt, delay, error.type_name, at)
            )  # fmt: skip

    def progress(self, record: Job, fraction: float, message: str) -> None:
        """A running task said how far it is."""
        if self._hub.task_progress:
            self._hub.task_progress(TaskProgress(record.id, fraction, message, self._clock.monotonic()))

    def finished(self, record: Job, result: TaskResult) -> None:
        """A task ended; its job has let go of everything but the result."""
        if self._hub.task_finished:
            self._hub.task_finished(
                TaskFinished(
                    record.id,
                    record.type_name,
                    _PRIORITIES[record.priority],
                    result.status,
                    record.attempt,
                    result.execution_time,
                    record.finished_at - record.submitted_at,
                    record.finished_at,
                    result,
                )
            )

    def rejected(self, error: AsyncProcessorError) -> None:
        """A submission was refused."""
        if self._hub.submission_rejected:
            self._hub.submission_rejected(_reason(error), self._clock.monotonic())


def _reason(error: AsyncProcessorError) -> str:
    match error:
        case QueueFullError():
            return "queue_full"
        case DuplicateTaskError():
            return "duplicate"
        case CyclicDependencyError():
            return "cycle"
        case ProcessorNotRunningError():
            return "not_running"
        case InvalidTaskError() | InvalidPayloadError() | UnserializableError():
            return "invalid"
        case StoreError():
            return "store"
        case _:
            return "not_available"
