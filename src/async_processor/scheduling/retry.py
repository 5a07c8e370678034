"""Whether a failed attempt is followed by another, and when.

Exponential backoff with full jitter: the delay is drawn evenly between 0 and a bound that doubles with each
attempt. Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

What an error asks for with ``retry_after`` comes before that, not in its place: a server that sends ten thousand
away tells all of them the same time, and at that time they must not all be back at once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..outcome import ErrorInfo

# 2 ** 63 seconds is past any limit; doubling further would only overflow.
_MAX_DOUBLINGS = 63


@dataclass(slots=True, frozen=True)
class Retry:
    """Try again in ``after`` seconds."""

    after: float


@dataclass(slots=True, frozen=True)
class GiveUp:
    """Do not try again. ``reason`` is for people."""

    reason: str


@dataclass(slots=True, frozen=True)
class RetryPolicy:
    """The bounds of the backoff, in seconds.

    Attributes:
        base: bound of the first delay.
        maximum: bound of every delay that is drawn, and of what an error may ask for with ``retry_after``.
    """

    base: float = 0.5
    maximum: float = 60.0

    def decide(self, error: ErrorInfo, *, attempt: int, max_retries: int, rng: random.Random) -> Retry | GiveUp:
        """What follows after attempt number ``attempt`` ended with ``error``."""
        if error.permanent:
            return GiveUp("the error is permanent")
        if attempt > max_retries:
            return GiveUp(f"{attempt} of {max_retries + 1} attempts were made")
        bound = min(self.maximum, self.base * 2 ** min(attempt - 1, _MAX_DOUBLINGS))
        delay = rng.uniform(0.0, bound)
        if error.retry_after is not None:
            delay += min(error.retry_after, self.maximum)
        return Retry(delay)
