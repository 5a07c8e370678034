"""What must hold between two events, whatever happened before. Slow; for tests and simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lifecycle import Phase
from .records import TaskRecord

if TYPE_CHECKING:
    from .scheduler import Scheduler


def check_scheduler(scheduler: Scheduler) -> None:
    """Assert that counts, queues, slots, memory and graph all tell the same story.

    Reads the scheduler's private parts: it is one of them, kept apart only so that each can be read alone.
    """
    scheduler._graph.check(cascading=scheduler.cascading)
    by_phase: dict[Phase, list[TaskRecord]] = {phase: [] for phase in Phase}
    for record in scheduler.records():
        by_phase[record.phase].append(record)
    assert scheduler.waiting == len(by_phase[Phase.WAITING]), "count of waiting tasks"
    assert scheduler.ready == len(by_phase[Phase.READY]), "count of ready tasks"
    assert scheduler.backoff == len(by_phase[Phase.BACKOFF]), "count of tasks in backoff"
    assert all(record.waits for record in by_phase[Phase.WAITING]), "a task waits for nothing"
    assert not any(record.waits for record in by_phase[Phase.READY]), "a task is ready too early"
    assert set(scheduler._ended) == set(by_phase[Phase.FINISHED]), "ended tasks"
    holding = by_phase[Phase.RUNNING] + by_phase[Phase.STOPPING]
    assert {record.token: record for record in holding} == scheduler._running, "running tasks"
    assert not scheduler._touched, "a lane was not looked at again"
    _check_lanes(scheduler, by_phase[Phase.READY], holding)
    _check_memory(scheduler, holding)
    _check_timers(scheduler, by_phase)


def _check_lanes(scheduler: Scheduler, ready: list[TaskRecord], holding: list[TaskRecord]) -> None:
    for name, lane in scheduler._lanes.items():
        lane.check([item for item in ready if item.lane is name], [item for item in holding if item.lane is name])
        # Nobody has waited too long before the beginning of time, so the guard keeps out of this question.
        could_start = lane.choose(float("-inf"))
        assert scheduler._paused or could_start is None, f"{could_start} could start and did not"


def _check_memory(scheduler: Scheduler, holding: list[TaskRecord]) -> None:
    heavy = [record.memory_mb for record in holding if record.memory_mb is not None]
    assert scheduler.memory.running == len(heavy), "count of memory-intensive tasks"
    assert abs(scheduler.memory.reserved_mb - sum(heavy)) < 1e-6, "reserved memory"


def _check_timers(scheduler: Scheduler, by_phase: dict[Phase, list[TaskRecord]]) -> None:
    """Whoever waits for a time has a timer: without one it would wait for ever."""
    awake = scheduler._timers.records()
    timed = [record for record in by_phase[Phase.RUNNING] if record.deadline is not None]
    expectant = [
        record for record in by_phase[Phase.WAITING] if record.held_for is not None or scheduler._graph.missing(record)
    ]
    for record in timed + expectant + by_phase[Phase.BACKOFF] + by_phase[Phase.STOPPING]:
        assert record in awake, f"{record} has no timer"
