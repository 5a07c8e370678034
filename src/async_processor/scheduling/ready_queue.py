"""Tasks that could start, in the order in which they should.

Strict by urgency, then by order of submission. Beside that order the queue knows who has waited longest, for the
starvation guard. Entries are never searched for: one that no longer holds (its task started, ended, or changed its
urgency) is recognised when it comes up and dropped; when such leftovers outnumber the tasks, they are swept out.
So every operation costs O(log n) amortised, and memory is bounded by the tasks that are really there.

A place in the order is one whole number: it compares faster than a tuple, and the garbage collector passes it by.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from ..model import TaskPriority
from .lifecycle import READY
from .records import TaskRecord

_SWEEP_SLACK = 64
# The urgency stands above so many bits of the order of submission: enough for a million tasks a second in a year.
_SEQ_BITS = 45


class ReadyQueue:
    """The ready tasks of one lane (or of one kind within a lane).

    Attributes:
        size: how many there are.
        by_urgency: how many of each urgency; the index is the urgency.
    """

    __slots__ = ("_heap", "_records", "_since", "_waiting", "by_urgency", "size")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._records: dict[int, TaskRecord] = {}
        # In order of arrival: the records, and since when each has been READY.
        self._waiting: deque[TaskRecord] = deque()
        self._since: deque[float] = deque()
        self.size = 0
        self.by_urgency = [0] * (max(TaskPriority) + 1)

    def push(self, record: TaskRecord) -> None:
        """Take in a record that has just become READY at ``record.ready_at``."""
        urgency = record.urgency
        self.size += 1
        self.by_urgency[urgency] += 1
        place = (urgency << _SEQ_BITS) + record.seq
        self._records[place] = record
        heappush(self._heap, place)
        self._waiting.append(record)
        self._since.append(record.ready_at)

    def removed(self, record: TaskRecord) -> None:
        """A record that was in the queue is READY no longer."""
        urgency = record.urgency
        self.size -= 1
        self.by_urgency[urgency] -= 1
        place = (urgency << _SEQ_BITS) + record.seq
        del self._records[place]
        # Cut the leftover short in the common case, where it is the very next entry.
        if self._heap[0] == place:
            heappop(self._heap)
        if self._waiting[0] is record:
            self._waiting.popleft()
            self._since.popleft()
        if len(self._heap) > self.size or len(self._waiting) > self.size:
            self._sweep()

    def reprioritised(self, record: TaskRecord, former: int) -> None:
        """The urgency of a record in the queue changed from ``former``."""
        urgency = record.urgency
        self.by_urgency[former] -= 1
        self.by_urgency[urgency] += 1
        del self._records[(former << _SEQ_BITS) + record.seq]
        place = (urgency << _SEQ_BITS) + record.seq
        self._records[place] = record
        heappush(self._heap, place)
        self._sweep()

    def head(self) -> TaskRecord | None:
        """The record that should start next."""
        heap = self._heap
        while heap:
            record = self._records.get(heap[0])
            if record is not None:
                return record
            heappop(heap)
        return None

    def may_hold_older(self, before: float) -> bool:
        """Whether some record may have become READY before a time. Cheap, and never wrong when it says no."""
        return bool(self._since) and self._since[0] < before

    def longest_waiting(self) -> TaskRecord | None:
        """The record that has been READY for longest."""
        waiting, since = self._waiting, self._since
        while waiting:
            record = waiting[0]
            if record.phase is READY and record.ready_at == since[0]:
                return record
            waiting.popleft()
            since.popleft()
        return None

    def _sweep(self) -> None:
        bound = 2 * self.size + _SWEEP_SLACK
        if len(self._heap) > bound:
            # From what is really there, because one record may have been given the same place twice.
            self._heap = list(self._records)
            heapify(self._heap)
        if len(self._waiting) > bound:
            entries = zip(self._waiting, self._since, strict=True)
            kept = [(item, since) for item, since in entries if item.phase is READY and item.ready_at == since]
            self._waiting = deque(item for item, _ in kept)
            self._since = deque(since for _, since in kept)

    def check(self, expected: list[TaskRecord]) -> None:
        """Assert that the queue holds exactly these records. Slow; for tests."""
        assert self.size == len(expected), (self.size, expected)
        assert self._records == {(item.urgency << _SEQ_BITS) + item.seq: item for item in expected}, "places"
        assert set(self._heap) >= set(self._records), "a ready task has no entry in the heap"
        entries = zip(self._waiting, self._since, strict=True)
        waiting = {record for record, since in entries if record.ready_at == since}
        assert waiting >= set(expected), "a ready task has no entry among the arrivals"
        for urgency, count in enumerate(self.by_urgency):
            assert count == sum(record.urgency == urgency for record in expected), f"count of urgency {urgency}"
