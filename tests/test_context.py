"""What a processor function is told, and what it can report."""

from __future__ import annotations

import contextvars
import logging
import time

import pytest

from async_processor.context import DependencyResults, TaskContext, current_task_id
from async_processor.model import ProcessingType, TaskResult, TaskStatus
from async_processor.testing import VirtualClock


def result(task_id: str, task_type: str, status: TaskStatus = TaskStatus.COMPLETED) -> TaskResult:
    value = f"value of {task_id}" if status is TaskStatus.COMPLETED else None
    return TaskResult(task_id=task_id, status=status, result=value, task_type=task_type)


def dependencies() -> DependencyResults:
    results = [
        result("failed", "resize", TaskStatus.FAILED),
        result("one", "resize"),
        result("two", "resize"),
        result("heard", ProcessingType.AUDIO_TRANSCRIPTION),
    ]
    return DependencyResults({item.task_id: item for item in results})


# ---- dependencies


def test_results_are_found_by_id_in_the_order_of_the_dependencies():
    found = dependencies()

    assert list(found) == ["failed", "one", "two", "heard"]
    assert len(found) == 4
    assert found["one"].result == "value of one"
    with pytest.raises(KeyError):
        found["unknown"]
    assert found.get("unknown") is None


def test_results_are_found_by_type_under_every_name_of_it():
    found = dependencies()

    assert [item.task_id for item in found.by_type("resize")] == ["failed", "one", "two"]
    assert [item.task_id for item in found.by_type("audio_transcription")] == ["heard"]
    assert [item.task_id for item in found.by_type(ProcessingType.AUDIO_TRANSCRIPTION)] == ["heard"]
    assert found.by_type("unknown") == []


def test_the_first_value_of_a_type_is_that_of_the_first_that_completed():
    found = dependencies()

    assert found.first("resize") == "value of one"
    assert found.first("unknown") is None


def test_a_task_without_dependencies_has_no_results():
    assert dict(DependencyResults()) == {}
    assert len(TaskContext(task_id="a", task_type="resize").dependencies) == 0


# ---- the attempt


def test_a_context_stands_for_the_only_attempt_unless_told_otherwise():
    context = TaskContext(task_id="a", task_type="resize")

    assert (context.task_id, context.task_type, context.attempt, context.max_attempts) == ("a", "resize", 1, 1)
    assert (context.deadline, context.cancelled) == (None, False)
    assert context.time_remaining() is None


def test_the_idempotency_key_is_the_id_unless_there_is_one():
    assert TaskContext(task_id="a", task_type="x").idempotency_key == "a"
    assert TaskContext(task_id="a", task_type="x", idempotency_key="key").idempotency_key == "key"


def test_the_time_that_remains_is_never_below_nothing():
    clock = VirtualClock(start=100.0)
    context = TaskContext(task_id="a", task_type="x", deadline=105.0, clock=clock)

    remaining = [context.time_remaining()]
    for seconds in (3.0, 3.0):
        clock.advance(seconds)
        remaining.append(context.time_remaining())

    assert remaining == [5.0, 2.0, 0.0]


def test_without_a_clock_the_time_is_that_of_the_machine():
    context = TaskContext(task_id="a", task_type="x", deadline=time.monotonic() + 1_000.0)

    remaining = context.time_remaining()
    assert remaining is not None
    assert 0.0 < remaining <= 1_000.0


def test_a_context_takes_no_attributes_of_others():
    with pytest.raises(AttributeError):
        TaskContext(task_id="a", task_type="x").result = 7  # type: ignore[attr-defined]


# ---- progress


@pytest.mark.parametrize(
    ("fraction", "told"),
    [(0.5, 0.5), (0, 0.0), (1, 1.0), (-0.1, 0.0), (1.1, 1.0), (float("nan"), 0.0), (float("inf"), 1.0), (True, 1.0)],
)
def test_progress_is_told_within_its_bounds(fraction: float, told: float):
    heard: list[tuple[float, str]] = []
    context = TaskContext(task_id="a", task_type="x", progress=lambda *report: heard.append(report))

    context.report_progress(fraction, "half way")

    assert heard == [(told, "half way")]


def test_a_long_message_is_cut_and_none_is_none():
    heard: list[tuple[float, str]] = []
    context = TaskContext(task_id="a", task_type="x", progress=lambda *report: heard.append(report))

    context.report_progress(0.1, "x" * 1_000)
    context.report_progress(0.2)

    assert heard == [(0.1, "x" * 200), (0.2, "")]


def test_with_nobody_listening_progress_goes_nowhere():
    TaskContext(task_id="a", task_type="x").report_progress(0.5, "half way")


# ---- the logger


def test_lines_of_the_logger_carry_the_task_and_the_attempt(caplog: pytest.LogCaptureFixture):
    context = TaskContext(task_id="a", task_type="x", attempt=2)

    with caplog.at_level(logging.INFO, logger="async_processor.task"):
        context.logger.info("opened %s", "it", extra={"colour": "red"})

    (line,) = caplog.records
    assert line.getMessage() == "[a] opened it"
    assert (line.task_id, line.attempt, line.colour) == ("a", 2, "red")  # type: ignore[attr-defined]
    assert context.logger is context.logger


def test_a_percent_sign_in_an_id_does_not_break_the_line(caplog: pytest.LogCaptureFixture):
    context = TaskContext(task_id="100%s", task_type="x")

    with caplog.at_level(logging.INFO, logger="async_processor.task"):
        context.logger.info("opened %s", "it")
        context.logger.info("100 % done")

    assert [line.getMessage() for line in caplog.records] == ["[100%s] opened it", "[100%s] 100 % done"]


def test_a_line_names_the_function_that_wrote_it(caplog: pytest.LogCaptureFixture):
    context = TaskContext(task_id="a", task_type="x")

    def processor_function() -> None:
        context.logger.warning("here")
        try:
            raise ValueError("x")
        except ValueError:
            context.logger.exception("and there")

    processor_function()

    assert [line.funcName for line in caplog.records] == ["processor_function"] * 2
    assert caplog.records[1].exc_info is not None


def test_outside_of_an_attempt_no_task_is_current():
    assert contextvars.Context().run(current_task_id.get) is None
