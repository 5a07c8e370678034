"""Memory of this process and everything below it, now and at its highest.

Finding out which processes there are means reading through all of the machine's, some milliseconds on a busy one.
A thread does that once a second. Reading the few that are known takes 10 microseconds each and is done on demand.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ..clock import Clock
from .daemon import start_daemon
from .memory import own_process, process_tree, resident_bytes

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger("async_processor.monitoring")

_MIB = 1024 * 1024
FIND_INTERVAL_S = 1.0
# The first look is early, because workers start early, but not so early that a short life pays for it.
_FIRST_FIND_S = 0.25
MAX_AGE_S = 0.5


class TreeMemory:
    """Resident memory of the process tree, in MiB. Pages that processes share count in each of them.

    Args:
        clock: tells when a reading is too old.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._processes: tuple[psutil.Process, ...] = (own_process(),)
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._current_mb = 0.0
        self._peak_mb = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current_mb(self) -> float:
        """How much it is, not longer ago than half a second."""
        if self._clock.monotonic() - self._read_at >= MAX_AGE_S:
            self._read()
        return self._current_mb

    @property
    def peak_mb(self) -> float:
        """The most that was seen. Between two looks, at most a second apart, there may have been more."""
        return max(self._peak_mb, self.current_mb)

    def start(self) -> None:
        """Look for processes from now on, in a thread."""
        if self._thread is None:
            self._stop = stop = threading.Event()
            self._thread = start_daemon(lambda: self._watch(stop), "async-processor-memory")

    def stop(self) -> None:
        """End the thread. It may be in the middle of a look, so it is waited for, though not for long."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.2)
            self._thread = None

    def find(self) -> None:
        """Look which processes there are, and read them.

        Raises:
            OSError: they cannot be listed now.
        """
        self._processes = process_tree()
        self._read()

    def _watch(self, stop: threading.Event) -> None:
        pause = _FIRST_FIND_S
        while not stop.wait(pause):
            pause = FIND_INTERVAL_S
            try:
                self.find()
            except OSError:
                # Those that are known are read all the same.
                continue
            except Exception:
                # Foreign code reads what the system says of any process. Without this thread no worker would count.
                logger.exception("the memory of the processes could not be read; it is tried again")

    def _read(self) -> None:
        try:
            total_mb = resident_bytes(self._processes) / _MIB
        except OSError:
            # No descriptor is left to read with: the figures stay as they are until there is.
            return
        with self._lock:
            self._read_at = self._clock.monotonic()
            self._current_mb = total_mb
            self._peak_mb = max(self._peak_mb, total_mb)
