"""From the scheduler's record of an ended task to the result that its callers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ..model import TaskResult, TaskStatus
from ..outcome import Measures, Returned
from ..scheduling.records import TaskRecord
from .job import Job

_NO_DETAILS: Mapping[str, float] = {}


def make_result(record: TaskRecord, job: Job, completed_at: datetime) -> TaskResult:
    """The one result of a task that has just ended."""
    task = job.task
    assert task is not None, f"{record} is published twice"  # noqa: S101 - the scheduler promises one Finish
    error = record.error
    outcome = record.outcome
    return TaskResult(
        task_id=record.id,
        status=record.status,
        # Only what completed has a result: an attempt that was stopped may have returned something, too late.
        result=outcome.value if isinstance(outcome, Returned) and record.status is TaskStatus.COMPLETED else None,
        error=None if error is None else error.message,
        error_type=None if error is None else error.type_name,
        traceback=None if error is None else error.traceback,
        execution_time=run_time(record),
        wait_time=(record.finished_at if record.first_started_at is None else record.first_started_at)
        - record.submitted_at,
        attempts=record.attempt,
        task_type=task.task_type,
        priority=task.priority,
        tags=task.tags,
        worker_id=record.slot,
        created_at=task.created_at,
        completed_at=completed_at,
        details=_NO_DETAILS if outcome is None else _details(outcome.measures),
    )


def kept_for_later(result: TaskResult) -> TaskResult:
    """The same, for a task that was ended by a shutdown only and stays in the store."""
    return replace(result, error=f"{result.error}; it stays in the store and goes on at the next start")


def run_time(record: TaskRecord) -> float:
    """Seconds that the last attempt ran; 0.0 if none started."""
    if record.started_at is None or record.ended_at is None:
        return 0.0
    return record.ended_at - record.started_at


def _details(measures: Measures) -> Mapping[str, float]:
    found = {"cpu_time": measures.cpu_time, "peak_memory_mb": measures.peak_memory_mb}
    return {name: value for name, value in found.items() if value is not None} or _NO_DETAILS
