"""What the scheduler remembers of one task, and what it asks its caller to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..model import LaneName, TaskPriority, TaskStatus
from ..outcome import AttemptOutcome, ErrorInfo, StopReason
from .lifecycle import FINAL_STATUS, FINISHED, NEXT, WAITING, Phase, Step, illegal, open_status


class TaskRecord:
    """One task inside the scheduler. Fields change only in ``scheduling/``; others read.

    A caller may submit records of a class of its own, derived from this one, and gets them back as they are: in
    commands and by ``Scheduler.find``.

    Attributes:
        id: the task's id.
        lane: where its attempts run.
        priority: as submitted. ``urgency`` is the priority it has now: the most urgent among its own and
            those of all tasks that wait for it.
        depends_on: ids of its dependencies, without repeats.
        run_anyway: whether it runs also when a dependency did not complete.
        memory_mb: memory to set aside while it runs; None if it is not memory-intensive.
        seq: order of submission.
        attempt: number of the attempt that runs or ran last; 0 before the first.
        token, slot: of the running attempt.
        dependencies: the records of its dependencies, as far as they were submitted.
        unmet: how many dependencies have not ended, or not been submitted.
        dependents: records that wait for this one.
        lent: how many unfinished dependents there are of each urgency; None before the first.
        root: the id of the task whose end made this one be cancelled.
        cause: how that task ended and why, in words.
        started_at, ended_at: of the last attempt.
        not_before: when its next attempt may start at the earliest, if it was taken up in the middle of a backoff.
        held_for: for how many seconds it waits for ``Scheduler.release``, beside its dependencies; None for not at all.
        left: whether it was ended only because the processor shuts down, with its work still to be done.
        error: what went wrong, of the last failed attempt or for good.
        outcome: what the last attempt reported.
    """

    __slots__ = (
        "_final",
        "attempt",
        "cause",
        "deadline",
        "dependencies",
        "dependency_timeout",
        "dependents",
        "depends_on",
        "ended_at",
        "error",
        "finished_at",
        "first_started_at",
        "held_for",
        "id",
        "lane",
        "left",
        "lent",
        "max_retries",
        "memory_mb",
        "not_before",
        "outcome",
        "phase",
        "priority",
        "ready_at",
        "root",
        "run_anyway",
        "seq",
        "slot",
        "started_at",
        "stop_reason",
        "submitted_at",
        "timeout",
        "token",
        "unmet",
        "urgency",
    )  # fmt: skip

    def __init__(
        self,
        task_id: str,
        *,
        lane: LaneName = LaneName.ASYNC,
        priority: TaskPriority = TaskPriority.NORMAL,
        timeout: float | None = None,
        max_retries: int = 0,
        depends_on: tuple[str, ...] = (),
        run_anyway: bool = False,
        dependency_timeout: float = 300.0,
        memory_mb: float | None = None,
    ) -> None:
        self.id = task_id
        self.lane = lane
        # Plain integers compare several times faster than enum members, and the heap does little else.
        self.priority = int(priority)
        self.urgency = int(priority)
        self.timeout = timeout
        self.max_retries = max_retries
        self.depends_on = depends_on
        self.run_anyway = run_anyway
        self.dependency_timeout = dependency_timeout
        self.memory_mb = memory_mb
        self.phase: Phase = WAITING
        self.seq = -1
        self.attempt = 0
        self.token = -1
        self.slot: str | None = None
        self.dependencies: dict[str, TaskRecord] | None = None
        self.unmet = 0
        self.dependents: dict[TaskRecord, None] | None = None
        self.lent: list[int] | None = None
        self.root: str | None = None
        self.cause: str | None = None
        self.error: ErrorInfo | None = None
        self.outcome: AttemptOutcome | None = None
        self.stop_reason: StopReason | None = None
        self.submitted_at = 0.0
        self.ready_at = 0.0
        self.first_started_at: float | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.finished_at = 0.0
        self.deadline: float | None = None
        self.not_before = 0.0
        self.held_for: float | None = None
        self.left = False
        self._final: TaskStatus | None = None

    def advance(self, step: Step) -> None:
        """Take a step of the lifecycle table.

        Raises:
            IllegalStepError: the table does not hold it.
        """
        after = NEXT[self.phase][step]
        if after is None:
            raise illegal(self.phase, step)
        self.phase = after
        if after is FINISHED:
            self._final = FINAL_STATUS[step]

    def restore(self, status: TaskStatus) -> None:
        """Make this the record of a task that ended in an earlier run: no step leads there from here."""
        self.phase = FINISHED
        self._final = status

    @property
    def waits(self) -> bool:
        """Whether there is something that it must wait for before it may start."""
        return self.unmet > 0 or self.held_for is not None

    @property
    def finished(self) -> bool:
        """Whether the task has ended."""
        return self._final is not None

    @property
    def status(self) -> TaskStatus:
        """The public status."""
        return self._final if self._final is not None else open_status(self.phase)

    def __repr__(self) -> str:
        return f"<TaskRecord {self.id} {self.phase.name} {self.status} attempt {self.attempt} urgency {self.urgency}>"


# The record of a command is of the class of which it was submitted.


class Start(NamedTuple):
    """Begin an attempt of this task in ``record.slot`` under ``record.token``."""

    record: Any
    token: int


class Stop(NamedTuple):
    """Ask the attempt to end."""

    record: Any
    token: int
    reason: StopReason


class Abandon(NamedTuple):
    """The attempt did not end: give it up and replace its slot."""

    record: Any
    token: int


class Finish(NamedTuple):
    """The task has ended: publish its result, once."""

    record: Any


class Retried(NamedTuple):
    """An attempt failed with ``error``; another is due in ``delay`` seconds."""

    record: Any
    delay: float
    error: ErrorInfo


Command = Start | Stop | Abandon | Finish | Retried


class LaneTraits(NamedTuple):
    """What the scheduler must know of a lane.

    Attributes:
        slots: names of its slots.
        begins_at_once: whether a started attempt has begun, so that its timeout counts.
        stop_grace: seconds from asking an attempt to stop until it is abandoned.
    """

    slots: tuple[str, ...]
    begins_at_once: bool = True
    stop_grace: float = 1.0


Lanes = Mapping[LaneName, LaneTraits]
