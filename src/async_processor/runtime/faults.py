"""Errors of our own that the engine survives: never silent, and never a flood in the log."""

from __future__ import annotations

import logging

from ..clock import Clock

logger = logging.getLogger("async_processor.engine")

_MIN_LOG_INTERVAL_S = 10.0


class Faults:
    """Counts errors that must not happen, for metrics and health, and logs them.

    Args:
        clock: keeps one that happens again and again from filling the log.

    Attributes:
        count: of all of them, logged or not.
    """

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self._clock = clock
        self._logged_at = float("-inf")
        self._unlogged = 0

    def survived(self, what: str, error: Exception) -> None:
        """Note an error, and what failed with it."""
        self.count += 1
        now = self._clock.monotonic()
        if now - self._logged_at < _MIN_LOG_INTERVAL_S:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more errors of the engine since the last line)" if self._unlogged else ""
        self._logged_at, self._unlogged = now, 0
        logger.critical("the engine goes on after an error in %s%s; please report this", what, more, exc_info=error)
