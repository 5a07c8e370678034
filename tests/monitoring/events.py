"""Makes the events that an engine would send."""

from __future__ import annotations

from async_processor.model import LaneName, TaskPriority, TaskResult, TaskStatus
from async_processor.monitoring.observer import (
    AttemptEnded,
    AttemptStarted,
    Observer,
    TaskFinished,
    TaskRetried,
    TaskSubmitted,
)


class Play:
    """Tells an observer of tasks, as an engine would. All times are given."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._count = 0

    def task(
        self,
        *,
        task_type="t",
        priority=TaskPriority.NORMAL,
        status=TaskStatus.COMPLETED,
        at=0.0,
        wait=0.0,
        run=1.0,
        slot="async-0",
        ran=True,
    ):
        """A whole life: submitted ``at``, one attempt if it ``ran``, and the end. Gives the time of the end."""
        self._count += 1
        task_id = f"task-{self._count}"
        self._observer.task_submitted(TaskSubmitted(task_id, task_type, priority, at))
        end = at
        if ran:
            self.attempt(task_id, task_type, priority, at=at, wait=wait, run=run, slot=slot)
            end = at + wait + run
        self.finish(
            task_id, task_type, priority, status, attempts=int(ran), run=run if ran else 0.0, total=end - at, at=end
        )
        return end

    def submit(self, task_id, task_type="t", priority=TaskPriority.NORMAL, at=0.0):
        self._observer.task_submitted(TaskSubmitted(task_id, task_type, priority, at))

    def attempt(
        self, task_id, task_type="t", priority=TaskPriority.NORMAL, *, at=0.0, wait=0.0, run=1.0, slot="async-0", **more
    ):
        self.begin(task_id, task_type, priority, at=at + wait, wait=wait, slot=slot)
        self.end(task_id, task_type, priority, at=at + wait + run, wait=wait, run=run, slot=slot, **more)

    def begin(self, task_id, task_type="t", priority=TaskPriority.NORMAL, *, at=0.0, wait=0.0, slot="async-0"):
        lane = LaneName(slot.partition("-")[0])
        self._observer.attempt_started(AttemptStarted(task_id, task_type, priority, lane, slot, 1, wait, at))

    def end(
        self,
        task_id,
        task_type="t",
        priority=TaskPriority.NORMAL,
        *,
        at=1.0,
        wait=0.0,
        run=1.0,
        slot="async-0",
        cpu_time=None,
        peak_memory_mb=None,
        profile=None,
    ):
        lane = LaneName(slot.partition("-")[0])
        self._observer.attempt_ended(
            AttemptEnded(
                task_id, task_type, lane, slot, 1, True, run, at, cpu_time, peak_memory_mb, profile, priority, wait
            )
        )

    def retry(self, task_type="t", at=0.0):
        self._observer.task_retried(TaskRetried("task", task_type, 1, 0.5, "ValueError", at))

    def finish(self, task_id, task_type, priority, status, *, attempts=1, run=1.0, total=1.0, at=1.0):
        result = TaskResult(task_id=task_id, status=status)
        self._observer.task_finished(
            TaskFinished(task_id, task_type, priority, status, attempts, run, total, at, result)
        )
