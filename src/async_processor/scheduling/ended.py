"""The ended tasks that are remembered: so many, for so long, the oldest forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf

from .records import TaskRecord


class EndedTasks:
    """Ended records in the order of their ends.

    Args:
        most: how many are remembered.
        ttl: for how many seconds.
        forget: told of each that is not any more.

    Attributes:
        surplus: how many more there are than that; negative while there is room.
    """

    __slots__ = ("_forget", "_not_before", "_records", "_ttl", "surplus")

    def __init__(self, most: int, ttl: float, forget: Callable[[TaskRecord], None]) -> None:
        self._ttl = ttl
        self._forget = forget
        # It lets one go from the middle. A plain dict does too, but looks for its first entry past all that have gone.
        self._records: OrderedDict[TaskRecord, None] = OrderedDict()
        # Counted, because every event asks for it.
        self.surplus = -most
        # No record becomes too old before: the oldest of all when it was last looked for. Later ones go later.
        self._not_before = inf

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self._records)

    def add(self, record: TaskRecord) -> None:
        """A record has ended."""
        self._records[record] = None
        self.surplus += 1
        if self._not_before == inf:
            self._not_before = record.finished_at + self._ttl

    def drop(self, record: TaskRecord) -> None:
        """Forget one, whatever its age."""
        del self._records[record]
        self.surplus -= 1
        self._forget(record)

    def next_expiry(self, before: float = inf) -> float | None:
        """When the next one becomes too old; None if that is not before a time."""
        if self._not_before >= before:
            return None
        oldest = next(iter(self._records), None)
        self._not_before = inf if oldest is None else oldest.finished_at + self._ttl
        return self._not_before if self._not_before < before else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while (oldest := next(iter(self._records), None)) is not None and oldest.finished_at + self._ttl <= now:
            self.drop(oldest)

    def trim(self) -> None:
        """Forget what is too much."""
        while self.surplus > 0:
            self.drop(next(iter(self._records)))
