"""Submitters that wait for room in the queue.

The most urgent is let in first, then the one that has waited longest. Letting in means that the engine takes the
task and then wakes the submitter, not the other way round: so nobody can slip into the room between, and a
submitter that is cancelled leaves either nothing or a task that it can still cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush

from ..errors import AsyncProcessorError
from .job import Job


class Waiting:
    """One submitter and the task it brings."""

    __slots__ = ("future", "record")

    def __init__(self, record: Job, future: asyncio.Future[None]) -> None:
        self.record = record
        self.future = future


class Intake:
    """All submitters that wait.

    Args:
        has_room_for: whether a task of an id may be accepted now.
        accept: takes a task in; may raise what ``submit`` raises.

    Attributes:
        size: how many there are.
    """

    __slots__ = ("_accept", "_by_id", "_has_room_for", "_heap", "_order", "size")

    def __init__(self, has_room_for: Callable[[str], bool], accept: Callable[[Job], None]) -> None:
        self._has_room_for = has_room_for
        self._accept = accept
        self._heap: list[tuple[int, int, Waiting]] = []
        # Several submitters may bring the same id; the first that is let in wins, the others get the error.
        self._by_id: dict[str, list[Waiting]] = {}
        self._order = 0
        self.size = 0

    async def wait(self, record: Job) -> None:
        """Return once the task is taken in.

        Raises:
            AsyncProcessorError: it was refused, or the processor was shut down meanwhile.
        """
        waiting = Waiting(record, asyncio.get_running_loop().create_future())
        self._order += 1
        heappush(self._heap, (record.priority, self._order, waiting))
        self._by_id.setdefault(record.id, []).append(waiting)
        self.size += 1
        try:
            await waiting.future
        finally:
            self._remove(waiting)

    def admit(self) -> bool:
        """Let in whoever there is room for. Whether anybody was let in or refused."""
        moved = False
        while (waiting := self._next()) is not None:
            self._let_in(waiting)
            moved = True
        return moved

    def admit_id(self, task_id: str) -> bool:
        """Let in the submitter of one id, for whom others wait and who therefore needs no room."""
        waiting = next(iter(self._by_id.get(task_id, ())), None)
        if waiting is None:
            return False
        self._let_in(waiting)
        return True

    def refuse_all(self, error: Callable[[Job], AsyncProcessorError]) -> None:
        """Send everybody away."""
        for waiting in [item for group in self._by_id.values() for item in group]:
            if not waiting.future.done():
                waiting.future.set_exception(error(waiting.record))
            self._remove(waiting)

    def _next(self) -> Waiting | None:
        heap = self._heap
        while heap and heap[0][2].future.done():
            heappop(heap)
        return heap[0][2] if heap and self._has_room_for(heap[0][2].record.id) else None

    def _let_in(self, waiting: Waiting) -> None:
        self._remove(waiting)
        if waiting.future.done():
            return
        try:
            self._accept(waiting.record)
        except AsyncProcessorError as error:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(None)

    def _remove(self, waiting: Waiting) -> None:
        group = self._by_id.get(waiting.record.id, [])
        if waiting in group:
            group.remove(waiting)
            self.size -= 1
            if not group:
                del self._by_id[waiting.record.id]
