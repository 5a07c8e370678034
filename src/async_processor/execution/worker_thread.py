"""The thread side of the thread lane: a daemon thread that runs one attempt after another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from ..context import TaskContext
from ..outcome import AttemptOutcome, Measures, Stopped
from ..profile import profile_call
from .base import Attempt
from .calling import call, discard, failed, is_awaitable, returned
from .coroutines import HeldCoroutines
from .own_loop import OwnLoop
from .progress import ProgressRelay


class ThreadAttempt:
    """One attempt on its way through a thread.

    Attributes:
        attempt: what to run.
        worker: the thread that runs it; None while there is none.
        context: for the function, if it wants one.
        relay: carries its progress, if it has a context.
        stopping: an attempt that has not begun when this is set does not begin.
    """

    __slots__ = ("_held", "_own_loop", "_variables", "attempt", "context", "relay", "stopping", "worker")

    def __init__(self, attempt: Attempt, variables: contextvars.Context, held: HeldCoroutines) -> None:
        self.attempt = attempt
        self.worker: WorkerThread | None = None
        self.context: TaskContext | None = None
        self.relay: ProgressRelay | None = None
        self.stopping = False
        self._variables = variables
        self._held = held
        self._own_loop: OwnLoop | None = None

    def stop(self) -> None:
        """Tell the function; cancel it if it is a coroutine. On the lane's thread."""
        # Order matters, here and in ``_await``: each leaves its word before it looks for the other's.
        self.stopping = True
        if self.context is not None:
            self.context.cancelled = True
        if self._own_loop is not None:
            self._own_loop.stop()

    def perform(self) -> AttemptOutcome:
        """Run it to its end, in this thread. Never raises."""
        if self.stopping:
            return Stopped()
        if not self.attempt.profile:
            return self._outcome()
        profiled = profile_call(self._timed_outcome)
        outcome: AttemptOutcome
        outcome, cpu_time = profiled.value
        return replace(outcome, measures=Measures(cpu_time=cpu_time, profile=profiled.text))

    def _timed_outcome(self) -> tuple[AttemptOutcome, float]:
        began = time.thread_time()
        return self._outcome(), time.thread_time() - began

    def _outcome(self) -> AttemptOutcome:
        attempt = self.attempt
        try:
            if attempt.is_async:
                return self._await(None)
            value = self._variables.run(call, attempt, self.context)
            return self._await(value) if is_awaitable(value) else returned(value, attempt)
        except BaseException as error:  # noqa: BLE001 - user code ends here, and its thread must not end with it
            return failed(error)

    def _await(self, awaitable: Awaitable[Any] | None) -> AttemptOutcome:
        """Await what the function returned, or else what it is about to return, on a loop of this thread."""
        self._own_loop = OwnLoop()
        try:
            if self.stopping:
                self._own_loop.stop()
            return self._own_loop.run(self._drive(awaitable), self._variables)
        finally:
            self._own_loop = None
            discard(awaitable)  # it was stopped before it began

    async def _drive(self, awaitable: Awaitable[Any] | None) -> AttemptOutcome:
        """The border on the thread's own loop: no exception of the function's becomes one of the loop's."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        steps = awaitable
        try:
            if steps is None:
                steps = call(self.attempt, self.context)
            return returned(await steps, self.attempt)
        except BaseException as error:  # noqa: BLE001 - see above; a loop stops at SystemExit
            if asyncio.current_task(loop) is not task:  # it is being closed, not run
                self._held.cut_off(self.attempt, steps)
            return failed(error)


class WorkerThread:
    """A daemon thread with an inbox. It ends when it takes None out of it; the interpreter does not wait for it.

    Args:
        name: of the thread.
        report: told what came of each attempt, in the thread.
        died: told, in the thread, that it ends before it was told to: an exception was set in it from outside.

    Raises:
        RuntimeError: the system starts no further thread.
    """

    __slots__ = ("inbox", "thread")

    def __init__(
        self,
        name: str,
        report: Callable[[ThreadAttempt, AttemptOutcome], None],
        died: Callable[[WorkerThread, BaseException], None],
    ) -> None:
        self.inbox: SimpleQueue[ThreadAttempt | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, args=(report, died), name=name, daemon=True)
        self.thread.start()

    def _run(
        self,
        report: Callable[[ThreadAttempt, AttemptOutcome], None],
        died: Callable[[WorkerThread, BaseException], None],
    ) -> None:
        try:
            _work(self.inbox, report)
        except BaseException as error:  # noqa: BLE001 - handed to the lane, which ends the attempt and replaces the thread
            died(self, error)

    def end(self) -> None:
        """Let the thread end after the attempt it runs."""
        self.inbox.put(None)


def _work(inbox: SimpleQueue[ThreadAttempt | None], report: Callable[[ThreadAttempt, AttemptOutcome], None]) -> None:
    while (work := inbox.get()) is not None:
        report(work, work.perform())
        del work  # nothing of an attempt stays alive while its thread waits for the next
