"""What an attempt used, measured in the worker that runs it alone."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from ..outcome import Measures

_STATM = Path("/proc/self/statm")
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = b"5"
_MIB = 1024 * 1024
# ru_maxrss counts bytes on macOS and KiB elsewhere.
_MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Meter:
    """Measures from its construction on: processor time of all threads, and the highest resident memory."""

    __slots__ = ("_cpu", "_peak_was_reset")

    def __init__(self) -> None:
        self._peak_was_reset = _reset_peak()
        self._cpu = time.process_time()

    def read(self) -> Measures:
        """The figures so far. Where the system keeps no peak that can be reset, it is that of the worker's life."""
        cpu_time = time.process_time() - self._cpu
        peak = _peak_mb() if self._peak_was_reset else None
        return Measures(cpu_time=cpu_time, peak_memory_mb=max_resident_mb() if peak is None else peak)


def max_resident_mb() -> float:
    """The highest resident memory of this process in its life, MiB; costs next to nothing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAX_RSS_UNIT / _MIB


def resident_mb() -> float:
    """The resident memory of this process now, MiB; where that is not to be had, its highest."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return max_resident_mb()
    return pages * resource.getpagesize() / _MIB


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_bytes(_RESET_PEAK)
    except OSError:
        return False
    return True


def _peak_mb() -> float | None:
    try:
        return int(_STATUS.read_bytes().partition(b"VmHWM:")[2].split(None, 1)[0]) / 1024
    except (OSError, ValueError, IndexError):
        return None
