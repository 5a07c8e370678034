"""The slowest attempts of each task type, with what is known of where their time and memory went."""

from __future__ import annotations

from heapq import heappush, heapreplace
from itertools import count
from typing import Any

from .observer import AttemptEnded

OTHER_TYPES = "other"
"""Under this name all types are kept together that come after the first ``max_types``."""


class SlowestAttempts:
    """Keeps so many of the slowest attempts per task type, and nothing of the rest.

    Args:
        per_type: how many.
        max_types: how many task types are told apart.
    """

    def __init__(self, per_type: int, max_types: int) -> None:
        self._per_type = per_type
        self._max_types = max_types
        # Per type a heap whose first is the fastest of the slow: the one to beat. The number breaks ties.
        self._heaps: dict[str, list[tuple[float, int, AttemptEnded]]] = {}
        self._numbers = count()

    def observe(self, event: AttemptEnded) -> None:
        """Keep the attempt if it is slow enough."""
        heap = self._heap_of(event.task_type)
        if len(heap) < self._per_type:
            heappush(heap, (event.ran, -next(self._numbers), event))
        elif heap and event.ran > heap[0][0]:
            heapreplace(heap, (event.ran, -next(self._numbers), event))

    def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Task type -> its slowest attempts, the slowest first, in JSON types."""
        return {
            task_type: [_described(event) for _, _, event in sorted(heap, reverse=True)]
            for task_type, heap in self._heaps.items()
        }

    def _heap_of(self, task_type: str) -> list[tuple[float, int, AttemptEnded]]:
        heap = self._heaps.get(task_type)
        if heap is None:
            name = task_type if len(self._heaps) < self._max_types else OTHER_TYPES
            heap = self._heaps.setdefault(name, [])
        return heap


def _described(event: AttemptEnded) -> dict[str, Any]:
    return {
        "task_id": event.task_id,
        "attempt": event.attempt,
        "lane": str(event.lane),
        "worker_id": event.slot,
        "succeeded": event.succeeded,
        "run_time": event.ran,
        "cpu_time": event.cpu_time,
        "peak_memory_mb": event.peak_memory_mb,
        "profile": event.profile,
    }
