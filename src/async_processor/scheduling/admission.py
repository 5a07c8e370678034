"""Who may start now: free slots, reserved slots, memory, and the starvation guard.

One ``LaneAdmission`` per lane. It owns the lane's slots and its ready tasks, and answers one question: which task,
if any, should take a slot at this moment. Memory-intensive tasks queue apart from the others, so that one that
must wait for memory holds up no task that needs none; among themselves they keep strict order, so that a large one
is never passed by a stream of small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError
from ..model import TaskPriority
from .ready_queue import ReadyQueue
from .records import TaskRecord

# Lanes with fewer slots keep none in reserve: a quarter of the lane idle would cost more than it buys.
MIN_SLOTS_FOR_RESERVE = 4

# As plain integers, like the urgencies that they are compared with.
_CRITICAL, _HIGH = int(TaskPriority.CRITICAL), int(TaskPriority.HIGH)


class MemoryBudget:
    """Memory that running memory-intensive tasks have set aside.

    Attributes:
        limit_mb: how much may be set aside together, in MiB.
        under_pressure: set from outside while memory as measured is too full to start anything large.
    """

    __slots__ = ("limit_mb", "reserved_mb", "running", "under_pressure")

    def __init__(self, limit_mb: float) -> None:
        self.limit_mb = limit_mb
        self.under_pressure = False
        self.reserved_mb = 0.0
        self.running = 0

    def admits(self, record: TaskRecord) -> bool:
        """Whether the record may start. One always may, however large: else it would wait for ever."""
        if record.memory_mb is None or self.running == 0:
            return True
        return not self.under_pressure and self.reserved_mb + record.memory_mb <= self.limit_mb

    def take(self, record: TaskRecord) -> None:
        """Set memory aside for a record that starts."""
        if record.memory_mb is not None:
            self.running += 1
            self.reserved_mb += record.memory_mb

    def give_back(self, record: TaskRecord) -> None:
        """The record left its slot."""
        if record.memory_mb is not None:
            self.running -= 1
            # From zero again when nothing runs, so that rounding errors never add up.
            self.reserved_mb = self.reserved_mb - record.memory_mb if self.running else 0.0


@dataclass(slots=True, frozen=True)
class Fairness:
    """When order by urgency gives way.

    Attributes:
        reserved_slots: slots per lane that only CRITICAL and HIGH may take.
        max_wait: seconds after which a ready task counts as starving.
        guard_interval: every so many starts the longest-starving task is given one.
    """

    reserved_slots: int = 1
    max_wait: float = 60.0
    guard_interval: int = 16


class LaneAdmission:
    """Slots and ready tasks of one lane."""

    __slots__ = (
        "_free", "_guard_at", "_guard_debt", "_heavy", "_light", "_max_wait", "_memory", "_reserved", "slots",
    )  # fmt: skip

    def __init__(self, slots: tuple[str, ...], fairness: Fairness, memory: MemoryBudget) -> None:
        if not slots:
            raise ConfigurationError("a lane needs at least one slot")
        self.slots: dict[str, TaskRecord | None] = dict.fromkeys(slots)
        # A stack: the slot used last is the warmest.
        self._free = list(reversed(slots))
        self._reserved = fairness.reserved_slots if len(slots) >= MIN_SLOTS_FOR_RESERVE else 0
        if self._reserved >= len(slots):
            raise ConfigurationError(
                f"reserved_slots is {self._reserved}, but the lane has only {len(slots)} slots; "
                "leave at least one for work that is not urgent"
            )
        self._guard_at = fairness.guard_interval - 1
        self._max_wait = fairness.max_wait
        self._memory = memory
        self._light = ReadyQueue()
        self._heavy = ReadyQueue()
        self._guard_debt = 0

    # ---- ready tasks

    @property
    def ready(self) -> int:
        """How many tasks are ready."""
        return self._light.size + self._heavy.size

    @property
    def heavy_ready(self) -> int:
        """How many memory-intensive tasks are ready."""
        return self._heavy.size

    def ready_by_urgency(self) -> list[int]:
        """How many tasks of each urgency are ready; the index is the urgency."""
        return [light + heavy for light, heavy in zip(self._light.by_urgency, self._heavy.by_urgency, strict=True)]

    # Each task comes through here and ``take``: what they ask themselves saves a call each, 3 % of a task in all.

    def push(self, record: TaskRecord) -> None:
        """A record became READY."""
        (self._light if record.memory_mb is None else self._heavy).push(record)

    def removed(self, record: TaskRecord) -> None:
        """A record is READY no longer."""
        (self._light if record.memory_mb is None else self._heavy).removed(record)

    def reprioritised(self, record: TaskRecord, former: int) -> None:
        """The urgency of a READY record changed."""
        (self._light if record.memory_mb is None else self._heavy).reprioritised(record, former)

    def longest_waiting(self) -> TaskRecord | None:
        """The record that has been READY for longest."""
        return _oldest(self._light.longest_waiting(), self._heavy.longest_waiting())

    # ---- slots

    def choose(self, now: float) -> TaskRecord | None:
        """The record that should take a slot now, or None. Changes nothing: ``take`` does."""
        free = len(self._free)
        if not free:
            return None
        first = self._first() if self._heavy.size else self._light.head()
        if first is None or first.urgency == _CRITICAL:
            return first
        starving = self._starving(now)
        if starving is not None:
            return starving
        if first.urgency > _HIGH and free <= self._reserved:
            return None
        return first

    def take(self, record: TaskRecord, now: float) -> str:
        """Give a slot to a record that ``choose`` gave; call before its phase changes."""
        # Counts starts since the guard last had its turn; a turn that helped nobody who starves is kept, not lost.
        self._guard_debt = 0 if record is self._starving(now) else self._guard_debt + 1
        slot = self._free.pop()
        self.slots[slot] = record
        if record.memory_mb is not None:
            self._memory.take(record)
        return slot

    def release(self, record: TaskRecord) -> None:
        """The record's slot is free again."""
        slot = record.slot
        assert slot is not None, record
        self.slots[slot] = None
        self._free.append(slot)
        if record.memory_mb is not None:
            self._memory.give_back(record)

    def _first(self) -> TaskRecord | None:
        light, heavy = self._light.head(), self._heavy.head()
        if heavy is None or not self._memory.admits(heavy):
            return light
        if light is None:
            return heavy
        return min(light, heavy, key=lambda item: (item.urgency, item.seq))

    def _starving(self, now: float) -> TaskRecord | None:
        """The record that has waited longest, if that is too long, among those that memory would let start.

        None as well as long as it is not the guard's turn.
        """
        if self._guard_debt < self._guard_at:
            return None
        before = now - self._max_wait
        if not (self._light.may_hold_older(before) or (self._heavy.size and self._heavy.may_hold_older(before))):
            return None
        heavy = self._heavy.longest_waiting()
        if heavy is not None and not self._memory.admits(heavy):
            heavy = None
        longest = _oldest(self._light.longest_waiting(), heavy)
        return longest if longest is not None and longest.ready_at < before else None

    # ---- invariants

    def check(self, ready: list[TaskRecord], running: list[TaskRecord]) -> None:
        """Assert that queues and slots hold exactly these records. Slow; for tests."""
        self._light.check([item for item in ready if item.memory_mb is None])
        self._heavy.check([item for item in ready if item.memory_mb is not None])
        taken = {slot: record for slot, record in self.slots.items() if record is not None}
        assert {item.slot: item for item in running} == taken, "slots and running tasks disagree"
        assert len(taken) == len(running), "two tasks in one slot"
        assert sorted(self._free) == sorted(slot for slot in self.slots if slot not in taken), "free slots"


def _oldest(*records: TaskRecord | None) -> TaskRecord | None:
    waiting = [item for item in records if item is not None]
    return min(waiting, key=lambda item: (item.ready_at, item.seq), default=None)
