"""The thread lane: attempts run in daemon threads, one for each slot, started when first needed.

A thread cannot be stopped from outside. An attempt that is to stop is told through its ``TaskContext`` and given up:
its slot gets a fresh thread with the next attempt, and what the old one still reports is dropped. Threads given up
that still run are counted, and beyond a limit the lane takes no work until some of them have ended.

An async function runs on an event loop of its own in the thread, and can be cancelled there.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from ..clock import Clock
from ..errors import LaneError, LaneUnavailableError
from ..figures import LaneStatistics
from ..model import LaneName
from ..outcome import AttemptOutcome, Stopped
from .base import Attempt, AttemptSink, StopReason
from .calling import closed, make_context, refused
from .coroutines import HeldCoroutines
from .doorbell import Doorbell
from .progress import ProgressRelay
from .worker_thread import ThreadAttempt, WorkerThread

logger = logging.getLogger("async_processor.execution")

# Idle threads end within microseconds of being told; only a busy machine makes ``aclose`` wait for this long.
_JOIN_S = 0.05


class ThreadLane:
    """Runs functions in threads.

    With ``Attempt.profile`` the attempt is profiled, and the processor time of its thread measured, that of the loop
    of an async function and the profiler's own share included. Memory is not: it belongs to the whole process.

    Args:
        slots: names of the slots; part of the names of their threads.
        max_abandoned: how many threads given up may still run before the lane refuses work; 0 means 1.
        clock: for ``TaskContext.deadline``.
    """

    name = LaneName.THREAD
    begins_at_once = True
    stop_grace = 0.0

    def __init__(self, slots: Sequence[str], *, max_abandoned: int, clock: Clock) -> None:
        self.slots = tuple(slots)
        self._max_abandoned = max(1, max_abandoned)
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop
        self._sink: AttemptSink
        self._home: contextvars.Context
        self._workers: dict[str, WorkerThread] = {}
        self._running: dict[int, ThreadAttempt] = {}
        self._abandoned: set[ThreadAttempt] = set()
        self._abandoned_total = 0
        self._stale_reports = 0
        self._held = HeldCoroutines()
        # From the threads to the loop: threads append, the loop takes. One wake-up serves all that is there.
        self._reports: deque[tuple[ThreadAttempt, AttemptOutcome]] = deque()
        self._bell: Doorbell | None = None
        self._woken = False
        self._closed = False
        self._idle = asyncio.Event()

    async def start(self, sink: AttemptSink) -> None:
        """Take this loop and these context variables as home. Threads start later."""
        self._loop = asyncio.get_running_loop()
        self._home = contextvars.copy_context()
        self._sink = sink

    def run(self, attempt: Attempt) -> None:
        """Hand an attempt to its slot's thread."""
        variables = self._home.copy() if attempt.variables is None else attempt.variables
        work = ThreadAttempt(attempt, variables, self._held)
        self._running[attempt.token] = work
        worker = self._workers.get(attempt.slot)
        if worker is None or self._closed or len(self._abandoned) >= self._max_abandoned:
            try:
                worker = self._worker_for(attempt)
            except LaneUnavailableError as error:
                self._loop.call_soon(self._ended, work, refused(error), context=self._home)
                return
        work.worker = worker
        if attempt.wants_context:
            work.relay = ProgressRelay(attempt.token, self._sink, self._loop, self._home)
            work.context = make_context(attempt, work.relay.report, self._clock)
        worker.inbox.put(work)

    def stop(self, token: int, reason: StopReason) -> None:  # noqa: ARG002 - part of the protocol
        """Tell the attempt through its context, or cancel its coroutine."""
        work = self._running.get(token)
        if work is not None and not work.stopping:
            work.stop()

    def abandon(self, token: int) -> None:
        """Cut the attempt's thread off from the lane."""
        work = self._running.pop(token, None)
        if work is None:
            return
        work.stop()
        if work.relay is not None:
            work.relay.drop()
        self._abandoned_total += 1
        if work.worker is not None:
            self._abandoned.add(work)
            work.worker.end()
            if self._workers.get(work.attempt.slot) is work.worker:
                del self._workers[work.attempt.slot]

    def statistics(self) -> LaneStatistics:
        """Figures of this moment."""
        problem = self._problem()
        return LaneStatistics(
            healthy=problem is None,
            reason=problem or "",
            abandoned=len(self._abandoned) + len(self._held),
            abandoned_total=self._abandoned_total,
            stale_reports=self._stale_reports,
        )

    async def aclose(self, timeout: float) -> None:
        """Tell every attempt, wait for them at most ``timeout`` seconds, and give up what is left."""
        self._closed = True
        for work in self._running.values():
            work.stop()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._running:
                        self._idle.clear()
                        await self._idle.wait()
        finally:
            for token in list(self._running):
                self.abandon(token)
                self._sink.attempt_ended(token, Stopped())
            self._end_workers()

    # ---- threads

    def _worker_for(self, attempt: Attempt) -> WorkerThread:
        if self._closed:
            raise closed(self.name, attempt)
        problem = self._problem()
        if problem is not None:
            raise LaneUnavailableError(f"task {attempt.task.id!r} was not run: {problem}", task_id=attempt.task.id)
        worker = self._workers[attempt.slot] = self._start_worker(attempt)
        return worker

    def _start_worker(self, attempt: Attempt) -> WorkerThread:
        if self._bell is None:
            self._bell = Doorbell(self._loop, self._home, self._take_reports)
        try:
            return WorkerThread(f"async-processor {attempt.slot}", partial(self._report, self._bell), self._died)
        except (RuntimeError, MemoryError) as error:
            raise LaneUnavailableError(
                f"no thread could be started for task {attempt.task.id!r} ({error}): the system's limit of threads "
                "is reached; raise it (ulimit -u, pids.max of the container), or use fewer slots",
                task_id=attempt.task.id,
            ) from error

    def _problem(self) -> str | None:
        if self._closed:
            return "the lane is closed"
        if len(self._abandoned) < self._max_abandoned:
            return None
        return (
            f"{len(self._abandoned)} threads given up after a timeout or cancel still run, as many as "
            "max_abandoned_threads allows; give blocking calls a timeout of their own, poll "
            "TaskContext.cancelled in loops, or run such tasks in processes (cpu_intensive)"
        )

    def _end_workers(self) -> None:
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            worker.end()
        until = time.monotonic() + _JOIN_S
        for worker in workers:
            worker.thread.join(max(0.0, until - time.monotonic()))
        if self._bell is not None:
            self._bell.close()

    # ---- reports

    def _report(self, bell: Doorbell, work: ThreadAttempt, outcome: AttemptOutcome) -> None:
        """Take a report, in the thread of the attempt."""
        self._reports.append((work, outcome))
        # Order matters: whoever clears the flag looks for reports afterwards.
        if not self._woken:
            self._woken = True
            bell.ring()

    def _died(self, worker: WorkerThread, error: BaseException) -> None:
        """Take the last word of a thread, in that thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._bury, worker, error, context=self._home)

    def _bury(self, worker: WorkerThread, error: BaseException) -> None:
        """Fail what a dead thread had or was given; its slots get another with their next attempt."""
        self._take_reports()  # what it had finished counts; and it may have died on its way to wake the loop
        logger.error("a worker thread died of %s and is replaced", type(error).__name__, exc_info=error)
        for slot in [slot for slot, item in self._workers.items() if item is worker]:
            del self._workers[slot]
        self._abandoned = {work for work in self._abandoned if work.worker is not worker}
        for work in [work for work in self._running.values() if work.worker is worker]:
            task_id = work.attempt.task.id
            problem = LaneError(f"the thread of task {task_id!r} died of {type(error).__name__}", task_id=task_id)
            self._ended(work, refused(problem))

    def _take_reports(self) -> None:
        self._woken = False
        try:
            while self._reports:
                self._ended(*self._reports.popleft())
        finally:
            if self._reports:  # whoever was told raised; the other reports must not wait for the next wake-up
                self._loop.call_soon(self._take_reports, context=self._home)

    def _ended(self, work: ThreadAttempt, outcome: AttemptOutcome) -> None:
        if self._abandoned:
            self._abandoned.discard(work)
        token = work.attempt.token
        if self._running.pop(token, None) is None:
            self._stale_reports += 1
            return
        if work.relay is not None:
            work.relay.finish()
        if self._closed and not self._running:
            self._idle.set()
        # Who asked it to stop decides what that means; how the function took it does not matter.
        self._sink.attempt_ended(token, Stopped(outcome.measures) if work.stopping else outcome)
