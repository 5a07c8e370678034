"""What can be asked of a scheduler; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..model import LaneName, TaskPriority
from .admission import LaneAdmission, MemoryBudget
from .cascade import Cascade
from .graph import DependencyGraph
from .lifecycle import READY
from .records import TaskRecord


class Questions:
    """The read-only side of ``Scheduler``, which alone makes and changes what is declared here."""

    queue_size: int
    memory: MemoryBudget
    _graph: DependencyGraph
    _lanes: dict[LaneName, LaneAdmission]
    _cascade: Cascade
    _running: dict[int, TaskRecord]
    _waiting: int
    _ready: int
    _backoff: int

    def find(self, task_id: str) -> Any:
        """The record of a task that is known, of the class of which it was submitted; None if none is."""
        return self._graph.records.get(task_id)

    def running_record(self, token: int) -> Any:
        """The record whose attempt carries this token, as ``find``; None if that attempt has ended or was given up."""
        return self._running.get(token)

    def records(self) -> Iterable[TaskRecord]:
        """All records that are known, in order of submission. For inspection: O(all tasks)."""
        return self._graph.records.values()

    def has_room_for(self, task_id: str) -> bool:
        """Whether a task of this id may be submitted now. One that others wait for always may: they hold the room."""
        return self.pending < self.queue_size or self._graph.is_awaited(task_id)

    @property
    def pending(self) -> int:
        """How many tasks have not ended and do not run: the size of the queue."""
        return self._waiting + self._ready + self._backoff

    @property
    def waiting(self) -> int:
        """How many tasks wait for dependencies."""
        return self._waiting

    @property
    def ready(self) -> int:
        """How many tasks wait for a slot."""
        return self._ready

    @property
    def backoff(self) -> int:
        """How many tasks wait for the time of their next attempt."""
        return self._backoff

    @property
    def running(self) -> int:
        """How many tasks hold a slot."""
        return len(self._running)

    @property
    def memory_matters(self) -> bool:
        """Whether memory-intensive tasks run, or could start but for memory."""
        return self.memory.running > 0 or any(lane.heavy_ready for lane in self._lanes.values())

    @property
    def cascading(self) -> bool:
        """Whether dependents of ended tasks have yet to be told; then ``wake`` should be called at once."""
        return bool(self._cascade.waves)

    @property
    def idle(self) -> bool:
        """Whether every task has ended."""
        return not self._running and not self.pending

    def ready_ids(self) -> list[str]:
        """Ids of the tasks that wait for a slot only. For inspection: O(all tasks)."""
        return [record.id for record in self.records() if record.phase is READY]

    def ready_by_priority(self) -> dict[TaskPriority, int]:
        """How many tasks of each urgency wait for a slot."""
        counts = [lane.ready_by_urgency() for lane in self._lanes.values()]
        return {priority: sum(count[priority] for count in counts) for priority in TaskPriority}

    def ready_by_lane(self) -> dict[LaneName, int]:
        """How many tasks wait for a slot of each lane."""
        return {name: lane.ready for name, lane in self._lanes.items()}

    def oldest_ready_at(self) -> float | None:
        """Since when the longest-waiting ready task has been ready."""
        oldest = [lane.longest_waiting() for lane in self._lanes.values()]
        return min((record.ready_at for record in oldest if record is not None), default=None)

    def slots(self) -> dict[str, TaskRecord | None]:
        """Every slot and the record it runs."""
        return {slot: record for lane in self._lanes.values() for slot, record in lane.slots.items()}
