"""The states of a task and every legal step between them.

Two rules:

1. Whatever changes a task's phase looks the change up here. A step that is not in the table is a bug of the
   scheduler, never an accident of timing: the scheduler runs on one thread and sees one event at a time.
2. This table knows nothing of attempts, slots or time. It says what may follow what.

Phases are finer than the public ``TaskStatus``: a PENDING task may wait for dependencies, for a slot or for its
next attempt, and a RUNNING one may have been asked to stop. A task that was asked to stop still holds its slot;
how it will end was decided when it was asked, so that a result that comes too late cannot change the answer
already given to whoever cancelled it.
"""

from __future__ import annotations

from enum import IntEnum, auto

from ..model import TaskStatus
from .illegal_step import IllegalStepError


# Integers: the hash of a plain enum member is computed in Python, three times as slow, and every step looks it up.
class Phase(IntEnum):
    """Where a task stands, as the scheduler sees it."""

    WAITING = auto()  # for dependencies
    READY = auto()  # for a slot
    RUNNING = auto()
    STOPPING = auto()  # asked to stop; holds its slot until the lane reports or the grace ends
    BACKOFF = auto()  # for the time of its next attempt
    FINISHED = auto()


# By names of their own: to fetch a member from its class takes ten times as long, and each task does so forty times.
WAITING, READY, RUNNING, STOPPING, BACKOFF, FINISHED = Phase


class Step(IntEnum):
    """What can happen to a task."""

    RELEASE = auto()  # its last dependency ended well
    DEFER = auto()  # the same, but it was taken up from a store in the middle of a backoff
    START = auto()
    SUCCEED = auto()
    FAIL = auto()  # for good
    RETRY = auto()  # failed, another attempt is due
    RESUME = auto()  # that attempt's time has come
    STOP = auto()  # timed out, cancelled or shut down while running
    TIME_OUT = auto()  # for good
    CANCEL = auto()


RELEASE, DEFER, START, SUCCEED, FAIL, RETRY, RESUME, STOP, TIME_OUT, CANCEL = Step

TRANSITIONS: dict[tuple[Phase, Step], Phase] = {
    (Phase.WAITING, Step.RELEASE): Phase.READY,
    (Phase.WAITING, Step.DEFER): Phase.BACKOFF,
    (Phase.WAITING, Step.CANCEL): Phase.FINISHED,
    # A dependency that nobody ever submitted, or a type that nobody registered.
    (Phase.WAITING, Step.FAIL): Phase.FINISHED,
    (Phase.READY, Step.START): Phase.RUNNING,
    (Phase.READY, Step.CANCEL): Phase.FINISHED,
    (Phase.RUNNING, Step.SUCCEED): Phase.FINISHED,
    (Phase.RUNNING, Step.FAIL): Phase.FINISHED,
    (Phase.RUNNING, Step.RETRY): Phase.BACKOFF,
    (Phase.RUNNING, Step.STOP): Phase.STOPPING,
    (Phase.STOPPING, Step.TIME_OUT): Phase.FINISHED,
    (Phase.STOPPING, Step.CANCEL): Phase.FINISHED,
    (Phase.STOPPING, Step.RETRY): Phase.BACKOFF,
    (Phase.BACKOFF, Step.RESUME): Phase.READY,
    (Phase.BACKOFF, Step.CANCEL): Phase.FINISHED,
}

# The same by number: every task looks up three steps, and a tuple to look them up by costs more than the rest.
NEXT = tuple(tuple(TRANSITIONS.get((phase, step)) for step in (None, *Step)) for phase in (None, *Phase))

FINAL_STATUS: dict[Step, TaskStatus] = {
    Step.SUCCEED: TaskStatus.COMPLETED,
    Step.FAIL: TaskStatus.FAILED,
    Step.TIME_OUT: TaskStatus.TIMEOUT,
    Step.CANCEL: TaskStatus.CANCELLED,
}

_OPEN_STATUS: dict[Phase, TaskStatus] = {
    Phase.WAITING: TaskStatus.PENDING,
    Phase.READY: TaskStatus.PENDING,
    Phase.BACKOFF: TaskStatus.PENDING,
    Phase.RUNNING: TaskStatus.RUNNING,
    Phase.STOPPING: TaskStatus.RUNNING,
}


def illegal(phase: Phase, step: Step) -> IllegalStepError:
    """The error for a step that leads nowhere from a phase."""
    return IllegalStepError(f"{step.name} is not a legal step from {phase.name}")


def open_status(phase: Phase) -> TaskStatus:
    """The public status of a task that has not ended."""
    return _OPEN_STATUS[phase]


def mermaid() -> str:
    """The table as a state diagram; the documentation shows exactly this."""
    lines = ["stateDiagram-v2"]
    for (phase, step), after in TRANSITIONS.items():
        target = FINAL_STATUS[step].name if after is Phase.FINISHED else after.name
        lines.append(f"    {phase.name} --> {target}: {step.name.lower()}")
    lines += [f"    {status.name} --> [*]" for status in FINAL_STATUS.values()]
    return "\n".join(lines)
