"""The ended tasks that are remembered: so many, for so long, the oldest forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from .records import TaskRecord


class EndedTasks:
    """Ended records in the order of their ends.

    Args:
        most: how many are remembered.
        ttl: for how many seconds.
        forget: told of each that is not any more.
    """

    __slots__ = ("_forget", "_most", "_records", "_ttl")

    def __init__(self, most: int, ttl: float, forget: Callable[[TaskRecord], None]) -> None:
        self._most = most
        self._ttl = ttl
        self._forget = forget
        # It lets one go from the middle. A plain dict does too, but looks for its first entry past all that have gone.
        self._records: OrderedDict[TaskRecord, None] = OrderedDict()

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self._records)

    def add(self, record: TaskRecord) -> None:
        """A record has ended."""
        self._records[record] = None

    def drop(self, record: TaskRecord) -> None:
        """Forget one, whatever its age."""
        del self._records[record]
        self._forget(record)

    def next_expiry(self) -> float | None:
        """When the next one becomes too old."""
        oldest = next(iter(self._records), None)
        return None if oldest is None else oldest.finished_at + self._ttl

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while (oldest := next(iter(self._records), None)) is not None and oldest.finished_at + self._ttl <= now:
            self.drop(oldest)

    def trim(self) -> None:
        """Forget what is too much."""
        while len(self._records) > self._most:
            self.drop(next(iter(self._records)))
