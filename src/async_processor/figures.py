"""Figures that one part of the engine hands to another: lanes to the engine, the engine to whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .model import LaneName, TaskPriority


@dataclass(slots=True, frozen=True, kw_only=True)
class LaneStatistics:
    """Figures of a lane, for metrics and health.

    Attributes:
        healthy: whether the lane can take work now.
        reason: why not, in words; empty when healthy.
        workers: slot -> process id, for lanes with processes.
        replaced_workers: worker processes started to take the place of another, so far.
        abandoned: attempts given up that still run (threads, stubborn coroutines).
        abandoned_total: attempts given up so far.
        stale_reports: reports of abandoned attempts that came later and were dropped.
    """

    healthy: bool = True
    reason: str = ""
    workers: Mapping[str, int] = field(default_factory=dict)
    replaced_workers: int = 0
    abandoned: int = 0
    abandoned_total: int = 0
    stale_reports: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class StoreStatistics:
    """Figures of a store, for metrics and health.

    Attributes:
        kind: "memory" or "sqlite".
        location: the file, or "" for none.
        engine_version: of the database library, or "".
        durability: "none", "process" or "power".
        pending_changes: written and not yet told of.
        commits: so far.
        changes: kept so far.
        last_commit_s: how long the last commit took.
        failing: why nothing can be written at the moment; empty when it can.
        journal_bytes: size of the write-ahead log.
        quarantined: rows that could not be read.
    """

    kind: str
    location: str = ""
    engine_version: str = ""
    durability: str = "none"
    pending_changes: int = 0
    commits: int = 0
    changes: int = 0
    last_commit_s: float = 0.0
    failing: str = ""
    journal_bytes: int = 0
    quarantined: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class EngineState:
    """What only the engine knows, at one moment.

    Attributes:
        running: whether it takes work.
        at: seconds of the monotonic clock.
        queue_size: accepted tasks that do not run now: waiting for dependencies, for a slot or for a retry.
        queue_capacity: how many of them there may be before a submit waits; 0 before the start.
        running_tasks: tasks with an attempt in a slot.
        waiting_for_dependencies, ready, in_backoff: the parts of ``queue_size``.
        ready_by_priority: ready tasks by the priority they have now.
        ready_by_lane: ready tasks by the lane they wait for.
        oldest_ready_age: seconds that the longest-waiting ready task has waited; 0.0 if there is none.
        slots: every slot, and the id of the task it runs, or None.
        busy_since: slot -> when the attempt that it runs began.
        last_start_at: when the latest attempt was given a slot; minus infinity if none was.
        lanes: figures of each lane.
        reserved_memory_mb: memory set aside for running memory-intensive tasks.
        memory_limit_mb: how much may be set aside.
        learned_memory_mb: task type -> expected peak, learned from earlier attempts.
        stale_reports: reports of attempts that had been given up, dropped by the engine.
        waiting_for_registration: task type -> how many tasks taken up from the store wait for its function.
        store: figures of the store; None without one.
        faults: errors of the engine itself that it survived; anything but 0 is worth a report.
        timer_failing_s: for how many seconds timeouts and retries could not be looked after; 0.0 when they can.
    """

    running: bool
    at: float
    queue_size: int = 0
    queue_capacity: int = 0
    running_tasks: int = 0
    waiting_for_dependencies: int = 0
    ready: int = 0
    in_backoff: int = 0
    ready_by_priority: Mapping[TaskPriority, int] = field(default_factory=dict)
    ready_by_lane: Mapping[LaneName, int] = field(default_factory=dict)
    oldest_ready_age: float = 0.0
    slots: Mapping[str, str | None] = field(default_factory=dict)
    busy_since: Mapping[str, float] = field(default_factory=dict)
    last_start_at: float = float("-inf")
    lanes: Mapping[LaneName, LaneStatistics] = field(default_factory=dict)
    reserved_memory_mb: float = 0.0
    memory_limit_mb: float = 0.0
    learned_memory_mb: Mapping[str, float] = field(default_factory=dict)
    stale_reports: int = 0
    waiting_for_registration: Mapping[str, int] = field(default_factory=dict)
    store: StoreStatistics | None = None
    faults: int = 0
    timer_failing_s: float = 0.0
