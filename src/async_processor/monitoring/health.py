"""Whether a processor works, and if not, why.

Health asks for progress, not for success: that many tasks fail is a fact about the tasks, that ready ones do not start
is a fault of the processor. Success rate and queue length are in the metrics, for whoever wants to judge by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..figures import EngineState, LaneStatistics
from ..model import LaneName
from .loop_watch import LoopWatch
from .performance import PerformanceMonitor

NO_PROGRESS_S = 10.0
"""Ready tasks, nothing running and no start for so many seconds: something is stuck."""
STALL_REMEMBERED_S = 60.0
"""For so many seconds a blocked event loop is held against the processor."""

Status = Literal["pass", "warn", "fail"]
_WORDS = {"pass": "healthy", "warn": "degraded", "fail": "unhealthy"}
_ORDER: tuple[Status, ...] = ("pass", "warn", "fail")


@dataclass(slots=True, frozen=True)
class HealthCheck:
    """One thing looked at.

    Attributes:
        name: what was looked at, e.g. ``"lane:process"``.
        status: "pass", "warn" or "fail".
        reason: what is wrong, in words; empty when nothing is.
    """

    name: str
    status: Status = "pass"
    reason: str = ""


@dataclass(slots=True, frozen=True)
class HealthReport:
    """The health of a processor: as bad as the worst of its checks."""

    checks: tuple[HealthCheck, ...] = field(default=())

    @property
    def status(self) -> Status:
        """ "pass", "warn" or "fail", as health endpoints say it."""
        return max((check.status for check in self.checks), key=_ORDER.index, default="pass")

    @property
    def word(self) -> str:
        """ "healthy", "degraded" or "unhealthy", as people say it."""
        return _WORDS[self.status]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, the worst first."""
        wrong = sorted(self.checks, key=lambda check: _ORDER.index(check.status), reverse=True)
        return tuple(check.reason for check in wrong if check.reason)

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "status": self.status,
            "health": self.word,
            "reasons": list(self.reasons),
            "checks": {check.name: {"status": check.status, "reason": check.reason} for check in self.checks},
        }


def health_report(state: EngineState, monitor: PerformanceMonitor, watch: LoopWatch | None = None) -> HealthReport:
    """Judge a processor by its state.

    Args:
        state: what only the engine knows.
        monitor: knows when the latest attempt began.
        watch: the watch over the event loop, where there is one.
    """
    return HealthReport(
        (
            _running(state),
            _progress(state, monitor),
            *(_lane(name, lane, state) for name, lane in state.lanes.items()),
            _event_loop(watch),
            _engine(state),
            _store(state),
        )
    )


def _running(state: EngineState) -> HealthCheck:
    if state.running:
        return HealthCheck("running")
    return HealthCheck("running", "fail", "the processor takes no tasks: it was not started, or is shutting down")


def _progress(state: EngineState, monitor: PerformanceMonitor) -> HealthCheck:
    waited = min(state.oldest_ready_age, state.at - monitor.last_start_at())
    if not state.ready or state.running_tasks or waited < NO_PROGRESS_S:
        return HealthCheck("progress")
    reason = f"{state.ready} tasks are ready, none runs, and none was started for {waited:.0f} s"
    return HealthCheck("progress", "fail", reason)


def _lane(name: LaneName, lane: LaneStatistics, state: EngineState) -> HealthCheck:
    check = f"lane:{name.value}"
    if lane.healthy:
        return HealthCheck(check)
    waiting = state.ready_by_lane.get(name, 0)
    reason = f"the {name.value} lane takes no work: {lane.reason}"
    if not waiting:
        return HealthCheck(check, "warn", reason)
    return HealthCheck(check, "fail", f"{reason}; {waiting} tasks wait for it")


def _event_loop(watch: LoopWatch | None) -> HealthCheck:
    stall = None if watch is None else watch.last_stall
    ago = None if watch is None else watch.seconds_since_stall()
    if stall is None or ago is None or ago > STALL_REMEMBERED_S:
        return HealthCheck("event_loop")
    what = f"blocked in {stall.function} ({stall.file}:{stall.line})" if stall.function else "kept from running"
    reason = f"the event loop was {what} for {stall.seconds:.2f} s, {ago:.0f} s ago"
    return HealthCheck("event_loop", "warn", reason)


def _engine(state: EngineState) -> HealthCheck:
    if not state.faults:
        return HealthCheck("engine")
    reason = f"the engine survived {state.faults} errors of its own; they are in the log, please report them"
    return HealthCheck("engine", "warn", reason)


def _store(state: EngineState) -> HealthCheck:
    if state.store is not None and state.store.failing:
        return HealthCheck("store", "fail", f"nothing can be stored, so nothing begins or ends: {state.store.failing}")
    if state.waiting_for_registration:
        waiting = ", ".join(f"{count} of {name!r}" for name, count in sorted(state.waiting_for_registration.items()))
        return HealthCheck("store", "warn", f"tasks taken up from the store wait for a processor function: {waiting}")
    if state.store is not None and state.store.quarantined:
        return HealthCheck("store", "warn", f"{state.store.quarantined} rows of the store cannot be read; see the log")
    return HealthCheck("store")
