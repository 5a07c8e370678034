"""Parts of the metrics that are read off, not counted: from the engine's state and from the loop's watch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..figures import EngineState
from ..model import LaneName
from .histogram import Histogram
from .loop_watch import LoopWatch


def queue_metrics(state: EngineState) -> dict[str, Any]:
    """What waits, and for what."""
    return {
        "ready": state.ready,
        "waiting_for_dependencies": state.waiting_for_dependencies,
        "in_backoff": state.in_backoff,
        "ready_by_priority": {priority.name: number for priority, number in state.ready_by_priority.items()},
        "oldest_ready_age_seconds": state.oldest_ready_age,
    }


def store_metrics(state: EngineState) -> dict[str, Any]:
    """What is kept, and what waits for something that only a restart brings about."""
    return {
        "store": None if state.store is None else asdict(state.store),
        "waiting_for_registration": dict(state.waiting_for_registration),
    }


def memory_metrics(state: EngineState) -> dict[str, Any]:
    """What memory-intensive tasks have set aside, may set aside, and are expected to need."""
    return {
        "reserved_mb": state.reserved_memory_mb,
        "limit_mb": state.memory_limit_mb,
        "learned_mb": dict(state.learned_memory_mb),
    }


def lane_metrics(state: EngineState) -> dict[str, Any]:
    """How the lanes are, each and together."""
    lanes = state.lanes.values()
    return {
        "lanes": {
            name.value: {
                "healthy": lane.healthy,
                "reason": lane.reason,
                "replaced_workers": lane.replaced_workers,
                "abandoned": lane.abandoned,
                "abandoned_total": lane.abandoned_total,
                "stale_reports": lane.stale_reports,
            }
            for name, lane in state.lanes.items()
        },
        "abandoned_threads": state.lanes[LaneName.THREAD].abandoned if LaneName.THREAD in state.lanes else 0,
        "replaced_workers": sum(lane.replaced_workers for lane in lanes),
        "stale_reports": state.stale_reports + sum(lane.stale_reports for lane in lanes),
        "engine_faults": state.faults,
    }


def loop_metrics(watch: LoopWatch | None) -> dict[str, Any]:
    """How late the event loop is, and when it stood still."""
    if watch is None:
        return {**Histogram().summary(), "stalls": 0, "last_stall": None}
    stall = watch.last_stall
    return {
        **watch.lag.summary(),
        "stalls": watch.stalls,
        "last_stall": None if stall is None else stall.described(),
    }
