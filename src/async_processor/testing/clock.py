"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

# Noon of some day: far from every limit that a wall clock has.
_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class VirtualClock:
    """A ``Clock`` whose time passes by ``advance`` alone.

    The wall clock goes along with it, at ``wall_rate``, and can be made to jump, as the clock of a machine does when
    somebody sets it; ``monotonic`` never takes notice.

    Args:
        start: first reading of ``monotonic``, in seconds. Zero on purpose: it finds code that mistakes 0 for nothing.
        wall: first reading of ``wall``, aware.
    """

    __slots__ = ("_now", "_rate", "_wall", "_wall_since")

    def __init__(self, start: float = 0.0, wall: datetime = _START) -> None:
        self._now = start
        self._wall = wall
        self._wall_since = start
        self._rate = 1.0

    def monotonic(self) -> float:
        """Seconds of virtual time."""
        return self._now

    def wall(self) -> datetime:
        """The virtual time of day, in UTC."""
        return self._wall + timedelta(seconds=(self._now - self._wall_since) * self._rate)

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: ``seconds`` is negative or no finite number.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"time can only pass forwards, by a finite number of seconds, not by {seconds!r}")
        self._now += seconds

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or, with a negative number, back."""
        self._rebase()
        self._wall += timedelta(seconds=seconds)

    def set_wall_rate(self, rate: float) -> None:
        """Let the wall clock run ``rate`` times as fast from now on."""
        self._rebase()
        self._rate = rate

    def _rebase(self) -> None:
        self._wall, self._wall_since = self.wall(), self._now

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now:g} s, {self.wall().isoformat()}>"
