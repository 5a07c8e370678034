"""Progress of an attempt on its way out of the worker: the newest at once, then at most one every 50 ms."""

from __future__ import annotations

import contextlib
import struct
import threading
import time

from .process_wire import PROGRESS, Frame, WorkerChannel

INTERVAL_S = 0.05
_FRACTION = struct.Struct("<d")


class ProgressReporter:
    """Sends what one attempt reports, from any thread. What lies between is dropped, the last is always sent.

    Args:
        channel: to the parent.
    """

    __slots__ = ("_channel", "_finished", "_lock", "_newest", "_next_at", "_timer")

    def __init__(self, channel: WorkerChannel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._newest: tuple[float, str] | None = None
        self._next_at = 0.0
        self._timer: threading.Timer | None = None
        self._finished = False

    def report(self, fraction: float, message: str) -> None:
        """Take a report; dropped once the attempt has ended."""
        with self._lock:
            if self._finished:
                return
            self._newest = (fraction, message)
            self._send_in_time()

    def finish(self) -> None:
        """The attempt ended: send what is held back, and nothing from here on."""
        with self._lock:
            self._finished = True
            if self._timer is not None:
                self._timer.cancel()
            self._send()

    def _send_in_time(self) -> None:
        wait = self._next_at - time.monotonic()
        if wait <= 0:
            self._send()
        elif self._timer is None:
            self._send_later(wait)

    def _send(self) -> None:
        if self._newest is not None:
            fraction, message = self._newest
            self._newest = None
            self._next_at = time.monotonic() + INTERVAL_S
            text = message.encode("utf-8", "backslashreplace")
            self._channel.send(PROGRESS, _FRACTION.pack(fraction), [text], len(text))

    def _send_later(self, delay: float) -> None:
        timer = threading.Timer(delay, self._on_timer)
        timer.daemon = True
        # No thread to be had: then this report waits for the next one, or for the end.
        with contextlib.suppress(RuntimeError):
            timer.start()
            self._timer = timer

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            # A report that came just before the timer may have gone out itself.
            if not self._finished and self._newest is not None:
                self._send_in_time()


def read_progress(frame: Frame) -> tuple[float, str]:
    """Fraction and message of a PROGRESS frame."""
    return _FRACTION.unpack(frame.notes)[0], frame.body.decode("utf-8")
