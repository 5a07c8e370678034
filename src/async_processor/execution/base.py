"""The protocol every lane speaks, and the vocabulary it speaks in.

The engine hands a lane one ``Attempt`` at a time per slot and is told through the ``AttemptSink`` how it went.
The rules:

- All methods are called, and all reports made, on the event loop's thread. No method blocks or awaits, but
  ``start`` and ``aclose``.
- Every attempt handed to ``run`` is reported ended exactly once, also when it is stopped or abandoned. The one
  exception: after ``abandon`` nothing more need be reported, and what is reported is dropped by its token.
- ``run`` never raises: what cannot be run is reported as ``Raised``.
- The slot named by an attempt is its own until it has been reported ended or was abandoned.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..context import DependencyResults
from ..figures import LaneStatistics
from ..model import LaneName, ProcessingTask
from ..outcome import AttemptOutcome
from ..outcome import StopReason as StopReason  # noqa: PLC0414 - part of this vocabulary; lanes import it from here

ProcessorFunction = Callable[..., Any]


@dataclass(slots=True, eq=False, kw_only=True)
class Attempt:
    """One run of one task.

    Attributes:
        token: names this attempt and no other; every report carries it.
        slot: the slot it occupies, e.g. ``"thread-2"``.
        task: the task. A lane reads it, and never changes it.
        func: the processor function: called as ``func(task)`` or ``func(task, context)``.
        is_async: whether calling ``func`` gives an awaitable.
        wants_context: whether ``func`` takes the ``TaskContext``.
        number: 1 for the task's first attempt.
        max_attempts: how many attempts there may be.
        timeout: seconds it may run; the engine keeps the time and calls ``stop``. For ``TaskContext.deadline``.
        dependencies: results of the tasks it depended on.
        variables: the submitter's context variables.
        profile: whether to measure processor time and memory of this attempt.
        recycle_worker: whether the worker process should be replaced if it has grown.
    """

    token: int
    slot: str
    task: ProcessingTask
    func: ProcessorFunction
    is_async: bool
    wants_context: bool
    number: int = 1
    max_attempts: int = 1
    timeout: float | None = None
    dependencies: DependencyResults = field(default_factory=DependencyResults)
    variables: contextvars.Context | None = None
    profile: bool = False
    recycle_worker: bool = False


class AttemptSink(Protocol):
    """What a lane reports to. Called on the event loop's thread only."""

    def attempt_began(self, token: int) -> None:
        """The function is about to be called. From here the timeout counts."""
        ...

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        """The function reported how far it is."""
        ...

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        """The attempt is over and its slot free for the next."""
        ...


class Lane(Protocol):
    """A place where attempts run."""

    @property
    def name(self) -> LaneName:
        """Which lane this is."""
        ...

    @property
    def slots(self) -> Sequence[str]:
        """The names of its slots: the worker ids of the metrics."""
        ...

    @property
    def begins_at_once(self) -> bool:
        """Whether ``run`` means begun. If not, the lane reports ``attempt_began`` and the timeout counts from then."""
        ...

    @property
    def stop_grace(self) -> float:
        """Seconds the engine waits between ``stop`` and ``abandon``; 0 to abandon at once."""
        ...

    async def start(self, sink: AttemptSink) -> None:
        """Make ready. Called once, on the loop that will run everything.

        Raises:
            LaneError: the lane cannot work here at all.
        """
        ...

    def run(self, attempt: Attempt) -> None:
        """Begin an attempt; return at once."""
        ...

    def stop(self, token: int, reason: StopReason) -> None:
        """Ask a running attempt to end, by the strongest means that hurts nobody else. Unknown tokens are ignored."""
        ...

    def abandon(self, token: int) -> None:
        """Give an attempt up that did not end: replace its slot now, drop whatever it still reports."""
        ...

    def statistics(self) -> LaneStatistics:
        """Figures of this moment; cheap."""
        ...

    async def aclose(self, timeout: float) -> None:
        """End everything within ``timeout`` seconds, by force where needed. Leaves no thread waited for, no process."""
        ...
