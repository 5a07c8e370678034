"""Carries the progress of one attempt to the event loop, from whatever thread it is reported."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque

from .base import AttemptSink

INTERVAL_S = 0.05


class ProgressRelay:
    """Hands on the newest report, the first at once and then at most one every 50 ms; what lies between is dropped.

    A function may report as often as it likes: a report that is not handed on costs no wake-up of the loop.

    Args:
        token: names the attempt.
        sink: whom to tell.
        loop: on which to tell.
        home: the context variables to tell it in, which are not the attempt's.
    """

    __slots__ = ("_home", "_loop", "_newest", "_sink", "_timer", "_token", "_under_way")

    def __init__(
        self, token: int, sink: AttemptSink, loop: asyncio.AbstractEventLoop, home: contextvars.Context
    ) -> None:
        self._token = token
        self._sink: AttemptSink | None = sink
        self._loop = loop
        self._home = home
        self._newest: deque[tuple[float, str]] = deque(maxlen=1)  # one place, exchanged without a lock
        self._under_way = False
        self._timer: asyncio.TimerHandle | None = None

    def report(self, fraction: float, message: str) -> None:
        """Take a report; called on any thread."""
        self._newest.append((fraction, message))
        # Order matters: whoever clears the flag looks for a report afterwards.
        if self._under_way or self._sink is None:
            return
        self._under_way = True
        try:
            self._loop.call_soon_threadsafe(self._wake, context=self._home)
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told

    def finish(self) -> None:
        """The attempt ended: hand on what is held back, and nothing from here on. On the loop's thread."""
        self._hand_on()
        self.drop()

    def drop(self) -> None:
        """Hand on nothing more. On the loop's thread."""
        self._sink = None
        self._stop_timer()

    def _wake(self) -> None:
        # With a timer it is not time yet: the report came in the moment in which the one before it was handed on.
        if self._timer is None:
            self._deliver()

    def _due(self) -> None:
        self._timer = None
        self._deliver()

    def _deliver(self) -> None:
        self._under_way = False
        if self._hand_on() and self._sink is not None:
            self._under_way = True
            self._timer = self._loop.call_later(INTERVAL_S, self._due, context=self._home)

    def _hand_on(self) -> bool:
        if self._sink is None or not self._newest:
            return False
        self._sink.attempt_progress(self._token, *self._newest.pop())
        return True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
