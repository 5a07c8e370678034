"""Whether memory, as measured, allows another memory-intensive task to start.

Admission counts what tasks are expected to need; this watches what is really in use, by whomever. Readings cost
some 10 microseconds, are taken only while memory-intensive tasks wait or run, and at most twice a second.
"""

from __future__ import annotations

import logging

from ..clock import Clock
from ..monitoring.memory import MemoryReader

logger = logging.getLogger("async_processor.memory")

SAMPLE_INTERVAL_S = 0.5
# Between the two thresholds nothing changes, so that a value near one of them does not flap.
RESUME_BELOW = 0.1
_MIB = 1024 * 1024


class MemoryGate:
    """Limit and pressure of memory.

    Args:
        fraction: part of the limit at which nothing large is started any more.
        reader: reads the machine or the container.
        clock: tells when the last reading is too old.
    """

    def __init__(self, fraction: float, reader: MemoryReader, clock: Clock) -> None:
        self._fraction = fraction
        self._reader = reader
        self._clock = clock
        self._limit = reader.limit_bytes()
        self._read_at = float("-inf")
        self.under_pressure = False

    @property
    def limit_mb(self) -> float:
        """How much memory-intensive tasks may set aside together, in MiB."""
        return self._fraction * self._limit / _MIB

    def refresh(self) -> bool:
        """Read again if the last reading is too old. Whether pressure has begun or ended."""
        now = self._clock.monotonic()
        if now - self._read_at < SAMPLE_INTERVAL_S:
            return False
        self._read_at = now
        before = self.under_pressure
        bound = self._fraction - RESUME_BELOW if before else self._fraction
        self.under_pressure = self._reader.used_bytes() >= bound * self._limit
        if self.under_pressure != before:
            logger.warning(
                "memory use is %s %.0f %% of the limit: memory-intensive tasks %s",
                "above" if self.under_pressure else "below", 100 * bound,
                "wait" if self.under_pressure else "start again",
            )  # fmt: skip
        return self.under_pressure != before
