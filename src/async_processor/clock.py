"""The one seam for time.

Everything that needs to know the time asks a ``Clock``, so that tests can put a virtual one in its place
(``async_processor.testing``). ``scheduling/`` does not even do that: there the time is an argument.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings: one to measure with, one to show."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back, whatever happens to the wall clock."""
        ...

    def wall(self) -> datetime:
        """The time of day, aware, in UTC. Only for timestamps that people read."""
        ...


class SystemClock:
    """The clock of the machine."""

    # Bound as attributes: the engine reads the clock several times per task.
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def wall() -> datetime:
        return datetime.now(UTC)
