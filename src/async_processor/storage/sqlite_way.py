"""Lets the writer thread run beside an event loop that never rests.

A thread that waits for the interpreter's lock asks for it after 5 ms in which its holder never let go. A loop of short
turns lets go for an instant in each of them, when it looks for events, and has the lock back before the other is
awake; for the other the 5 ms then begin anew. Beside a loop that was busy all the time, in turns of 0.2 ms, one commit
took 4.6 s.

So whoever waits for the thread looks at a clock now and then: when nothing came back for a while and the loop has not
rested either, it stands still until the thread has done something, for a millisecond or two at most.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

_LOOK_S = 0.010
"""A commit is not late before that."""
_LOOK_AGAIN_S = 0.002
_STAND_S = 0.002
_BUSY = 0.5
"""Share of its time that a loop works which hardly rests; the rest of it may have gone to other programs."""


class RightOfWay:
    """Of one thread over one loop. All methods but ``moved`` are called on the loop.

    Args:
        loop: the one that gives way.
        awaited: whether anything is expected of the thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, awaited: Callable[[], bool]) -> None:
        self._loop = loop
        self._awaited = awaited
        self._moved = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = self._worked = self._came = 0.0

    def moved(self) -> None:
        """The thread has done something. Called by it."""
        self._moved.set()

    def came(self) -> None:
        """What it did has arrived."""
        self._came = time.monotonic()

    def expect(self) -> None:
        """Something was handed to the thread."""
        if self._timer is None:
            self._came = time.monotonic()
            self._look_in(_LOOK_S)

    def end(self) -> None:
        """Nothing is expected any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        self._looked, self._worked = time.monotonic(), time.thread_time()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._awaited():
            return
        now = time.monotonic()
        busy = time.thread_time() - self._worked > _BUSY * (now - self._looked)
        if busy and now - self._came >= _LOOK_S:
            self._moved.clear()
            self._moved.wait(_STAND_S)
            self._look_in(_LOOK_AGAIN_S)
        else:
            self._look_in(_LOOK_S)
