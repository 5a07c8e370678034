"""Starts workers for whoever wishes for one, and keeps failing starts from becoming a loop.

While all is well every wish is a start at once. After a failure starts are tried one at a time, with growing pauses;
after five failures in a row whoever waits is told that there will be no worker for now. The first start that succeeds
ends all that.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..clock import Clock
from ..outcome import ErrorInfo
from .process_exit import Exit
from .process_handle import WorkerHandle, WorkerListener
from .process_new import Launcher, NewWorker
from .process_threads import InThread
from .process_worker import WorkerSettings

logger = logging.getLogger("async_processor.execution")

FAILURES_UNTIL_UNHEALTHY = 5
# Doubled with each failure in a row; until the lane is unhealthy, and from then on.
_FIRST_PAUSE_S = 0.05
_FIRST_UNHEALTHY_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 5.0


class StartPolicy:
    """When to try again, and when to say that there are no workers. Told the time, it needs no clock.

    Attributes:
        failures: in a row.
        healthy: whether starts succeed, as far as is known.
        reason: why the last start failed.
        next_at: when the next start may be tried.
    """

    __slots__ = ("_failed_at", "failures", "healthy", "next_at", "reason")

    def __init__(self) -> None:
        self.failures = 0
        self.healthy = True
        self.reason = ""
        self.next_at = 0.0
        self._failed_at = float("-inf")

    def failed(self, reason: str, now: float, *, begun: float) -> None:
        """A start begun at that time failed, or its worker died before it was of any use."""
        self.reason = reason
        if begun <= self._failed_at:
            return  # begun together with one that has failed already: one cause, one failure
        self._failed_at = now
        self.failures += 1
        self.healthy = self.healthy and self.failures < FAILURES_UNTIL_UNHEALTHY
        self.next_at = now + _pause(self.failures)

    def succeeded(self, now: float) -> None:
        """A worker is ready. Whether it is of use is yet to be seen: the failures are not forgotten."""
        self.healthy = True
        self.next_at = now

    def proved(self) -> None:
        """A worker took an attempt."""
        self.failures = 0


def _pause(failures: int) -> float:
    beyond = failures - FAILURES_UNTIL_UNHEALTHY
    if beyond < 0:
        return _FIRST_PAUSE_S * 2.0 ** (failures - 1)
    return min(_FIRST_UNHEALTHY_PAUSE_S * 2.0 ** min(beyond, 10), _LONGEST_PAUSE_S)


class Wish(NamedTuple):
    """Somebody's wish for a worker process of that name. ``granted`` is called with it, once, when it is ready."""

    name: str
    granted: Callable[[WorkerHandle], None]


class Starts:
    """Carries out wishes for workers. On the event loop; the starting itself happens in threads.

    Args:
        launcher: starts processes.
        make_settings: what a worker started now is told.
        timeout: seconds until a start counts as failed.
        clock: for the pauses.
        home: the context variables to work in.
        given_up: told the reason when there will be no worker for now.
    """

    def __init__(
        self,
        launcher: Launcher,
        make_settings: Callable[[], WorkerSettings],
        *,
        timeout: float,
        clock: Clock,
        home: contextvars.Context,
        given_up: Callable[[str], None],
    ) -> None:
        self.policy = StartPolicy()
        self.launcher = launcher
        self.make_settings = make_settings
        self.timeout = timeout
        self.clock = clock
        self.home = home
        self.loop = asyncio.get_running_loop()
        self._given_up = given_up
        self._waiting: deque[Wish] = deque()
        self._under_way: set[_Start] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._on_idle: Callable[[], None] = lambda: None

    def wish(self, name: str, granted: Callable[[WorkerHandle], None]) -> None:
        """Ask for a worker."""
        self._waiting.append(Wish(name, granted))
        self._go_on()

    def failed_early(self, exit_code: int | None) -> None:
        """A worker that was ready died before it took an attempt. Must not become a loop either."""
        now = self.clock.monotonic()
        self.policy.failed(f"{Exit(exit_code).in_words()} before it took an attempt", now, begun=now)

    def close(self, on_idle: Callable[[], None]) -> None:
        """Grant no more wishes, and end what is under way. ``on_idle`` is called whenever something has ended."""
        self._closed = True
        self._on_idle = on_idle
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        for start in self._under_way:
            start.give_up()

    @property
    def idle(self) -> bool:
        """Whether no start is under way."""
        return not self._under_way

    # ---- reports of a start

    def granted(self, start: _Start, worker: WorkerHandle) -> None:
        """It succeeded."""
        self._under_way.discard(start)
        self.policy.succeeded(self.clock.monotonic())
        start.wish.granted(worker)
        self._go_on()

    def failed(self, start: _Start, reason: str) -> None:
        """It failed; its wish remains."""
        self._under_way.discard(start)
        if self._closed:
            self._on_idle()
            return
        self._waiting.appendleft(start.wish)
        self.policy.failed(reason, self.clock.monotonic(), begun=start.begun)
        logger.warning(
            "no worker process could be started for %s (%d failures in a row): %s",
            start.wish.name, self.policy.failures, reason,
        )  # fmt: skip
        if not self.policy.healthy:
            self._given_up(reason)
        self._go_on()

    # ---- when to start

    def _go_on(self) -> None:
        while self._waiting and self._may_start():
            start = _Start(self, self._waiting.popleft())
            self._under_way.add(start)
            start.begin()

    def _may_start(self) -> bool:
        if self._closed:
            return False
        if not self.policy.failures:
            return True
        if self._under_way:
            return False
        pause = self.policy.next_at - self.clock.monotonic()
        if pause > 0 and self._timer is None:
            self._timer = self.loop.call_later(pause, self._on_timer, context=self.home)
        return pause <= 0

    def _on_timer(self) -> None:
        self._timer = None
        self._go_on()


class _Start(WorkerListener):
    """One try to start a worker. The listener of the worker until it is ready."""

    __slots__ = ("_reason", "_starts", "_timer", "_until", "_worker", "begun", "wish")

    def __init__(self, starts: Starts, wish: Wish) -> None:
        self._starts = starts
        self.wish = wish
        self.begun = starts.clock.monotonic()
        self._until = time.monotonic() + starts.timeout
        self._reason = ""
        self._worker: WorkerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Start a process, in a thread."""
        starts = self._starts
        launch = partial(starts.launcher.launch, self.wish.name, starts.make_settings(), self._until)
        try:
            InThread(starts.loop, starts.home, launch, self._launched, _throw_away)
        except RuntimeError as error:
            # Later, because whoever wished has not got its answer yet.
            starts.loop.call_soon(self._launched, None, error, context=starts.home)

    def give_up(self) -> None:
        """End what was begun, or is about to be."""
        self._reason = self._reason or "the lane was closed"
        if self._worker is not None:
            self._worker.kill()

    def _launched(self, new: NewWorker | None, error: BaseException | None) -> None:
        starts = self._starts
        if new is None:
            info = ErrorInfo.from_exception(error or RuntimeError(), with_traceback=False)
            starts.failed(self, f"{info.type_name}: {info.message}")
            return
        try:
            self._worker = WorkerHandle(starts.loop, starts.home, new, self)
        except (OSError, ValueError) as problem:
            # The loop cannot watch it: the system's limit is reached. Unwatched it would be of no use.
            for descriptor in (new.channel, *new.process.descriptors()):
                starts.loop.remove_reader(descriptor)
            _throw_away(new)
            starts.failed(self, f"it cannot be watched: {problem}")
            return
        left = max(0.0, self._until - time.monotonic())
        self._timer = starts.loop.call_later(left, self._on_timeout, context=starts.home)
        if self._reason:
            self.give_up()

    def _on_timeout(self) -> None:
        self._reason = f"it was not ready after {self._starts.timeout:g} s (worker_start_timeout)"
        self.give_up()

    # ---- reports of the worker

    def worker_ready(self, worker: WorkerHandle) -> None:
        """It made it."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._reason:
            self._starts.granted(self, worker)

    def worker_start_failed(self, worker: WorkerHandle, reason: str) -> None:  # noqa: ARG002
        """It says why it cannot; its end follows."""
        self._reason, _, trace = reason.partition("\n")
        logger.warning("a worker process for %s failed to start:\n%s", self.wish.name, trace)

    def worker_gone(self, worker: WorkerHandle, exit_code: int | None) -> None:  # noqa: ARG002
        """It has ended, before it was ready."""
        if self._timer is not None:
            self._timer.cancel()
        self._starts.failed(self, self._reason or f"{Exit(exit_code).in_words()} before it was ready; see its stderr")


def _throw_away(new: NewWorker) -> None:
    new.process.destroy()
    new.close()
