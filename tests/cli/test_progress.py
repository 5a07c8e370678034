from __future__ import annotations

import time

from async_processor.cli.progress import LiveProgress, PlainProgress
from async_processor.model import LaneName, TaskPriority, TaskResult, TaskStatus
from async_processor.monitoring.observer import AttemptStarted, Observer, TaskFinished, TaskProgress, TaskRetried

STAGES = {"t1": "transcription", "t2": "reply"}


def feed(observer: Observer, task_id: str = "t1", at: float = 0.0) -> None:
    """What an observer hears of a task whose second attempt completes."""
    result = TaskResult(task_id=task_id, status=TaskStatus.COMPLETED)
    for attempt in (1, 2):
        observer.attempt_started(
            AttemptStarted(task_id, "x", TaskPriority.HIGH, LaneName.PROCESS, "process-0", attempt, 0.25, at)
        )
        observer.task_progress(TaskProgress(task_id, 0.5, "half\x1b[2J", at))
        if attempt == 1:
            observer.task_retried(TaskRetried(task_id, "x", 1, 1.5, "WorkerDiedError", at))
    observer.task_finished(
        TaskFinished(task_id, "x", TaskPriority.HIGH, TaskStatus.COMPLETED, 2, 0.75, 2.5, at, result)
    )


def test_plain_progress_writes_a_line_per_event():
    lines: list[str] = []

    feed(PlainProgress(STAGES, lines.append))

    assert lines == [
        "transcription: started in slot process-0 after waiting 0.250 s",
        "transcription: 50% half\\x1b[2J",
        "transcription: attempt 1 failed (WorkerDiedError), next in 1.5 s",
        "transcription: started in slot process-0 after waiting 0.250 s",
        "transcription: 50% half\\x1b[2J",
        "transcription: completed after running 0.750 s",
    ]


def test_tasks_of_others_are_not_shown():
    lines: list[str] = []
    live = LiveProgress(STAGES)
    before = live.rows()

    feed(PlainProgress(STAGES, lines.append), task_id="other")
    feed(live, task_id="other")

    assert lines == []
    assert live.rows() == before == [("transcription", "waiting", ""), ("reply", "waiting", "")]


def test_live_progress_counts_the_seconds_of_what_runs():
    live = LiveProgress(STAGES)
    began = time.monotonic() - 100.0

    live.attempt_started(AttemptStarted("t1", "x", TaskPriority.HIGH, LaneName.PROCESS, "process-0", 1, 0.25, began))

    name, state, seconds = live.rows()[0]
    assert (name, state) == ("transcription", "running in slot process-0")
    assert 100.0 <= float(seconds.removesuffix(" s")) < 160.0


def test_live_progress_shows_how_a_stage_ended():
    live = LiveProgress(STAGES)

    feed(live)

    assert live.rows() == [("transcription", "completed after running 0.750 s", ""), ("reply", "waiting", "")]
