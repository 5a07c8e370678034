"""The guide's view of the tasks themselves: awaitable and read-only. The scheduler owns every fact it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .model import TaskStatus

if TYPE_CHECKING:
    from .scheduling.scheduler import Scheduler


class TaskManager:
    """Looks into the tasks of a processor.

    Args:
        scheduler: gives the scheduler of the current run, or None before the first.
    """

    def __init__(self, scheduler: Callable[[], Scheduler | None]) -> None:
        self._scheduler = scheduler

    async def get_ready_tasks(self) -> list[str]:
        """Ids of the tasks that could start and wait only for a free slot, in order of submission."""
        scheduler = self._scheduler()
        return [] if scheduler is None else scheduler.ready_ids()

    async def get_dependencies(self, task_id: str) -> dict[str, TaskStatus | None]:
        """The dependencies of a task that has not ended, and their status; None for one not submitted."""
        scheduler = self._scheduler()
        record = None if scheduler is None else scheduler.find(task_id)
        if record is None:
            return {}
        known = record.dependencies or {}
        return {item: known[item].status if item in known else None for item in record.depends_on}

    async def get_dependents(self, task_id: str) -> list[str]:
        """Ids of the tasks that wait for this one."""
        scheduler = self._scheduler()
        record = None if scheduler is None else scheduler.find(task_id)
        return [] if record is None else [item.id for item in record.dependents or ()]

    async def get_counts(self) -> dict[str, int]:
        """How many tasks wait for dependencies, for a slot, for a retry, and how many run."""
        scheduler = self._scheduler()
        if scheduler is None:
            return {"waiting": 0, "ready": 0, "backoff": 0, "running": 0}
        return {
            "waiting": scheduler.waiting,
            "ready": scheduler.ready,
            "backoff": scheduler.backoff,
            "running": scheduler.running,
        }
