"""Tasks that could start, in the order in which they should.

Strict by urgency, then by order of submission. Beside that order the queue knows who has waited longest, for the
starvation guard. Entries are never searched for: one that no longer holds (its task started, ended, or changed its
urgency) is recognised when it comes up and dropped; when such leftovers outnumber the tasks, they are swept out.
So every operation costs O(log n) amortised, and memory is bounded by the tasks that are really there.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from ..model import TaskPriority
from .lifecycle import READY
from .records import TaskRecord

_SWEEP_SLACK = 64


class ReadyQueue:
    """The ready tasks of one lane (or of one kind within a lane).

    Attributes:
        size: how many there are.
        by_urgency: how many of each urgency; the index is the urgency.
    """

    __slots__ = ("_arrivals", "_heap", "by_urgency", "size")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, TaskRecord]] = []
        self._arrivals: deque[tuple[float, TaskRecord]] = deque()
        self.size = 0
        self.by_urgency = [0] * (max(TaskPriority) + 1)

    def push(self, record: TaskRecord) -> None:
        """Take in a record that has just become READY at ``record.ready_at``."""
        self.size += 1
        self.by_urgency[record.urgency] += 1
        heappush(self._heap, (record.urgency, record.seq, record))
        self._arrivals.append((record.ready_at, record))

    def removed(self, record: TaskRecord) -> None:
        """A record that was in the queue is READY no longer."""
        self.size -= 1
        self.by_urgency[record.urgency] -= 1
        # Cut the leftover short in the common case, where it is the very next entry.
        if self._heap[0][2] is record:
            heappop(self._heap)
        if self._arrivals[0][1] is record:
            self._arrivals.popleft()
        if len(self._heap) > self.size or len(self._arrivals) > self.size:
            self._sweep()

    def reprioritised(self, record: TaskRecord, former: int) -> None:
        """The urgency of a record in the queue changed from ``former``."""
        self.by_urgency[former] -= 1
        self.by_urgency[record.urgency] += 1
        heappush(self._heap, (record.urgency, record.seq, record))
        self._sweep()

    def head(self) -> TaskRecord | None:
        """The record that should start next."""
        heap = self._heap
        while heap:
            urgency, _, record = heap[0]
            if record.phase is READY and record.urgency == urgency:
                return record
            heappop(heap)
        return None

    def may_hold_older(self, before: float) -> bool:
        """Whether some record may have become READY before a time. Cheap, and never wrong when it says no."""
        return bool(self._arrivals) and self._arrivals[0][0] < before

    def longest_waiting(self) -> TaskRecord | None:
        """The record that has been READY for longest."""
        arrivals = self._arrivals
        while arrivals:
            since, record = arrivals[0]
            if record.phase is READY and record.ready_at == since:
                return record
            arrivals.popleft()
        return None

    def _sweep(self) -> None:
        bound = 2 * self.size + _SWEEP_SLACK
        if len(self._heap) > bound:
            # A dict, because one record may have several entries that hold.
            live = {record: None for urgency, _, record in self._heap if _holds(record, urgency)}
            self._heap = [(record.urgency, record.seq, record) for record in live]
            heapify(self._heap)
        if len(self._arrivals) > bound:
            self._arrivals = deque(
                (since, record)
                for since, record in self._arrivals
                if record.phase is READY and record.ready_at == since
            )

    def check(self, expected: list[TaskRecord]) -> None:
        """Assert that the queue holds exactly these records. Slow; for tests."""
        assert self.size == len(expected), (self.size, expected)
        live = {record for urgency, _, record in self._heap if _holds(record, urgency)}
        assert live >= set(expected), "a ready task has no entry in the heap"
        waiting = {record for since, record in self._arrivals if record.ready_at == since}
        assert waiting >= set(expected), "a ready task has no entry among the arrivals"
        for urgency, count in enumerate(self.by_urgency):
            assert count == sum(record.urgency == urgency for record in expected), f"count of urgency {urgency}"


def _holds(record: TaskRecord, urgency: int) -> bool:
    return record.phase is READY and record.urgency == urgency
