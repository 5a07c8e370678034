"""What a simulated run is to do: a random graph of tasks, each with a script for every attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

from async_processor.model import TaskPriority, TaskStatus

TIMEOUT_S = 2.0
GHOST = "never submitted"


class Act(Enum):
    """What one attempt does after its duration."""

    RETURN = auto()
    FAIL = auto()
    FAIL_FOR_GOOD = auto()
    CANCEL_ITSELF = auto()
    EXIT = auto()
    WITHDRAW = auto()  # cancels its own task, and those of all that wait for it
    OVERRUN = auto()  # goes on beyond its timeout
    SWALLOW = auto()  # as OVERRUN, and goes on for a while when it is cancelled
    CLING = auto()  # as OVERRUN, and goes on whatever happens

    @property
    def overruns(self) -> bool:
        """Whether the attempt does not end by itself in time."""
        return self in (Act.OVERRUN, Act.SWALLOW, Act.CLING)


_COMMON = [Act.RETURN] * 14 + [Act.FAIL] * 4
_RARE = list(Act)
_HINTS = [{}, {}, {"io_bound": True}, {"cpu_intensive": True}]


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """One task.

    Attributes:
        hints: which lane it is for; without a hint, the event loop.
        acts, durations: of its attempts.
        delay: virtual seconds from when its submitter is free until it is submitted.
    """

    id: str
    hints: dict[str, bool]
    priority: TaskPriority
    depends_on: tuple[str, ...]
    run_anyway: bool
    acts: tuple[Act, ...]
    durations: tuple[float, ...]
    delay: float

    @property
    def is_async(self) -> bool:
        """Whether its function is a coroutine function."""
        return not self.hints

    def outcome(self) -> tuple[TaskStatus, int]:
        """How it ends and after how many attempts, if nobody interferes."""
        for number, act in enumerate(self.acts, 1):
            if act is Act.RETURN:
                return TaskStatus.COMPLETED, number
            if act is Act.FAIL_FOR_GOOD:
                return TaskStatus.FAILED, number
            if act is Act.WITHDRAW:
                return TaskStatus.CANCELLED, number
        return (TaskStatus.TIMEOUT if self.acts[-1].overruns else TaskStatus.FAILED), len(self.acts)


def random_graph(rng: random.Random, size: int) -> list[TaskPlan]:
    """``size`` tasks without a circle, in random order: dependents come before and after what they wait for."""
    ids = [f"t{number}" for number in range(size)]
    plans = [_random_task(rng, task_id, ids[:number]) for number, task_id in enumerate(ids)]
    rng.shuffle(plans)
    return plans


def _random_task(rng: random.Random, task_id: str, earlier: list[str]) -> TaskPlan:
    hints = rng.choice(_HINTS)
    attempts = rng.choice([1, 2, 3])
    acts = [rng.choice(_RARE if rng.random() < 0.15 else _COMMON) for _ in range(attempts)]
    if hints:
        # A plain function cannot be cancelled, and has nothing to swallow; nor can it await a cancel.
        acts = [Act.OVERRUN if act.overruns or act is Act.WITHDRAW else act for act in acts]
    # Near ones, so that chains grow long.
    near = earlier[-8:]
    depends_on = rng.sample(near, min(len(near), rng.choice([0, 0, 1, 1, 2, 3])))
    if rng.random() < 0.02:
        depends_on.append(GHOST)
    return TaskPlan(
        id=task_id,
        hints=hints,
        priority=rng.choice(list(TaskPriority)),
        depends_on=tuple(depends_on),
        run_anyway=rng.random() < 0.2,
        acts=tuple(acts),
        durations=tuple(rng.choice([0.0, 0.0, 0.5, 1.0, 1.5]) for _ in range(attempts)),
        delay=rng.choice([0.0, 0.0, 0.0, 0.5]),
    )
