"""All that is due at a time, in one heap.

A timer is never cancelled: when it comes up, its owner looks whether it still means anything. Timers of attempts
that ended long before their deadline would pile up, so the owner says when one has lost its meaning, and when those
outnumber the others the heap is rebuilt. One heap and one wake-up cost a small part of a timer per attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

from .records import TaskRecord

_SWEEP_SLACK = 256


class Due(IntEnum):
    """What is due."""

    DEADLINE = 0  # the attempt has run for as long as it may
    GRACE = 1  # the attempt was asked to stop and has not
    BACKOFF = 2  # the next attempt may start
    DEPENDENCY = 3  # dependencies that nobody submitted were waited for long enough
    REGISTRATION = 4  # a held task was not released in time


class Timer(NamedTuple):
    """``stamp`` tells whether the timer still means anything: the token or number of the attempt it was set for."""

    at: float
    order: int
    due: Due
    stamp: int
    record: TaskRecord


class Timers:
    """The heap.

    Args:
        holds: whether a timer still means anything.
    """

    __slots__ = ("_heap", "_holds", "_lost", "_order")

    def __init__(self, holds: Callable[[Timer], bool]) -> None:
        # Plain tuples: to make a named one takes six times as long, and nearly all are dropped without a look.
        self._heap: list[tuple[float, int, Due, int, TaskRecord]] = []
        self._holds = holds
        self._lost = 0
        self._order = 0

    def schedule(self, at: float, due: Due, record: TaskRecord, stamp: int) -> None:
        """Have something come up at a time."""
        self._order += 1
        heappush(self._heap, (at, self._order, due, stamp, record))

    def lost(self) -> None:
        """Some timer that was set has lost its meaning."""
        self._lost += 1
        if self._lost > len(self._heap) // 2 + _SWEEP_SLACK:
            self._heap = [timer for timer in self._heap if self._holds(Timer(*timer))]
            heapify(self._heap)
            self._lost = 0

    def next_at(self, before: float = inf) -> float | None:
        """When the next timer that still means something is due; None if that is not before a time."""
        heap = self._heap
        while heap and heap[0][0] < before:
            if self._holds(Timer(*heap[0])):
                return heap[0][0]
            heappop(heap)
        return None

    def pop_due(self, now: float) -> Timer | None:
        """Take out the next timer that is due and still means something."""
        at = self.next_at()
        return Timer(*heappop(self._heap)) if at is not None and at <= now else None

    def records(self) -> set[TaskRecord]:
        """The records that some timer still means something for. O(timers); for tests."""
        return {timer[-1] for timer in self._heap if self._holds(Timer(*timer))}

    def __len__(self) -> int:
        return len(self._heap)
