"""Slots, memory and the guard of one lane by themselves; the tests of the scheduler show how they play together."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import BATCH, CRITICAL, HIGH, NORMAL

from async_processor.errors import ConfigurationError
from async_processor.model import TaskPriority
from async_processor.scheduling.admission import Fairness, LaneAdmission, MemoryBudget
from async_processor.scheduling.lifecycle import Step
from async_processor.scheduling.records import TaskRecord


def admission(slots: int, *, memory_mb: float = 100.0, **fairness: float) -> LaneAdmission:
    names = tuple(f"async-{number}" for number in range(slots))
    return LaneAdmission(names, Fairness(**fairness), MemoryBudget(memory_mb))  # type: ignore[arg-type]


def ready(
    lane: LaneAdmission, task_id: str, priority: TaskPriority = NORMAL, *, at: float = 0.0, memory: float | None = None
) -> TaskRecord:
    record = TaskRecord(task_id, priority=priority, memory_mb=memory)
    record.seq = lane.ready
    record.advance(Step.RELEASE)
    record.ready_at = at
    lane.push(record)
    return record


def start(lane: LaneAdmission, now: float) -> TaskRecord | None:
    """What the scheduler does with whoever is chosen."""
    record = lane.choose(now)
    if record is not None:
        record.slot = lane.take(record, now)
        lane.removed(record)
        record.advance(Step.START)
    return record


# ---- slots


def test_a_lane_without_slots_is_refused():
    with pytest.raises(ConfigurationError, match="at least one slot"):
        admission(0)


@pytest.mark.parametrize("reserved", [4, 5])
def test_a_lane_that_would_keep_every_slot_in_reserve_is_refused(reserved: int):
    with pytest.raises(ConfigurationError, match=f"reserved_slots is {reserved}, but the lane has only 4 slots"):
        admission(4, reserved_slots=reserved)


@pytest.mark.parametrize(("slots", "for_all"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (16, 15)])
def test_only_lanes_of_four_slots_or_more_keep_one_in_reserve(slots: int, for_all: int):
    lane = admission(slots)
    for number in range(slots):
        ready(lane, str(number))

    started = 0
    while start(lane, 0.0) is not None:
        started += 1

    assert started == for_all


def test_small_lanes_reserve_nothing_whatever_the_configuration_says():
    lane = admission(3, reserved_slots=7)
    for number in range(3):
        ready(lane, str(number))

    assert [start(lane, 0.0) is not None for _ in range(4)] == [True, True, True, False]


def test_to_choose_changes_nothing():
    lane = admission(1)
    record = ready(lane, "a")

    assert [lane.choose(0.0) for _ in range(3)] == [record] * 3
    assert lane.slots == {"async-0": None}


def test_a_slot_belongs_to_one_record_until_it_is_released():
    lane = admission(1)
    first, second = ready(lane, "a"), ready(lane, "b")
    start(lane, 0.0)
    held = dict(lane.slots)
    nobody = start(lane, 0.0)
    lane.release(first)

    assert held == {"async-0": first}
    assert nobody is None
    assert start(lane, 0.0) is second


def test_with_nobody_ready_nobody_is_chosen():
    lane = admission(2)

    assert (lane.choose(0.0), lane.ready, lane.heavy_ready, lane.longest_waiting()) == (None, 0, 0, None)


def test_light_and_heavy_tasks_are_counted_together_and_apart():
    lane = admission(1)
    ready(lane, "a", HIGH)
    oldest = ready(lane, "b", memory=10.0)
    ready(lane, "c", BATCH, memory=10.0)
    oldest.ready_at = -1.0

    assert (lane.ready, lane.heavy_ready) == (3, 2)
    assert lane.ready_by_urgency() == [0, 0, 1, 1, 0, 1]


def test_the_longest_waiting_is_looked_for_among_light_and_heavy():
    lane = admission(1)
    first = ready(lane, "heavy", at=1.0, memory=10.0)
    second = ready(lane, "light", at=2.0)

    assert lane.longest_waiting() is first
    lane.removed(first)
    first.advance(Step.CANCEL)
    assert lane.longest_waiting() is second


# ---- memory


def test_a_budget_without_a_limit_admits_everything():
    budget = MemoryBudget(float("inf"))
    records = [TaskRecord(str(number), memory_mb=1e9) for number in range(3)]

    for record in records:
        assert budget.admits(record)
        budget.take(record)

    assert (budget.running, budget.reserved_mb) == (3, 3e9)


def test_records_that_need_no_memory_do_not_touch_the_budget():
    budget = MemoryBudget(0.0)
    light = TaskRecord("light")
    budget.under_pressure = True

    assert budget.admits(light)
    budget.take(light)
    budget.give_back(light)
    assert (budget.running, budget.reserved_mb) == (0, 0.0)


def test_a_budget_of_nothing_still_lets_one_run():
    budget = MemoryBudget(0.0)
    first, second = TaskRecord("a", memory_mb=1.0), TaskRecord("b", memory_mb=1.0)

    admitted = [budget.admits(first)]
    budget.take(first)
    admitted.append(budget.admits(second))
    budget.give_back(first)
    admitted.append(budget.admits(second))

    assert admitted == [True, False, True]


def test_the_last_to_leave_leaves_nothing_behind():
    budget = MemoryBudget(100.0)
    records = [TaskRecord(str(number), memory_mb=0.1) for number in range(10)]
    for record in records:
        budget.take(record)
    for record in records:
        budget.give_back(record)

    assert budget.reserved_mb == 0.0


# ---- the guard


@pytest.mark.parametrize("interval", [1, 2, 3, 16])
def test_the_guard_has_a_turn_at_every_so_many_starts(interval: int):
    lane = admission(1, max_wait=10.0, guard_interval=interval)
    for number in range(3):
        ready(lane, f"starving-{number}", BATCH)
    for number in range(100):
        ready(lane, f"high-{number}", HIGH, at=50.0)

    places = []
    for place in range(1, 3 * interval + 1):
        record = start(lane, 50.0)
        assert record is not None
        if record.id.startswith("starving"):
            places.append(place)
        lane.release(record)

    assert places == [interval, 2 * interval, 3 * interval]


def test_a_turn_that_nobody_needs_is_kept():
    lane = admission(1, max_wait=10.0, guard_interval=4)
    late = ready(lane, "late", BATCH, at=100.0)
    for number in range(20):
        ready(lane, f"high-{number}", HIGH, at=100.0)
    for _ in range(10):
        record = start(lane, 100.0)
        assert record is not None
        lane.release(record)

    assert start(lane, 110.1) is late


def test_the_guard_never_passes_a_critical_task():
    lane = admission(1, max_wait=10.0, guard_interval=1)
    starving = ready(lane, "starving", BATCH)
    critical = ready(lane, "critical", CRITICAL, at=50.0)

    assert start(lane, 50.0) is critical
    lane.release(critical)
    assert start(lane, 50.0) is starving


def test_before_the_beginning_of_time_nobody_starves():
    """The invariants ask so, to see who could start by the order of urgency alone."""
    lane = admission(1, max_wait=0.0, guard_interval=1)
    ready(lane, "old", BATCH)
    high = ready(lane, "high", HIGH)

    assert lane.choose(float("-inf")) is high


# ---- its own check


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda lane, record: lane.slots.update({"async-1": record}), "slots and running tasks disagree"),
        (lambda lane, record: lane._free.append("async-0"), "free slots"),
        (lambda lane, record: ready(lane, "unknown"), r"\(1, \[\]\)"),
    ],
)
def test_its_check_sees_what_does_not_agree(harm: object, complaint: str):
    lane = admission(2)
    record = ready(lane, "a")
    start(lane, 0.0)
    lane.check([], [record])

    harm(lane, record)  # type: ignore[operator]

    with pytest.raises(AssertionError, match=complaint):
        lane.check([], [record])
