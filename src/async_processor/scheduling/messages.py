"""The words for every end that the scheduler itself decides. Each names the task and what can be done."""

from __future__ import annotations

from ..outcome import ErrorInfo, Stopped
from .records import TaskRecord

ABANDONED = Stopped()
"""Stands for the report of an attempt that was given up."""


def cancelled_by_caller(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(type_name="TaskCancelledError", message=f"task {record.id!r} was cancelled by a caller")


def timed_out(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(
        type_name="TaskTimeoutError",
        message=f"attempt {record.attempt} of task {record.id!r} exceeded its timeout of {record.timeout:g} s",
    )


def how_it_ended(record: TaskRecord) -> str:
    """How a task ended, or certainly will, and why."""
    # The status of a task that still runs, but was asked to stop, is not final yet; its end is.
    how = record.status.value if record.finished else "cancelled"
    assert record.error is not None, f"{record} did not complete, and nobody said why"
    return f"{how}: {record.error.message}"


def dependency_failed(record: TaskRecord, dependency: TaskRecord) -> ErrorInfo:
    """Names the task at the root and why it ended, however long the chain from there."""
    way = "" if record.root == dependency.id else f" (by way of {dependency.id!r})"
    return ErrorInfo(
        type_name="TaskCancelledError",
        message=f"task {record.id!r} was cancelled because its dependency {record.root!r}{way} ended {record.cause}",
    )


def never_submitted(record: TaskRecord, missing: list[str]) -> ErrorInfo:
    names = ", ".join(repr(item) for item in missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
    return ErrorInfo(
        type_name="DependencyNeverSubmittedError",
        message=(
            f"task {record.id!r} waited {record.dependency_timeout:g} s for {names}, which nobody submitted "
            "(or which ended so long ago that its result is no longer kept)"
        ),
        permanent=True,
    )


def never_registered(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(
        type_name="ProcessorNotAvailableError",
        message=(
            f"task {record.id!r} was taken up from the store and waited {record.held_for:g} s for a processor function "
            "of its type, which nobody registered; register it before start(), or raise registration_timeout_s"
        ),
        permanent=True,
    )


def stopped_unasked(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(
        type_name="LaneError",
        message=f"the {record.lane} lane stopped attempt {record.attempt} of task {record.id!r} without being asked",
        lane_failed=True,
    )


def shut_down_waiting(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(
        type_name="TaskCancelledError",
        message=f"the processor was shut down before task {record.id!r} could {_next_step(record)}",
    )


def shut_down_running(record: TaskRecord) -> ErrorInfo:
    return ErrorInfo(
        type_name="TaskCancelledError",
        message=f"the processor was shut down while attempt {record.attempt} of task {record.id!r} ran",
    )


def _next_step(record: TaskRecord) -> str:
    return "start" if record.attempt == 0 else f"make attempt {record.attempt + 1}"
