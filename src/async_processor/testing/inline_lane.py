"""A lane that runs everything on the event loop.

It passes the same suite as the real lanes (``tests/execution/test_lane_conformance.py``), so what holds with it holds
with them as far as the protocol goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..clock import Clock, SystemClock
from ..context import TaskContext
from ..execution.base import Attempt, AttemptSink
from ..execution.calling import call, failed, make_context, returned
from ..figures import LaneStatistics
from ..model import LaneName
from ..outcome import AttemptOutcome, Stopped, StopReason
from .loop import VirtualTimeLoop
from .slots import Slots


@dataclass(slots=True, eq=False)
class _Running:
    attempt: Attempt
    context: TaskContext
    task: asyncio.Task[AttemptOutcome] | None = None
    asked: StopReason | None = None


class InlineLane:
    """A lane without threads and processes: each attempt is a task on the event loop, sync functions included.

    Args:
        name: which lane it stands in for.
        slots: how many slots it has, or their names.
        begins_at_once: whether ``run`` means begun, as in the async lane. If not, it reports ``attempt_began``.
        stop_grace: seconds between ``stop`` and ``abandon``.
        duration: seconds that an attempt takes before its function is called, for functions that cannot wait
            themselves; virtual ones on a ``VirtualTimeLoop``.
        clock: for ``TaskContext.deadline``; the loop's own when not given.
    """

    def __init__(
        self,
        name: LaneName = LaneName.ASYNC,
        slots: int | Sequence[str] = 1,
        *,
        begins_at_once: bool = True,
        stop_grace: float = 1.0,
        duration: Callable[[Attempt], float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._slots = Slots(name, slots)
        self._begins_at_once = begins_at_once
        self._stop_grace = stop_grace
        self._duration = duration
        self._clock = clock
        self._sink: AttemptSink | None = None
        self._running: dict[int, _Running] = {}
        self._abandoned: dict[int, _Running] = {}
        self._abandoned_total = 0
        self._stale_reports = 0

    @property
    def name(self) -> LaneName:
        """Which lane it stands in for."""
        return self._name

    @property
    def begins_at_once(self) -> bool:
        """As given."""
        return self._begins_at_once

    @property
    def stop_grace(self) -> float:
        """As given."""
        return self._stop_grace

    @property
    def slots(self) -> Sequence[str]:
        """The names of its slots."""
        return self._slots.names

    async def start(self, sink: AttemptSink) -> None:
        """Report to ``sink`` from now on."""
        self._sink = sink
        if self._clock is None:
            loop = asyncio.get_running_loop()
            self._clock = loop.clock if isinstance(loop, VirtualTimeLoop) else SystemClock()

    def run(self, attempt: Attempt) -> None:
        """Make a task of the attempt; it begins when the loop comes to it.

        Raises:
            AssertionError: its slot is occupied.
        """
        self._slots.take(attempt)
        progress = partial(self._progress, attempt.token)
        running = _Running(attempt, make_context(attempt, progress, self._clock or SystemClock()))
        self._running[attempt.token] = running
        variables = None if attempt.variables is None else attempt.variables.copy()
        name = f"{attempt.slot} {attempt.task.id} #{attempt.number}"
        running.task = asyncio.get_running_loop().create_task(self._perform(running), name=name, context=variables)
        running.task.add_done_callback(lambda task: self._ended(running, task))

    def stop(self, token: int, reason: StopReason) -> None:
        """Cancel the attempt's task."""
        running = self._running.get(token)
        if running is not None and running.task is not None:
            running.asked = reason
            running.context.cancelled = True
            running.task.cancel()

    def abandon(self, token: int) -> None:
        """Leave the attempt to itself."""
        running = self._running.pop(token, None)
        if running is not None:
            running.context.cancelled = True
            self._slots.release(running.attempt)
            self._abandoned[token] = running
            self._abandoned_total += 1

    def statistics(self) -> LaneStatistics:
        """What was abandoned; it is always healthy."""
        return LaneStatistics(
            abandoned=len(self._abandoned),
            abandoned_total=self._abandoned_total,
            stale_reports=self._stale_reports,
        )

    async def aclose(self, timeout: float) -> None:
        """Stop everything, and abandon what has not ended after ``timeout``."""
        for token in list(self._running):
            self.stop(token, StopReason.SHUTDOWN)
        tasks = [item.task for item in (*self._running.values(), *self._abandoned.values()) if item.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        for token in list(self._running):
            self.abandon(token)
            self._report().attempt_ended(token, Stopped())

    # ---- one attempt

    async def _perform(self, running: _Running) -> AttemptOutcome:
        attempt = running.attempt
        if not self._begins_at_once:
            self._report().attempt_began(attempt.token)
        try:
            if self._duration is not None:
                await asyncio.sleep(self._duration(attempt))
            value = call(attempt, running.context if attempt.wants_context else None)
            return returned(await value if attempt.is_async else value, attempt)
        except GeneratorExit as error:
            if asyncio.current_task() is not running.task:
                raise  # the loop is gone and this coroutine thrown away: nobody is left to be told
            return failed(error)
        except BaseException as error:  # noqa: BLE001 - user code ends here, and SystemExit in it is a failure of its own
            return failed(error)

    def _ended(self, running: _Running, task: asyncio.Task[AttemptOutcome]) -> None:
        token = running.attempt.token
        # A task that is cancelled before its first step never comes to the end of ``_perform``.
        outcome = failed(asyncio.CancelledError()) if task.cancelled() else task.result()
        if self._abandoned.pop(token, None) is not None:
            self._stale_reports += 1
            return
        del self._running[token]
        self._slots.release(running.attempt)
        # Who asked to stop decides what it means, however the function took it.
        self._report().attempt_ended(token, Stopped() if running.asked else outcome)

    def _progress(self, token: int, fraction: float, message: str) -> None:
        if token in self._running:
            self._report().attempt_progress(token, fraction, message)

    def _report(self) -> AttemptSink:
        assert self._sink is not None, "the lane was not started"  # noqa: S101 - a fake for tests
        return self._sink
