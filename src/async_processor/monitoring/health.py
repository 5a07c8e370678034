"""Whether a processor works, and if not, why.

Health asks for progress, not for success: that many tasks fail is a fact about the tasks, that ready ones do not start
is a fault of the processor. That the queue is nearly full is worth a warning, and a reason to send work elsewhere; the
success rate is in the metrics, for whoever wants to judge by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..figures import EngineState, LaneStatistics
from ..model import LaneName
from .loop_watch import LoopWatch

NO_PROGRESS_S = 10.0
"""Ready tasks, nothing running and no start for so many seconds: something is stuck."""
TIMER_FAILING_S = 10.0
"""Timeouts and retries not looked after for so many seconds: nothing but a new process will help."""
QUEUE_NEARLY_FULL = 0.9
"""Part of the queue's room beyond which work had better go elsewhere."""
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
        observed: the figure that was judged, where there is one; ``unit`` says of what.
    """

    name: str
    status: Status = "pass"
    reason: str = ""
    observed: float | None = None
    unit: str = ""


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


def health_report(state: EngineState, watch: LoopWatch | None = None) -> HealthReport:
    """Judge a processor by its state.

    Args:
        state: what only the engine knows.
        watch: the watch over the event loop, where there is one.
    """
    return HealthReport(
        (
            _running(state),
            _queue(state, "warn"),
            _progress(state),
            *(_lane(name, lane, state) for name, lane in state.lanes.items()),
            _event_loop(watch),
            _timer(state),
            _engine(state),
            _store(state),
        )
    )


def liveness_report(state: EngineState) -> HealthReport:
    """Whether the process should go on, or be started anew.

    Nothing that another process would suffer from too (a full queue, a store or lane that cannot work, tasks that
    fail), and not whether it takes tasks: one that drains would lose what it runs.
    """
    return HealthReport((_timer(state),))


def readiness_report(state: EngineState) -> HealthReport:
    """Whether work should be sent here. Of a lane that cannot work at once, and not when tasks wait for it."""
    return HealthReport(
        (
            _running(state),
            _queue(state, "fail"),
            _progress(state),
            *(replace(_lane(name, lane, state), status=_passes(lane.healthy)) for name, lane in state.lanes.items()),
            _store(state),
        )
    )


def _passes(well: bool) -> Status:
    return "pass" if well else "fail"


def _timer(state: EngineState) -> HealthCheck:
    if state.timer_failing_s < TIMER_FAILING_S:
        return HealthCheck("timer")
    reason = f"timeouts and retries have not been looked after for {state.timer_failing_s:.0f} s; the log says why"
    return HealthCheck("timer", "fail", reason)


def _queue(state: EngineState, status: Status) -> HealthCheck:
    check = HealthCheck("queue", observed=state.queue_size, unit="tasks")
    if state.queue_size < state.queue_capacity * QUEUE_NEARLY_FULL or not state.queue_capacity:
        return check
    reason = f"{state.queue_size} tasks wait, and there is room for {state.queue_capacity}"
    return replace(check, status=status, reason=reason)


def _running(state: EngineState) -> HealthCheck:
    if state.running:
        return HealthCheck("running")
    return HealthCheck("running", "fail", "the processor takes no tasks: it was not started, or is shutting down")


def _progress(state: EngineState) -> HealthCheck:
    waited = min(state.oldest_ready_age, state.at - state.last_start_at)
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
