"""What the engine tells whoever watches.

An ``Observer`` overrides the hooks it needs. Hooks are called on the event loop's thread, must return at once and
must not call back into the processor. One that raises is removed and logged; no task notices.
Times are seconds of the monotonic clock.
"""

from __future__ import annotations

from typing import NamedTuple

from ..model import LaneName, TaskPriority, TaskResult, TaskStatus


class TaskSubmitted(NamedTuple):
    """A task was accepted."""

    task_id: str
    task_type: str
    priority: TaskPriority
    at: float


class AttemptStarted(NamedTuple):
    """An attempt took a slot. ``waited`` counts from the moment the task could have started."""

    task_id: str
    task_type: str
    priority: TaskPriority
    lane: LaneName
    slot: str
    attempt: int
    waited: float
    at: float


class AttemptEnded(NamedTuple):
    """An attempt left its slot. ``ran`` and ``waited`` are in seconds, the latter until the attempt began.

    Of ``cpu_time``, ``peak_memory_mb`` and ``profile`` those are None that were not measured; ``profile`` is the text
    that ``profile.profile_call`` gives.
    """

    task_id: str
    task_type: str
    lane: LaneName
    slot: str
    attempt: int
    succeeded: bool
    ran: float
    at: float
    cpu_time: float | None
    peak_memory_mb: float | None
    profile: str | None = None
    priority: TaskPriority = TaskPriority.NORMAL
    waited: float = 0.0


class TaskRetried(NamedTuple):
    """An attempt failed and another is due in ``delay`` seconds."""

    task_id: str
    task_type: str
    attempt: int
    delay: float
    error_type: str
    at: float


class TaskProgress(NamedTuple):
    """A running task said how far it is."""

    task_id: str
    fraction: float
    message: str
    at: float


class TaskFinished(NamedTuple):
    """A task ended. ``ran`` is of the last attempt, 0.0 if none started; ``total`` is from submit to end."""

    task_id: str
    task_type: str
    priority: TaskPriority
    status: TaskStatus
    attempts: int
    ran: float
    total: float
    at: float
    result: TaskResult


class Observer:
    """No-op hooks; subclass and override what you need."""

    def started(self, at: float) -> None:
        """The processor takes work."""

    def task_submitted(self, event: TaskSubmitted) -> None:
        """A task was accepted."""

    def attempt_started(self, event: AttemptStarted) -> None:
        """An attempt took a slot."""

    def attempt_ended(self, event: AttemptEnded) -> None:
        """An attempt left its slot."""

    def task_retried(self, event: TaskRetried) -> None:
        """Another attempt is due."""

    def task_progress(self, event: TaskProgress) -> None:
        """A task said how far it is."""

    def task_finished(self, event: TaskFinished) -> None:
        """A task ended."""

    def submission_rejected(self, reason: str, at: float) -> None:
        """A task was refused: queue_full, duplicate, cycle, invalid, not_available or not_running."""

    def stopped(self, at: float) -> None:
        """The processor ended."""
