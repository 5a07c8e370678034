"""Durations in fixed memory: how many of which length, and from that any percentile.

Buckets grow by a constant factor, so the relative error is the same everywhere. That is the sketch of Masson, Rim and
Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (VLDB 2019), with a fixed
range in place of collapsing buckets. The linear sub-buckets of an HdrHistogram would need more of them for the same
error, and cost more to find. With ten buckets per doubling a percentile is off by at most 3.5 %.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from math import ceil, log2
from operator import add
from typing import Final

PER_DOUBLING: Final = 10.0
LOW_S: Final = 1e-6
HIGH_S: Final = 86_400.0
RELATIVE_ERROR: Final = 2.0 ** (0.5 / PER_DOUBLING) - 1.0

# Bucket 0 takes everything up to LOW_S, the last everything from HIGH_S.
_OFFSET: Final = 1.0 - log2(LOW_S) * PER_DOUBLING
_LAST: Final = int(log2(HIGH_S) * PER_DOUBLING + _OFFSET) + 1
_MIDDLE: Final = 0.5 - _OFFSET


class Histogram:
    """Counts of durations between a microsecond and a day. What is shorter or longer is counted at that end.

    Attributes:
        sum: of all durations, in seconds, exact.
        max: the longest, in seconds, exact.
    """

    __slots__ = ("_counts", "_summary", "_summary_of", "max", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (_LAST + 1)
        self.sum = 0.0
        self.max = 0.0
        self._summary: dict[str, float] = _EMPTY
        self._summary_of = (0.0, 0)

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return sum(self._counts)

    @property
    def empty(self) -> bool:
        """Whether no duration was recorded."""
        return not (self.sum or self._counts[0] or self._counts[_LAST])

    def record(self, seconds: float) -> None:
        """Count one duration. NaN and negative ones, which only a broken clock could give, count as 0."""
        if LOW_S < seconds < HIGH_S:
            self._counts[int(log2(seconds) * PER_DOUBLING + _OFFSET)] += 1
            self.sum += seconds
            if seconds > self.max:
                self.max = seconds
        else:
            self._record_outside(seconds)

    def record_with(self, other: Histogram, seconds: float) -> None:
        """Record one duration here and in ``other``, for the price of little more than one."""
        if not LOW_S < seconds < HIGH_S:
            self._record_outside(seconds)
            other._record_outside(seconds)
            return
        bucket = int(log2(seconds) * PER_DOUBLING + _OFFSET)
        self._counts[bucket] += 1
        self.sum += seconds
        if seconds > self.max:
            self.max = seconds
        other._counts[bucket] += 1
        other.sum += seconds
        if seconds > other.max:
            other.max = seconds

    def _record_outside(self, seconds: float) -> None:
        self._counts[_LAST if seconds >= HIGH_S else 0] += 1
        if 0.0 < seconds < float("inf"):
            self.sum += seconds
            self.max = max(self.max, seconds)

    def percentile(self, share: float) -> float:
        """The duration that ``share`` of all do not exceed, by nearest rank; 0.0 of nothing.

        Args:
            share: 0.0 to 1.0.
        """
        return self._at_rank(list(accumulate(self._counts)), share)

    def summary(self) -> dict[str, float]:
        """``count``, and in seconds ``mean``, ``p50``, ``p95``, ``p99`` and ``max``."""
        # Every duration changes one of the two. So what is idle costs nothing, and recording need not count.
        content = (self.sum, self._counts[0])
        if content != self._summary_of:
            self._summary_of = content
            ranks = list(accumulate(self._counts))
            self._summary = {
                "count": ranks[-1],
                "mean": self.sum / ranks[-1],
                "p50": self._at_rank(ranks, 0.50),
                "p95": self._at_rank(ranks, 0.95),
                "p99": self._at_rank(ranks, 0.99),
                "max": self.max,
            }
        return dict(self._summary)

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """All durations of several histograms in a new one."""
        whole = cls()
        for part in parts:
            if not part.empty:
                whole._counts = list(map(add, whole._counts, part._counts))
                whole.sum += part.sum
                whole.max = max(whole.max, part.max)
        return whole

    def _at_rank(self, ranks: list[int], share: float) -> float:
        if ranks[-1] == 0:
            return 0.0
        bucket = bisect_left(ranks, max(1, ceil(share * ranks[-1])))
        middle = 2.0 ** ((bucket + _MIDDLE) / PER_DOUBLING) if bucket else LOW_S
        return min(middle, self.max)


_EMPTY: Final[dict[str, float]] = {"count": 0, "mean": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
