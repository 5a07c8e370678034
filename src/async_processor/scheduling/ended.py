"""The ended tasks that are remembered: so many, for so long, the oldest forgotten first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import inf

from .records import TaskRecord

_SWEEP_SLACK = 64


class EndedTasks:
    """Ended records in the order of their ends.

    Args:
        most: how many are remembered.
        ttl: for how many seconds.
        forget: told of each that is not any more.

    Attributes:
        surplus: how many more there are than that; negative while there is room.
    """

    __slots__ = ("_dropped", "_forget", "_not_before", "_records", "_ttl", "surplus")

    def __init__(self, most: int, ttl: float, forget: Callable[[TaskRecord], None]) -> None:
        self._ttl = ttl
        self._forget = forget
        # It grows by a block at a time. A dict would be copied whole now and then, for 20 ms at a hundred thousand.
        self._records: deque[TaskRecord] = deque()
        # Those that were forgotten out of turn, and are still in there.
        self._dropped: set[TaskRecord] = set()
        # Counted, because every event asks for it.
        self.surplus = -most
        # No record becomes too old before: the oldest of all when it was last looked for. Later ones go later.
        self._not_before = inf

    def __iter__(self) -> Iterator[TaskRecord]:
        return (record for record in self._records if record not in self._dropped)

    def add(self, record: TaskRecord) -> None:
        """A record has ended."""
        self._records.append(record)
        self.surplus += 1
        if self._not_before == inf:
            self._not_before = record.finished_at + self._ttl

    def drop(self, record: TaskRecord) -> None:
        """Forget one, whatever its age."""
        self._dropped.add(record)
        if len(self._dropped) > len(self._records) // 2 + _SWEEP_SLACK:
            self._records = deque(self)
            self._dropped.clear()
        self.surplus -= 1
        self._forget(record)

    def next_expiry(self, before: float = inf) -> float | None:
        """When the next one becomes too old; None if that is not before a time."""
        if self._not_before >= before:
            return None
        oldest = self._oldest()
        self._not_before = inf if oldest is None else oldest.finished_at + self._ttl
        return self._not_before if self._not_before < before else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while (oldest := self._oldest()) is not None and oldest.finished_at + self._ttl <= now:
            self._drop_oldest(oldest)

    def trim(self) -> None:
        """Forget what is too much."""
        while self.surplus > 0 and (oldest := self._oldest()) is not None:
            self._drop_oldest(oldest)

    def _oldest(self) -> TaskRecord | None:
        records, dropped = self._records, self._dropped
        while dropped and records and records[0] in dropped:
            dropped.remove(records.popleft())
        return records[0] if records else None

    def _drop_oldest(self, oldest: TaskRecord) -> None:
        self._records.popleft()
        self.surplus -= 1
        self._forget(oldest)
