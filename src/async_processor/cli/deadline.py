"""An end by force, for when somebody insists, or an end in order takes too long.

A store bears it, and worker processes end with their parent.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time


class Deadline:
    """Ends this process by force ``seconds`` after ``begin``, if it is still there then.

    What can hold up an end in order: a task that blocks the event loop, and threads that libraries wait for at exit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # One that a signal handler may use, whatever it interrupts; a lock may be held by what was interrupted.
        self._begun: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._watch, name="async-processor-deadline", daemon=True).start()

    def begin(self, number: int) -> None:
        """The time runs from now on; ``number`` is the signal that asked for the end."""
        self._begun.put(number)

    def _watch(self) -> None:
        number = self._begun.get()
        time.sleep(self._seconds)
        _end(number, f"stopped by {signal.Signals(number).name}; ended by force, for something would not end")


def end_at_once(number: int) -> None:
    """Somebody insists, by a further signal ``number``."""
    _end(number, "ended at once")


def _end(number: int, line: str) -> None:
    # Not sys.stderr: what this interrupts may be writing to it.
    with contextlib.suppress(OSError):
        os.write(2, f"async-processor run: {line}\n".encode("ascii"))
    os._exit(128 + number)
