"""What is counted and measured by task type, by priority and by slot."""

from __future__ import annotations

from typing import Any

from ..model import TaskStatus
from .histogram import Histogram
from .profiling import OTHER_TYPES

ENDINGS = tuple(status for status in TaskStatus if status.is_terminal)


class Latencies:
    """Durations of tasks, in seconds.

    Attributes:
        wait: of each attempt, from the moment it could have started to its start.
        run: of each attempt, in its slot.
        total: of each task that was not cancelled, from submit to end.
    """

    __slots__ = ("run", "total", "wait")

    def __init__(self) -> None:
        self.wait = Histogram()
        self.run = Histogram()
        self.total = Histogram()

    @property
    def empty(self) -> bool:
        """Whether nothing was measured."""
        return self.wait.empty and self.run.empty and self.total.empty

    def summary(self) -> dict[str, dict[str, float]]:
        """In JSON types."""
        return {"wait": self.wait.summary(), "run": self.run.summary(), "total": self.total.summary()}

    @staticmethod
    def merged(parts: list[Latencies]) -> Latencies:
        """All durations together."""
        if len(parts) == 1:
            return parts[0]
        whole = Latencies()
        whole.wait = Histogram.merged(part.wait for part in parts)
        whole.run = Histogram.merged(part.run for part in parts)
        whole.total = Histogram.merged(part.total for part in parts)
        return whole


class TypeTally:
    """Figures of one task type.

    Attributes:
        submitted, retries: how many.
        ended: how many by the status they ended with.
        latencies: durations.
    """

    __slots__ = ("ended", "latencies", "retries", "submitted")

    def __init__(self) -> None:
        self.submitted = 0
        self.retries = 0
        self.ended = dict.fromkeys(ENDINGS, 0)
        self.latencies = Latencies()

    def counts(self) -> dict[str, int]:
        """In JSON types."""
        return {
            "submitted": self.submitted,
            "retries": self.retries,
            **{status.value: number for status, number in self.ended.items()},
        }


class TypeTallies(dict[str, TypeTally]):
    """Figures by task type, made at first sight. What comes after the first ``max_types`` goes under "other".

    A dict, and asked with ``[]``, because that costs no call into Python for a type that was seen before.
    """

    def __init__(self, max_types: int) -> None:
        super().__init__()
        self._max_types = max_types

    def __missing__(self, task_type: str) -> TypeTally:
        if len(self) < self._max_types:
            self[str(task_type)] = tally = TypeTally()
            return tally
        if OTHER_TYPES not in self:
            self[OTHER_TYPES] = TypeTally()
        return self[OTHER_TYPES]


class SlotTally:
    """Figures of one slot.

    Attributes:
        attempts: how many ended in it.
        busy_s: how long they ran together.
    """

    __slots__ = ("attempts", "busy_s")

    def __init__(self) -> None:
        self.attempts = 0
        self.busy_s = 0.0

    def described(self, task_id: str | None, pid: int | None, running: float, uptime: float) -> dict[str, Any]:
        """In JSON types: an entry of ``worker_stats``.

        Args:
            task_id: of the task that runs in it now, if one does.
            pid: of its process, if it has one.
            running: for how many seconds that task has run.
            uptime: since when there is a processor, in seconds.
        """
        stats: dict[str, Any] = {
            "tasks_processed": self.attempts,
            "total_execution_time": self.busy_s,
            "status": "idle" if task_id is None else "busy",
            "current_task": task_id,
            "utilization": min(1.0, (self.busy_s + running) / uptime),
        }
        if pid is not None:
            stats["pid"] = pid
        return stats
