"""Events per second over the recent past, in fixed memory."""

from __future__ import annotations

from collections import deque
from math import floor

_PARTS = 20


class Throughput:
    """Counts events by twentieths of a window that moves on with them.

    Args:
        window_s: how far back the recent past reaches, in seconds.
    """

    __slots__ = ("_count", "_ends_at", "_part", "_parts", "_width")

    def __init__(self, window_s: float) -> None:
        self._width = window_s / _PARTS
        self._parts: deque[tuple[int, int]] = deque(maxlen=_PARTS)
        self._part = 0
        self._ends_at = float("-inf")
        self._count = 0

    def add(self, at: float) -> None:
        """Count an event; ``at`` never goes back."""
        if at >= self._ends_at:
            self._begin_part(at)
        self._count += 1

    def rate(self, now: float, since: float) -> float:
        """Events per second from the beginning of the window, or from ``since`` if that is later, until ``now``."""
        first = floor(now / self._width) - _PARTS + 1
        parts = (*self._parts, (self._part, self._count))
        count = sum(count for part, count in parts if part >= first)
        # No shorter than one part: the first event of all would else be a rate of millions.
        return count / max(now - max(first * self._width, since), self._width)

    def _begin_part(self, at: float) -> None:
        if self._count:
            self._parts.append((self._part, self._count))
        self._part = floor(at / self._width)
        self._ends_at = (self._part + 1) * self._width
        self._count = 0
