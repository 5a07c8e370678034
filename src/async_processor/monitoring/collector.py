"""Puts Python's garbage collector off until no task runs, so that none waits for it.

A full collection looks at every object there is: 0.1 s and more, on the event loop, once a hundred thousand tasks are
pending or remembered. Python begins one by counts of objects, whatever the moment. ``QuietCollector`` has them wait for
a quiet one, and has the young collections come often enough that each stays short.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable

from .observer import AttemptEnded, AttemptStarted, Observer

QUIET_S = 0.25
"""For how long no task may have run until a full collection begins, in seconds."""

LONGEST_WAIT_S = 60.0
"""How long a full collection is put off at most, in seconds: work that never pauses makes garbage, too."""

ATTEMPTS_PER_COLLECTION = 1_024
"""After how many attempts the young objects are looked at.

Python counts objects made less objects freed. While a long queue drains the two are even, so it waits until there are
very many young ones, and then looks at them all in one go.
"""

# A full collection may take this part of the time, as a pause of so many times its length follows it.
_PAUSE_AFTER = 100
_NEVER = 2**31 - 1
_YOUNG, _FULL = 1, 2


class _Held:
    """The threshold of full collections, which is the process's: put up by the first who asks, put back by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self.threshold = 0

    def hold(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                young, middle, self.threshold = gc.get_threshold()
                gc.set_threshold(young, middle, _NEVER)

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            young, middle, full = gc.get_threshold()
            # Unless the application has set another one meanwhile.
            if not self._holders and full == _NEVER:
                gc.set_threshold(young, middle, self.threshold)


_held = _Held()


class QuietCollector(Observer):
    """Full collections only while no task runs, or at last after ``LONGEST_WAIT_S``.

    Does nothing where the application has switched the collector off (``gc.disable()``, ``gc.set_threshold(0)``).
    Lives on the event loop on which the processor was started. Tasks in threads are waited for as well as those on the
    loop: a collection in one thread stops all others.

    Args:
        now: seconds that really pass, to tell how long a collection took.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._running = 0
        self._attempts = ATTEMPTS_PER_COLLECTION
        self._holding = False
        self._quiet: asyncio.TimerHandle | None = None
        self._at_last: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    # ---- hooks

    def attempt_started(self, event: AttemptStarted) -> None:  # noqa: ARG002
        """No full collection from here on."""
        self._running += 1
        if not self._holding and gc.isenabled() and gc.get_threshold()[0]:
            self._hold()

    def attempt_ended(self, event: AttemptEnded) -> None:  # noqa: ARG002
        """Look at what is young now and then, and for a quiet moment when it was the last."""
        self._running -= 1
        if not self._holding:
            return
        self._attempts -= 1
        if not self._attempts:
            self._attempts = ATTEMPTS_PER_COLLECTION
            gc.collect(_YOUNG)
        if not self._running and self._quiet is None:
            self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._on_quiet)

    def stopped(self, at: float) -> None:  # noqa: ARG002
        """Leave the collector as it was found."""
        self._running = 0
        self._release()

    # ---- holding

    def _hold(self) -> None:
        self._holding = True
        _held.hold()
        self._at_last = asyncio.get_running_loop().call_later(LONGEST_WAIT_S, self._on_at_last)

    def _release(self) -> None:
        for timer in (self._quiet, self._at_last):
            if timer is not None:
                timer.cancel()
        self._quiet = self._at_last = None
        if self._holding:
            self._holding = False
            _held.release()

    def _on_quiet(self) -> None:
        self._quiet = None
        if not self._running:
            self._release()
            self._collect_if_due()

    def _on_at_last(self) -> None:
        self._collect_if_due()
        self._at_last = asyncio.get_running_loop().call_later(LONGEST_WAIT_S, self._on_at_last)

    def _collect_if_due(self) -> None:
        """Collect fully if Python's own count says so, and the last time is not too near for what it took."""
        began = self._now()
        if gc.get_count()[_FULL] <= _held.threshold or began < self._not_before:
            return
        gc.collect()
        ended = self._now()
        self._not_before = ended + _PAUSE_AFTER * (ended - began)
