"""The async lane: attempts run on the event loop, one asyncio task each.

``_drive`` is the border where user code ends. It lets nothing out but what is meant for others: a cancel that this
lane did not ask for, and Ctrl-C.

Stopping is cancelling. A coroutine that swallows its cancel is given up by closing it: ``GeneratorExit`` at the point
where it waits ends what ``except CancelledError`` did not let end, spinning in ``finally`` included. One that swallows
this too is cut off: no step of it runs again, so it uses no processor time, but its memory stays.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import opcode
import types
from collections.abc import Coroutine, Generator, Sequence
from typing import Any

from ..clock import Clock
from ..context import TaskContext
from ..figures import LaneStatistics
from ..model import LaneName
from ..outcome import NO_MEASURES, AttemptOutcome, Measures, Stopped
from .base import Attempt, AttemptSink, StopReason
from .calling import call, closed, failed, make_context, not_async, returned
from .coroutines import HeldCoroutines, Meter, put_down, silence
from .progress import ProgressRelay

# A task whose coroutine was closed needs three turns of the loop: its waiter's cancel, its wake-up, its end.
_TURNS_TO_END = 3
_RAISE = opcode.opmap["RAISE_VARARGS"]


class AsyncLane:
    """Runs async functions on the event loop.

    With ``Attempt.profile`` the processor time of a function's own steps is measured; what tasks do that it starts
    does not count. Memory is not measured: it belongs to the whole process.

    Args:
        slots: names of the slots.
        cancel_grace: seconds that a cancelled coroutine has to end, before the engine gives it up.
        clock: for ``TaskContext.deadline``.
    """

    name = LaneName.ASYNC
    begins_at_once = True

    def __init__(self, slots: Sequence[str], *, cancel_grace: float, clock: Clock) -> None:
        self.slots = tuple(slots)
        self.stop_grace = cancel_grace
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop
        self._sink: AttemptSink
        self._home: contextvars.Context
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._told: dict[int, tuple[TaskContext, ProgressRelay]] = {}
        self._stopping: set[int] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._held = HeldCoroutines()
        self._abandoned_total = 0
        self._stale_reports = 0
        self._closed = False

    async def start(self, sink: AttemptSink) -> None:
        """Take this loop and these context variables as home."""
        self._loop = asyncio.get_running_loop()
        self._home = contextvars.copy_context()
        self._sink = sink

    def run(self, attempt: Attempt) -> None:
        """Begin an attempt as a task of its own."""
        steps = self._drive(attempt)
        # To its first, empty await: from there on a cancel cannot come before the border is in place.
        steps.send(None)
        # Without variables of its own it must not inherit those of the attempt whose end made room for it.
        variables = self._home.copy() if attempt.variables is None else attempt.variables
        # Not by the loop's task factory: an eager one would call the function here, before ``run`` has returned.
        self._tasks[attempt.token] = asyncio.Task(steps, loop=self._loop, name=attempt.task.id, context=variables)

    def stop(self, token: int, reason: StopReason) -> None:  # noqa: ARG002 - part of the protocol
        """Cancel the attempt's task."""
        task = self._tasks.get(token)
        if task is None or token in self._stopping:
            return
        self._stopping.add(token)
        if token in self._told:
            self._told[token][0].cancelled = True
        task.cancel()

    def abandon(self, token: int) -> None:
        """Close the attempt's coroutine where it stands."""
        task = self._tasks.pop(token, None)
        if task is None:
            return
        self._stopping.discard(token)
        self._abandoned_total += 1
        if token in self._told:
            self._told.pop(token)[1].drop()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        silence(task)
        self._put_down(task)

    def statistics(self) -> LaneStatistics:
        """Figures of this moment. ``abandoned`` counts the coroutines that could not be ended and are held."""
        return LaneStatistics(
            healthy=not self._closed,
            reason="the lane is closed" if self._closed else "",
            abandoned=len(self._held),
            abandoned_total=self._abandoned_total,
            stale_reports=self._stale_reports,
        )

    async def aclose(self, timeout: float) -> None:
        """Cancel every attempt, wait for them at most ``timeout`` seconds, and give up what is left."""
        self._closed = True
        for token in list(self._tasks):
            self.stop(token, StopReason.SHUTDOWN)
        others = set(self._tasks.values()) - {asyncio.current_task()}
        try:
            if others:
                await asyncio.wait(others, timeout=timeout)
        finally:
            for token in list(self._tasks):
                self.abandon(token)
                self._sink.attempt_ended(token, Stopped())
        for _ in range(_TURNS_TO_END if self._ending else 0):
            await asyncio.sleep(0)

    # ---- one attempt

    async def _drive(self, attempt: Attempt) -> None:
        outcome: AttemptOutcome
        steps: Coroutine[Any, Any, Any] | None = None
        meter = Meter() if attempt.profile else None
        leaving = None
        try:
            await _first_step()
            if self._closed or not attempt.is_async:
                raise closed(self.name, attempt) if self._closed else not_async(attempt)
            steps = call(attempt, self._context(attempt) if attempt.wants_context else None)
            value = await (steps if meter is None else meter.run(steps))
            outcome = returned(value, attempt, _measured(meter))
        except BaseException as error:
            if self._is_closing(error, attempt.token):
                self._held.cut_off(attempt, steps)
                raise
            outcome = failed(error, _measured(meter))
            if self._is_for_others(error, attempt.token):
                leaving = error
        self._end(attempt.token, outcome)
        if leaving is not None:
            try:
                raise leaving
            finally:
                leaving = None  # it holds this frame

    def _context(self, attempt: Attempt) -> TaskContext:
        relay = ProgressRelay(attempt.token, self._sink, self._loop, self._home)
        context = make_context(attempt, relay.report, self._clock)
        self._told[attempt.token] = (context, relay)
        return context

    def _end(self, token: int, outcome: AttemptOutcome) -> None:
        if self._tasks.pop(token, None) is None:
            self._stale_reports += 1  # given up while it ran this very step
            return
        if self._told and token in self._told:
            self._told.pop(token)[1].finish()
        if self._stopping and token in self._stopping:
            self._stopping.remove(token)
            # Who asked it to stop decides what that means; how the function took it does not matter.
            outcome = Stopped(outcome.measures)
        self._sink.attempt_ended(token, outcome)

    # ---- ends that are not the function's own

    def _is_closing(self, error: BaseException, token: int) -> bool:
        """Whether the coroutine is being closed, by ``abandon`` or because its loop was thrown away."""
        if not isinstance(error, GeneratorExit | RuntimeError):
            return False
        task = self._tasks.get(token)
        return task is None or task is not asyncio.current_task(self._loop)

    def _is_for_others(self, error: BaseException, token: int) -> bool:
        """Whether an exception must be seen beyond this lane, although the attempt ends with it."""
        task = self._tasks.get(token)
        if task is None:
            return False
        if isinstance(error, asyncio.CancelledError):
            return task.cancelling() > (token in self._stopping)
        if isinstance(error, KeyboardInterrupt) and _is_from_signal(error):
            silence(task)  # it leaves by way of the loop
            return True
        return False

    def _put_down(self, task: asyncio.Task[None]) -> None:
        if task.done():
            return
        if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_RUNNING:  # type: ignore[arg-type]  # ours
            # Given up from within its own step: it can be closed as soon as that is over.
            self._loop.call_soon(self._put_down, task, context=self._home)
        else:
            put_down(task)


@types.coroutine
def _first_step() -> Generator[None, None, None]:
    yield


def _measured(meter: Meter | None) -> Measures:
    return NO_MEASURES if meter is None else Measures(cpu_time=meter.cpu_time)


def _is_from_signal(error: KeyboardInterrupt) -> bool:
    """Whether it is Ctrl-C rather than a ``raise`` in the function.

    The handler of Python itself leaves no frame behind: the innermost one stands at whatever it was doing. The
    handler of ``asyncio.run`` raises in a frame of its own.
    """
    traceback = error.__traceback__
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    if frame.f_globals.get("__name__") == "asyncio.runners":
        return True
    return frame.f_code.co_code[traceback.tb_lasti] != _RAISE
