"""Watches over the event loop: how late it is, and who blocks it.

A heartbeat on the loop measures the lag. A thread of its own notices when the heartbeat stays away for ``stall_s`` and
looks, while it lasts, at what the loop's thread is doing: afterwards nobody could tell any more. (Debug mode of asyncio
times every callback instead, and names it when it has returned; one that never returns it does not name.)

What the thread cannot see is code that holds the interpreter lock all along, in an extension or one long call into C:
while that runs, no other thread does. Such a stall is counted when it is over, without a stack; and so is one of a
loop that has nothing to do but gets no turn, because other threads compute. And when the whole process stood still
(SIGSTOP, a suspended machine, no processor to be had), the loop is not to blame: then the thread was late as well,
and hardly any processor time was used.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from time import monotonic, process_time
from types import FrameType
from typing import Any

from .daemon import start_daemon
from .histogram import Histogram

logger = logging.getLogger("async_processor.monitoring")

_BEATS_PER_STALL = 5
_BEAT_WITHOUT_STALLS_S = 0.05
_MIN_LOG_INTERVAL_S = 10.0
# Reading two clocks one after the other takes less, unless the process is stopped just there.
_SAME_CLOCK_S = 1.0
_MAX_FRAMES = 60
_MAX_STACK_CHARS = 8_000
# Who holds the interpreter lock computes: during a stall without a stack, the process used at least this share of one
# processor, however busy the machine. Less, and it stood still as a whole.
_ALIVE_SHARE = 0.1
# Where callbacks of the loop are called, in a function _run.
_LOOP_FILE = str(Path("asyncio", "events.py"))


@dataclass(slots=True, frozen=True, kw_only=True)
class Stall:
    """One time that the event loop was blocked.

    Attributes:
        at: when it was noticed, seconds of ``time.monotonic``.
        seconds: how long the loop did not get round to its heartbeat; while it lasts, how long so far.
        task: name of the asyncio task that was running. For a task of the processor that is the task's id.
        function, file, line: where the loop's thread was, innermost; empty and 0 if that could not be seen.
        stack: the stack as text, innermost last.
    """

    at: float
    seconds: float
    task: str | None = None
    function: str = ""
    file: str = ""
    line: int = 0
    stack: str = ""

    def described(self) -> dict[str, Any]:
        """In JSON types; ``seconds_ago`` in place of ``at``."""
        return {
            "seconds": self.seconds,
            "seconds_ago": monotonic() - self.at,
            "task": self.task,
            "function": self.function,
            "file": self.file,
            "line": self.line,
            "stack": self.stack,
        }


class LoopWatch:
    """Lag and stalls of one event loop.

    Attributes:
        lag: how late the heartbeat came.
        stalls: how often the loop was blocked for longer than ``stall_s``, give or take a fifth.
        last_stall: the latest of them.

    Args:
        stall_s: seconds after which a loop counts as blocked; 0 to measure lag only.
    """

    def __init__(self, stall_s: float = 0.2) -> None:
        self.lag = Histogram()
        self.stalls = 0
        self.last_stall: Stall | None = None
        self._stall_s = stall_s
        self._heart: _Heart | None = None
        self._logged_at = float("-inf")
        self._unlogged = 0

    def start(self) -> None:
        """Watch over the running loop. Does nothing if it watches already.

        A loop on a clock of its own is not watched: in virtual time nothing is ever late, and the heartbeat would
        keep a simulation busy that has nothing left to do.
        """
        loop = asyncio.get_running_loop()
        if self._heart is None and abs(loop.time() - monotonic()) < _SAME_CLOCK_S:
            self._heart = _Heart(self, loop, self._stall_s)

    def stop(self) -> None:
        """Watch no more. What was measured stays."""
        if self._heart is not None:
            self._heart.stop()
            self._heart = None

    def seconds_since_stall(self) -> float | None:
        """How long ago the latest stall was noticed; None if there was none."""
        return None if self.last_stall is None else monotonic() - self.last_stall.at

    def _stalled(self, stall: Stall) -> None:
        self.stalls += 1
        self.last_stall = stall
        if stall.at - self._logged_at < _MIN_LOG_INTERVAL_S:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last warning)" if self._unlogged else ""
        self._logged_at, self._unlogged = stall.at, 0
        if stall.stack:
            logger.warning(
                "the event loop has been blocked for %.2f s in %s (%s:%d), %s%s; let it await, or have it run in "
                "a thread (io_bound) or a worker process (cpu_intensive)\n%s",
                stall.seconds, stall.function, stall.file, stall.line, _of_task(stall), more, stall.stack,
            )  # fmt: skip
        else:
            logger.warning(
                "the event loop was kept from running for %.2f s%s: a thread or an extension held the interpreter "
                "lock, or the machine was busy; computation belongs in worker processes (cpu_intensive)",
                stall.seconds, more,
            )  # fmt: skip


class _Heart:
    """The heartbeat of one loop, and the thread that listens to it."""

    def __init__(self, watch: LoopWatch, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        self._watch = watch
        self._loop = loop
        self._stall_s = stall_s
        self._interval = stall_s / _BEATS_PER_STALL if stall_s else _BEAT_WITHOUT_STALLS_S
        self._loop_thread = threading.get_ident()
        # Guards the next four: the thread must not blame a beat that has just ended.
        self._lock = threading.Lock()
        self._beat_number = 0
        self._beat_at = monotonic()
        self._seen_in_beat: int | None = None
        self._seen_gap = 0.0
        self._cpu_at = process_time()
        self._stop = threading.Event()
        self._due = 0.0
        self._timer: asyncio.TimerHandle
        self._set_timer()
        self._thread = start_daemon(self._listen, "async-processor-loop-watch") if stall_s else None

    def stop(self) -> None:
        self._timer.cancel()
        self._stop.set()
        if self._thread is not None:
            # It sleeps, or is about to log a line.
            self._thread.join(1.0)

    # ---- on the loop

    def _set_timer(self) -> None:
        self._due = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        try:
            self._measure()
        finally:
            # Whatever went wrong, the loop's own handler of exceptions tells of it; the heart must go on beating.
            self._set_timer()

    def _measure(self) -> None:
        now, cpu = monotonic(), process_time()
        gap = now - self._beat_at
        with self._lock:
            seen = self._seen_in_beat == self._beat_number
            if seen:
                self._seen_gap = gap
            self._beat_number += 1
            self._beat_at = now
        alive = seen or cpu - self._cpu_at > _ALIVE_SHARE * gap
        self._cpu_at = cpu
        lag = max(0.0, self._loop.time() - self._due)
        stalled = gap > self._stall_s > 0
        if alive or not stalled:
            self._watch.lag.record(lag)
            if stalled and not seen:
                self._watch._stalled(Stall(at=now, seconds=gap))

    # ---- in the thread

    def _listen(self) -> None:
        stop = False
        while not stop:
            try:
                self._listen_on()
                stop = True
            except Exception:
                # It looks at frames of running code and logs what it saw. A watch that ends unseen is worse than none.
                logger.exception("the watch over the event loop failed, and goes on")
                stop = self._stop.wait(self._stall_s)

    def _listen_on(self) -> None:
        awake_since = float("-inf")
        while not self._loop.is_closed():
            beat = self._beat_number
            deadline = max(self._beat_at, awake_since) + self._stall_s
            if self._stop.wait(max(0.0, deadline - monotonic())):
                return
            if self._beat_number != beat:
                continue
            # A thread that wakes late did not get to run either: wait again before blaming anybody.
            late = monotonic() - deadline > self._stall_s / 2
            stall = None if late or not self._loop.is_running() else self._look(beat)
            if stall is None:
                awake_since = monotonic()
            elif self._follow(stall, beat):
                return

    def _look(self, beat: int) -> Stall | None:
        """Report who blocks the loop, unless the heart beats again by now."""
        frame = sys._current_frames().get(self._loop_thread)
        task = asyncio.current_task(self._loop)
        if frame is None or (task is None and frame.f_code.co_name == "select"):
            # It waits for events, or for its turn.
            return None
        with self._lock:
            if self._beat_number != beat:
                return None
            self._seen_in_beat = beat
            seconds = monotonic() - self._beat_at
        stall = _stall(frame, seconds, None if task is None else task.get_name())
        self._watch._stalled(stall)
        return stall

    def _follow(self, stall: Stall, beat: int) -> bool:
        """Wait for the end of a stall, to note how long it was in all. Whether to stop."""
        while True:
            # Often enough not to be late for the next one.
            stop = self._stop.wait(self._stall_s / 4)
            if self._beat_number != beat:
                if self._watch.last_stall is stall:
                    self._watch.last_stall = replace(stall, seconds=self._seen_gap)
                return stop
            if stop or self._loop.is_closed():
                return stop


def _stall(frame: FrameType, seconds: float, task: str | None) -> Stall:
    frames = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_MAX_FRAMES)
    return Stall(
        at=monotonic(),
        seconds=seconds,
        task=task,
        function=frame.f_code.co_qualname,
        file=frame.f_code.co_filename,
        line=frame.f_lineno,
        stack="".join(traceback.format_list(_above_loop(frames)))[-_MAX_STACK_CHARS:],
    )


def _of_task(stall: Stall) -> str:
    return "outside of any task" if stall.task is None else f"task {stall.task}"


def _above_loop(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames from the callback inwards, innermost last. How the loop was started and imports work helps nobody."""
    inner = takewhile(lambda item: item.name != "_run" or not item.filename.endswith(_LOOP_FILE), frames)
    return [item for item in inner if not item.filename.startswith("<frozen importlib")][::-1]
