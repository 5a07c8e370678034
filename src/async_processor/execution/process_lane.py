"""The process lane: attempts run in worker processes, one for each slot.

Not on ``ProcessPoolExecutor``, where one dead worker breaks every task: here each worker has a socket pair of its own,
read by the event loop, and one attempt at a time. A worker that dies costs only the attempt that it ran. An attempt
that is to stop is stopped by killing its worker, with whatever the worker started; the slot gets a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..clock import Clock
from ..errors import ConfigurationError, LaneError, PermanentError
from ..figures import LaneStatistics
from ..model import LaneName
from ..outcome import AttemptOutcome, Stopped
from .base import Attempt, AttemptSink, StopReason
from .calling import closed, refused
from .process_codec import OVERHEAD_BYTES, encode
from .process_dismissed import DismissedWorkers
from .process_handle import WorkerHandle
from .process_job import JobEncoder, Limits
from .process_new import Launcher, StartMethod
from .process_slot import Slot, SlotAttempt, no_worker
from .process_starts import Starts
from .process_threads import InThread
from .process_worker import WorkerSettings

STOP_GRACE_S = 2.0
CLOSE_LAUNCHER_S = 1.0


class ProcessLane:
    """Runs functions in worker processes.

    Function, payload and result cross to another process and must be picklable; context variables stay behind.

    Args:
        slots: names of the slots, one worker process each.
        start_method: "forkserver" (fast) or "spawn" (each worker a fresh interpreter). Never fork.
        worker_start_timeout: seconds until a start counts as failed; also how long an attempt waits at most until its
            function is called.
        max_tasks_per_worker: attempts after which a worker is replaced; 0 for never.
        max_worker_memory_mb: resident memory in MiB from which on an idle worker is replaced; 0 for never.
        max_payload_bytes: largest payload as sent.
        max_result_bytes: largest result as sent.
        clock: for the pauses between failing starts.
        initializer: called without arguments in each new worker before its first attempt.
        shared_memory: False to send everything through the sockets, as happens where the system has no memfd.

    Raises:
        ConfigurationError: there is no such start method.
    """

    name = LaneName.PROCESS
    begins_at_once = False
    stop_grace = STOP_GRACE_S

    def __init__(
        self,
        slots: Sequence[str],
        *,
        start_method: StartMethod,
        worker_start_timeout: float,
        max_tasks_per_worker: int,
        max_worker_memory_mb: float,
        max_payload_bytes: int,
        max_result_bytes: int,
        clock: Clock,
        initializer: Callable[[], object] | None = None,
        shared_memory: bool = True,
    ) -> None:
        if start_method not in ("forkserver", "spawn"):
            raise ConfigurationError(f"start_method must be 'forkserver' or 'spawn', not {start_method!r}")
        self.slots = tuple(slots)
        self._limits = Limits(max_payload_bytes, max_result_bytes)
        self._timeout = worker_start_timeout
        self._max_tasks = max_tasks_per_worker
        self._max_memory_mb = max_worker_memory_mb
        self._clock = clock
        self._encoder = JobEncoder(self._limits)
        self._start_method = start_method
        self._shared_memory = shared_memory
        self._initializer = initializer
        self._initializer_bytes: bytes | None = None
        self._loop: asyncio.AbstractEventLoop
        self._home: contextvars.Context
        self._sink: AttemptSink
        self._launcher: Launcher
        self._starts: Starts | None = None
        self._slots: dict[str, Slot] = {}
        self._running: dict[int, Slot] = {}
        self._changed = asyncio.Event()
        self._dismissed = DismissedWorkers(self._changed.set)
        self._abandoned_total = 0
        self._watchdog: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self, sink: AttemptSink) -> None:
        """Begin to start workers; does not wait for them.

        Raises:
            LaneError: this system has no process groups and socket pairs, or the initializer cannot be pickled.
        """
        if os.name != "posix":
            raise LaneError("the process lane needs a POSIX system; register no cpu_intensive tasks here")
        if self._initializer is not None:
            try:
                chunks = encode(self._initializer, self._limits.payload + OVERHEAD_BYTES, "the initializer")
            except PermanentError as error:
                raise LaneError(str(error)) from error
            self._initializer_bytes = b"".join(chunks.parts)
        self._loop = asyncio.get_running_loop()
        self._home = contextvars.copy_context()
        self._sink = sink
        # Here and not at the top: it takes multiprocessing with it, which nobody needs who only imports the package.
        from .process_spawn import make_launcher

        self._launcher = make_launcher(self._start_method, shared_memory=self._shared_memory)
        self._starts = starts = Starts(
            self._launcher,
            self._settings,
            timeout=self._timeout,
            clock=self._clock,
            home=self._home,
            given_up=self._fail_waiting,
        )
        self._slots = {name: Slot(name, self, starts, self._max_tasks) for name in self.slots}
        for slot in self._slots.values():
            slot.prepare()

    def run(self, attempt: Attempt) -> None:
        """Send an attempt to its slot's worker, or let it wait for one."""
        slot, starts = self._slots.get(attempt.slot), self._starts
        if slot is None or starts is None or self._closing is not None:
            self._end_soon(attempt.token, refused(closed(self.name, attempt)))
            return
        if slot.worker is None and not starts.policy.healthy:
            self._end_soon(attempt.token, no_worker(attempt, starts.policy.reason))
            return
        try:
            job = self._encoder.encode(attempt)
        except KeyboardInterrupt:
            raise  # the user's Ctrl-C
        except BaseException as error:  # noqa: BLE001 - pickling runs user code, which may raise anything
            self._end_soon(attempt.token, refused(error))
            return
        self._running[attempt.token] = slot
        slot.run(SlotAttempt(attempt, job, self._loop.time()))
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout, self._look_for_stuck, context=self._home)

    def stop(self, token: int, reason: StopReason) -> None:  # noqa: ARG002 - part of the protocol
        """Kill the worker that runs the attempt."""
        slot = self._running.get(token)
        if slot is not None:
            self._give_back(slot.stop())

    def abandon(self, token: int) -> None:
        """Give up the attempt and its worker, which did not die although it was killed."""
        slot = self._running.pop(token, None)
        if slot is None:
            return
        self._abandoned_total += 1
        if slot.item is not None and slot.item.sent and slot.worker is not None:
            self._dismissed.abandoned.add(slot.worker)
        slot.abandon()

    def statistics(self) -> LaneStatistics:
        """Figures of this moment."""
        problem = self._problem()
        return LaneStatistics(
            healthy=not problem,
            reason=problem,
            workers={name: slot.worker.pid for name, slot in self._slots.items() if slot.worker is not None},
            replaced_workers=sum(max(0, slot.replaced) for slot in self._slots.values()),
            abandoned=len(self._dismissed.abandoned),
            abandoned_total=self._abandoned_total,
            stale_reports=self._dismissed.stale_reports,
        )

    async def aclose(self, timeout: float) -> None:
        """Kill all workers and reap them."""
        if self._starts is None:
            return
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(self._starts, timeout))
        # Whoever comes second waits for the same end, and may be cancelled without harm.
        await asyncio.shield(self._closing)

    # ---- reports of the slots

    def slot_attempt_began(self, item: SlotAttempt) -> None:
        """The function of an attempt is about to be called."""
        self._sink.attempt_began(item.attempt.token)

    def slot_attempt_progress(self, item: SlotAttempt, fraction: float, message: str) -> None:
        """The function of an attempt says how far it is."""
        self._sink.attempt_progress(item.attempt.token, fraction, message)

    def slot_attempt_ended(self, item: SlotAttempt, outcome: AttemptOutcome) -> None:
        """An attempt is over."""
        self._running.pop(item.attempt.token, None)
        if self._closing is not None:
            self._changed.set()
        self._sink.attempt_ended(item.attempt.token, outcome)

    def slot_dismissed(self, worker: WorkerHandle) -> None:
        """A worker is to go."""
        self._dismissed.add(worker)

    # ---- the rest

    def _settings(self) -> WorkerSettings:
        folder = None
        with contextlib.suppress(OSError):  # it was removed
            folder = str(Path.cwd())
        return WorkerSettings(
            parent=os.getpid(),
            environ=dict(os.environ),
            folder=folder,
            result_limit=self._limits.result,
            max_memory_mb=self._max_memory_mb,
            initializer=self._initializer_bytes,
        )

    def _problem(self) -> str:
        if self._closing is not None:
            return "the lane is closed"
        if self._starts is None or self._starts.policy.healthy:
            return ""
        return f"no worker process can be started: {self._starts.policy.reason}"

    def _end_soon(self, token: int, outcome: AttemptOutcome) -> None:
        self._loop.call_soon(self._sink.attempt_ended, token, outcome, context=self._home)

    def _give_back(self, unsent: SlotAttempt | None) -> None:
        if unsent is not None:
            self._running.pop(unsent.attempt.token, None)
            self._end_soon(unsent.attempt.token, Stopped())

    def _fail_waiting(self, reason: str) -> None:
        for slot in self._slots.values():
            slot.fail_waiting(reason)

    def _look_for_stuck(self) -> None:
        """Give up attempts whose function was not called in time: no timeout of their own counts yet."""
        self._watchdog = None
        now = self._loop.time()
        waiting = [slot for slot in self._slots.values() if slot.item is not None and not slot.item.began]
        for slot in waiting:
            slot.give_up_if_late(now - self._timeout, self._timeout)
        if waiting:
            self._watchdog = self._loop.call_later(self._timeout / 4, self._look_for_stuck, context=self._home)

    async def _close(self, starts: Starts, timeout: float) -> None:
        until = self._loop.time() + timeout
        if self._watchdog is not None:
            self._watchdog.cancel()
        starts.close(self._changed.set)
        for slot in self._slots.values():
            self._give_back(slot.close())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while len(self._dismissed) or not starts.idle or any(slot.worker for slot in self._slots.values()):
                    self._changed.clear()
                    await self._changed.wait()
        for token, slot in list(self._running.items()):
            # Killed long ago, and still there: the system does not let go of it.
            slot.abandon()
            self._end_soon(token, Stopped())
        self._running.clear()
        await self._close_launcher(max(CLOSE_LAUNCHER_S, until - self._loop.time()))

    async def _close_launcher(self, timeout: float) -> None:
        ended = self._loop.create_future()

        def done(_: None, __: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(None)

        try:
            InThread(self._loop, self._home, self._launcher.close, done)
        except RuntimeError:
            self._launcher.close()  # blocks for some milliseconds; there is no thread to be had
        else:
            await asyncio.wait({ended}, timeout=timeout)
