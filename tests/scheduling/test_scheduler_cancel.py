"""Cancelling: in every state, with everything that waits, and against reports that come at the same moment."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import ASYNC, FAILURE, PROCESS, THREAD, Harness, lane

from async_processor.model import LaneName, TaskStatus
from async_processor.outcome import ErrorInfo, Raised, Returned, Stopped


def test_a_task_that_waits_for_another_ends_at_once_and_never_starts():  # E10
    harness = Harness()
    harness.submit("first")
    harness.submit("a", "first")

    assert harness.cancel("a") == ["a"]
    assert harness.log[-1] == "finish a cancelled"
    assert harness.succeed("first") == ["finish first completed"]
    assert harness["a"].attempt == 0


def test_a_task_that_waits_for_what_nobody_submitted_ends_at_once():  # E10
    harness = Harness()
    harness.submit("a", "never", dependency_timeout=30.0)

    assert harness.cancel("a") == ["a"]
    assert harness.scheduler.idle
    assert harness.submit("never") == ["start never"]


def test_a_task_that_waits_for_a_slot_ends_at_once_and_never_starts():  # E10
    harness = Harness()
    harness.submit("running")
    harness.submit("a")

    assert harness.cancel("a") == ["a"]
    assert harness.log[-1] == "finish a cancelled"
    assert harness.succeed("running") == ["finish running completed"]
    assert harness.error("a") == "task 'a' was cancelled by a caller"


@pytest.mark.parametrize("name", LaneName)
def test_a_task_that_runs_is_stopped_and_ends_when_its_lane_says_so(name: LaneName):  # E10
    harness = Harness(lanes={name: lane(1, name)})
    harness.submit("a", lane=name)
    harness.submit("b", lane=name)

    assert harness.cancel("a") == ["a"]
    assert harness.log[-1] == "stop a cancelled"
    assert harness.status("a") is TaskStatus.RUNNING
    assert harness.stop("a") == ["finish a cancelled", "start b"]


def test_a_task_that_runs_in_a_lane_without_grace_ends_in_the_same_step():  # E10
    harness = Harness(lanes={THREAD: lane(1, THREAD, grace=0.0)})
    harness.submit("a", lane=THREAD)
    harness.submit("behind", "a", lane=THREAD)
    harness.submit("b", lane=THREAD)

    assert harness.cancel("a") == ["a", "behind"]
    assert harness.log[1:] == [
        "stop a cancelled",
        "abandon a",
        "finish a cancelled",
        "finish behind cancelled",
        "start b",
    ]


def test_a_task_in_backoff_ends_at_once_and_makes_no_further_attempt():  # E10
    harness = Harness(result_ttl=1_000.0)
    harness.submit("a", max_retries=3)
    harness.fail("a")

    assert harness.cancel("a") == ["a"]
    assert harness.log[-1] == "finish a cancelled"
    assert harness.advance(100.0) == []
    assert harness["a"].attempt == 1


def test_a_task_that_has_ended_or_was_never_known_cannot_be_cancelled():  # E10
    harness = Harness()
    harness.submit("a")
    harness.succeed("a")

    assert harness.cancel("a") == []
    assert harness.cancel("unknown") == []
    assert harness.status("a") is TaskStatus.COMPLETED


def test_a_second_cancel_of_a_running_task_finds_nothing_left_to_do():
    harness = Harness()
    harness.submit("a")

    assert [harness.cancel("a"), harness.cancel("a")] == [["a"], []]
    assert harness.log == ["start a", "stop a cancelled"]


@pytest.mark.parametrize("late", [Returned("late"), Raised(FAILURE), Stopped()])
def test_what_a_cancelled_attempt_reports_too_late_does_not_change_the_answer(late: Returned | Raised | Stopped):
    harness = Harness()
    harness.submit("a", max_retries=3)
    harness.cancel("a")

    assert harness.report(harness.tokens["a"], late) == ["finish a cancelled"]
    assert harness.error("a") == "task 'a' was cancelled by a caller"


def test_an_attempt_that_swallows_its_cancel_is_abandoned_after_the_grace():
    harness = Harness(lanes={ASYNC: lane(1, grace=2.0)})
    harness.submit("a")
    harness.submit("b")
    harness.cancel("a")

    assert harness.advance(1.9) == []
    assert harness.advance(0.2) == ["abandon a", "finish a cancelled", "start b"]
    assert harness.report(1, Returned("late"), stale=True) == []


def test_a_running_task_answers_for_its_dependents_before_it_has_ended():
    """Its end is certain, so those behind it need not wait for it; and a caller learns of all of them."""
    harness = Harness(slots=2)
    harness.submit("a", max_retries=3)
    harness.submit("b", "a")
    harness.submit("c", "b")

    assert harness.cancel("a") == ["a", "b", "c"]
    assert harness.log == ["start a", "stop a cancelled", "finish b cancelled", "finish c cancelled"]
    assert harness.error("b") == (
        "task 'b' was cancelled because its dependency 'a' ended cancelled: task 'a' was cancelled by a caller"
    )


def test_dependents_that_run_anyway_wait_for_the_real_end_of_a_cancelled_task():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.submit("cleanup", "a", run_anyway=True)

    assert harness.cancel("a") == ["a"]
    assert harness.log == ["start a", "stop a cancelled"]
    assert harness.stop("a") == ["finish a cancelled", "start cleanup"]


def test_who_is_submitted_behind_a_task_that_is_being_cancelled_ends_with_it():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.cancel("a")

    assert harness.submit("b", "a") == []
    assert harness.stop("a") == ["finish a cancelled", "finish b cancelled"]


def test_a_task_that_timed_out_and_is_cancelled_before_it_stopped_ends_cancelled():
    harness = Harness(lanes={ASYNC: lane(1, grace=2.0)})
    harness.submit("a", timeout=5.0, max_retries=3)
    harness.submit("b", "a")
    harness.advance(5.0)

    assert harness.cancel("a") == ["a", "b"]
    assert harness.log[1:] == ["stop a timeout", "finish b cancelled"], "the lane was asked before"
    assert harness.advance(2.0) == ["abandon a", "finish a cancelled"]


def test_a_task_whose_last_attempt_timed_out_can_be_cancelled_in_its_backoff():
    harness = Harness()
    harness.submit("a", timeout=5.0, max_retries=1)
    harness.advance(5.0)
    harness.stop("a")

    assert harness.cancel("a") == ["a"]
    assert harness.status("a") is TaskStatus.CANCELLED


def test_a_running_attempt_that_was_retried_after_a_timeout_can_be_cancelled():
    harness = Harness()
    harness.submit("a", timeout=5.0, max_retries=1)
    harness.advance(5.0)
    harness.stop("a")
    harness.advance(0.5)

    assert harness.cancel("a") == ["a"]
    assert harness.log[-2:] == ["start a", "stop a cancelled"]


def test_a_dependent_that_is_cancelled_leaves_those_it_waited_for_alone():
    harness = Harness()
    harness.submit("a")
    harness.submit("b", "a", "never")
    harness.submit("c", "a")

    assert harness.cancel("b") == ["b"]
    assert harness.succeed("a") == ["finish a completed", "start c"]


def test_a_dependent_cancelled_while_its_other_dependency_is_in_backoff_is_not_told_twice():
    harness = Harness(slots=2)
    harness.submit("flaky", max_retries=1)
    harness.submit("other")
    harness.submit("both", "flaky", "other")
    harness.fail("flaky", ErrorInfo(type_name="Busy", message="later"))

    assert harness.cancel("other") == ["other", "both"]
    harness.stop("other")
    harness.advance(1.0)
    assert harness.succeed("flaky") == ["finish flaky completed"]


def test_a_process_of_a_cancelled_task_that_never_began_is_stopped_all_the_same():
    harness = Harness(lanes={PROCESS: lane(1, PROCESS, begins_at_once=False)})
    harness.submit("a", lane=PROCESS, timeout=5.0)

    assert harness.cancel("a") == ["a"]
    assert harness.log == ["start a", "stop a cancelled"]
    assert harness.stop("a") == ["finish a cancelled"]
