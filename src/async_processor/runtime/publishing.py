"""From the scheduler's record of an ended task to the result that its callers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, cast

from ..model import TaskResult, TaskStatus
from ..outcome import NO_MEASURES, Measures, Returned
from .job import Job

_NO_DETAILS: Mapping[str, float] = {}
_COMPLETED = TaskStatus.COMPLETED


class _Draft:
    """A result while it is written.

    Of the same slots as ``TaskResult``, whose class it takes on when it is complete: to make a frozen object of so many
    fields field by field takes six times as long, and every task has one.
    """

    __slots__ = TaskResult.__slots__

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None: ...


def make_result(record: Job, completed_at: datetime) -> TaskResult:
    """The one result of a task that has just ended."""
    task = record.task
    assert task is not None, f"{record} is published twice"  # noqa: S101 - the scheduler promises one Finish
    error, outcome, status = record.error, record.outcome, record.status
    made = _Draft()
    made.task_id = record.id
    made.status = status
    # Only what completed has a result: an attempt that was stopped may have returned something, too late.
    made.result = outcome.value if isinstance(outcome, Returned) and status is _COMPLETED else None
    made.error = None if error is None else error.message
    made.error_type = None if error is None else error.type_name
    made.traceback = None if error is None else error.traceback
    made.execution_time = run_time(record)
    began = record.finished_at if record.first_started_at is None else record.first_started_at
    made.wait_time = began - record.submitted_at
    made.attempts = record.attempt
    made.task_type = task.task_type
    made.priority = task.priority
    made.tags = task.tags
    made.worker_id = record.slot
    made.created_at = task.created_at
    made.completed_at = completed_at
    made.details = _NO_DETAILS if outcome is None or outcome.measures is NO_MEASURES else _details(outcome.measures)
    made.__class__ = TaskResult  # type: ignore[assignment]  # that is the point
    return cast("TaskResult", made)


def kept_for_later(result: TaskResult) -> TaskResult:
    """The same, for a task that was ended by a shutdown only and stays in the store."""
    return replace(result, error=f"{result.error}; it stays in the store and goes on at the next start")


def run_time(record: Job) -> float:
    """Seconds that the last attempt ran; 0.0 if none started."""
    if record.started_at is None or record.ended_at is None:
        return 0.0
    return record.ended_at - record.started_at


def _details(measures: Measures) -> Mapping[str, float]:
    found = {"cpu_time": measures.cpu_time, "peak_memory_mb": measures.peak_memory_mb}
    return {name: value for name, value in found.items() if value is not None} or _NO_DETAILS
