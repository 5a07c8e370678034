"""The news of ends, on their way to all that wait for them.

Tens of thousands of tasks may wait for one, and others for those. All at once would block the event loop for a
second, so each step tells so many and the rest is told in the next.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .records import TaskRecord

# Dependents told in one step.
CASCADE_BUDGET = 256


class Wave(NamedTuple):
    """Dependents to be told that ``record`` has ended, or (if not ``ended``) certainly will be cancelled.

    ``cancelled`` is where the ids of those that are cancelled for it are noted, if anybody asked.
    """

    record: TaskRecord
    ended: bool
    dependents: Iterator[TaskRecord]
    cancelled: list[str] | None


class Cascade:
    """All waves under way, the oldest first.

    Args:
        tell: tells one dependent; may begin further waves.

    Attributes:
        waves: those that have not reached everybody yet.
    """

    __slots__ = ("_tell", "waves")

    def __init__(self, tell: Callable[[TaskRecord, Wave, float], None]) -> None:
        self._tell = tell
        self.waves: deque[Wave] = deque()

    def begin(
        self, record: TaskRecord, dependents: Sequence[TaskRecord], *, ended: bool, cancelled: list[str] | None = None
    ) -> None:
        """Have the end of a record told to its dependents."""
        if dependents:
            self.waves.append(Wave(record, ended, iter(dependents), cancelled))

    def carry_on(self, now: float) -> None:
        """Tell as many as one step may."""
        budget = CASCADE_BUDGET
        while self.waves and budget:
            wave = self.waves[0]
            for dependent in itertools.islice(wave.dependents, budget):
                self._tell(dependent, wave, now)
                budget -= 1
            if budget:
                self.waves.popleft()
