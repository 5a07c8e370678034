"""The figures of a processor: counted from what observers are told, put together when somebody asks.

The hooks only count; a look at the figures costs them nothing. Everything is plain attributes without locks, because
hooks and ``snapshot`` run on the event loop's thread. No figure grows with the number of tasks.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ..clock import Clock, SystemClock
from ..figures import EngineState
from ..model import TaskPriority, TaskStatus
from .loop_watch import LoopWatch
from .metrics import lane_metrics, loop_metrics, memory_metrics, queue_metrics, store_metrics
from .observer import AttemptEnded, Observer, TaskFinished, TaskRetried, TaskSubmitted
from .profiling import SlowestAttempts
from .tallies import ENDINGS, Latencies, SlotTally, TypeTallies
from .throughput import Throughput
from .tree_memory import TreeMemory

_CANCELLED = TaskStatus.CANCELLED
# Uptime is divided by; this stands for none.
_MIN_UPTIME_S = 1e-6


class PerformanceMonitor(Observer):
    """Counts and measures what a processor does. ``snapshot`` gives the figures.

    Args:
        clock: the time; only its ``monotonic`` is used.
        throughput_window_s: how far back ``current_throughput`` looks, in seconds.
        max_types: how many task types are told apart; those that come later are counted together, as "other".
        profiling: whether to keep the slowest attempts.
        slowest: how many of them per task type.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        throughput_window_s: float = 10.0,
        max_types: int = 200,
        profiling: bool = False,
        slowest: int = 3,
    ) -> None:
        clock = SystemClock() if clock is None else clock
        self._types = TypeTallies(max_types)
        # By number, so that counting one task takes no call into Python. There is no priority 0.
        self._priorities = [Latencies() for _ in range(len(TaskPriority) + 1)]
        self._slots: defaultdict[str, SlotTally] = defaultdict(SlotTally)
        self._throughput = Throughput(throughput_window_s)
        self._rejected: dict[str, int] = {}
        self._memory = TreeMemory(clock)
        self._slowest = SlowestAttempts(slowest, max_types) if profiling else None
        self._ran = 0
        self._ran_s = 0.0
        self._started_at: float | None = None
        self._uptime_before = 0.0

    # ---- hooks

    def started(self, at: float) -> None:
        """Uptime counts from now."""
        if self._started_at is None:
            self._started_at = at
        self._memory.start()

    def task_submitted(self, event: TaskSubmitted) -> None:
        """Count it."""
        self._types[event.task_type].submitted += 1

    def attempt_ended(self, event: AttemptEnded) -> None:
        """Measure how long it waited and ran, and count it for its slot."""
        ran = event.ran
        slot = self._slots[event.slot]
        slot.attempts += 1
        slot.busy_s += ran
        of_type, of_priority = self._types[event.task_type].latencies, self._priorities[event.priority]
        of_type.wait.record_with(of_priority.wait, event.waited)
        of_type.run.record_with(of_priority.run, ran)
        if self._slowest is not None:
            self._slowest.observe(event)

    def task_retried(self, event: TaskRetried) -> None:
        """Count it."""
        self._types[event.task_type].retries += 1

    def task_finished(self, event: TaskFinished) -> None:
        """Count it by its status, and measure how long it took in all."""
        tally = self._types[event.task_type]
        tally.ended[event.status] += 1
        if event.attempts:
            self._ran += 1
            self._ran_s += event.ran
        if event.status is not _CANCELLED:
            self._throughput.add(event.at)
            tally.latencies.total.record_with(self._priorities[event.priority].total, event.total)

    def submission_rejected(self, reason: str, at: float) -> None:  # noqa: ARG002 - part of the hook
        """Count it. The reasons are few and the engine's own."""
        self._rejected[reason] = self._rejected.get(reason, 0) + 1

    def stopped(self, at: float) -> None:
        """Uptime stands still from now."""
        self._uptime_before = self.uptime(at)
        self._started_at = None
        self._memory.stop()

    # ---- figures

    def uptime(self, now: float) -> float:
        """Seconds for which the processor has taken work, all its starts together."""
        return self._uptime_before + (0.0 if self._started_at is None else max(0.0, now - self._started_at))

    def snapshot(self, state: EngineState, watch: LoopWatch | None = None) -> dict[str, Any]:
        """All figures in JSON types; ``docs/monitoring.md`` explains each.

        Args:
            state: what only the engine knows.
            watch: the watch over the event loop, where there is one.
        """
        uptime = max(self.uptime(state.at), _MIN_UPTIME_S)
        return {
            **self._task_counts(),
            "current_throughput": self._throughput.rate(state.at, state.at - uptime),
            "queue_size": state.queue_size,
            "running_tasks": state.running_tasks,
            "worker_stats": self._worker_stats(state, uptime),
            "memory_usage_mb": self._memory.current_mb,
            "peak_memory_usage_mb": self._memory.peak_mb,
            "uptime_seconds": uptime,
            "latency": self._latency(),
            "types": {name: tally.counts() for name, tally in self._types.items()},
            "submissions_rejected": dict(self._rejected),
            "queue": queue_metrics(state),
            "memory": memory_metrics(state),
            **store_metrics(state),
            "event_loop_lag": loop_metrics(watch),
            **lane_metrics(state),
            **({} if self._slowest is None else {"slowest": self._slowest.snapshot()}),
        }

    def _task_counts(self) -> dict[str, Any]:
        tallies = self._types.values()
        ended = {status: sum(tally.ended[status] for tally in tallies) for status in ENDINGS}
        processed = sum(ended.values()) - ended[_CANCELLED]
        retries = {name: tally.retries for name, tally in self._types.items() if tally.retries}
        return {
            "tasks_submitted": sum(tally.submitted for tally in tallies),
            "tasks_processed": processed,
            "tasks_completed": ended[TaskStatus.COMPLETED],
            "tasks_failed": ended[TaskStatus.FAILED],
            "tasks_cancelled": ended[_CANCELLED],
            "tasks_timed_out": ended[TaskStatus.TIMEOUT],
            "status_counts": {status.value: number for status, number in ended.items()},
            # Of nothing, nothing has failed: a fresh start is no fault.
            "success_rate": 100.0 * ended[TaskStatus.COMPLETED] / processed if processed else 100.0,
            "average_execution_time": self._ran_s / self._ran if self._ran else 0.0,
            "retries": {"total": sum(retries.values()), "by_type": retries},
        }

    def _worker_stats(self, state: EngineState, uptime: float) -> dict[str, dict[str, Any]]:
        pids = {slot: pid for lane in state.lanes.values() for slot, pid in lane.workers.items()}
        return {
            slot: self._slots[slot].described(
                task_id, pids.get(slot), state.at - state.busy_since.get(slot, state.at), uptime
            )
            for slot, task_id in state.slots.items()
        }

    def _latency(self) -> dict[str, Any]:
        by_priority = {priority.name: self._priorities[priority] for priority in TaskPriority}
        used = {name: latencies for name, latencies in by_priority.items() if not latencies.empty}
        return {
            "overall": Latencies.merged(list(used.values())).summary(),
            "by_type": {name: tally.latencies.summary() for name, tally in self._types.items()},
            "by_priority": {name: latencies.summary() for name, latencies in used.items()},
        }
