"""Attempts: their tokens and timeouts, what follows a failure, and reports that come late or from the dead."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import ASYNC, FAILURE, HOPELESS, PROCESS, THREAD, Harness, lane

from async_processor.model import LaneName, TaskStatus
from async_processor.outcome import ErrorInfo, Raised, Returned, Stopped
from async_processor.scheduling.records import LaneTraits
from async_processor.scheduling.retry import RetryPolicy

# Time passes evenly, stands still, jumps a month ahead: whatever the wall clock does, only the argument counts.
ORIGINS = [0.0, 1e-3, 30 * 86_400.0, 1e9]


def lanes(name: LaneName = ASYNC, *, begins_at_once: bool = True, grace: float = 1.0) -> dict[LaneName, LaneTraits]:
    """One lane of one slot."""
    return {name: lane(1, name, begins_at_once=begins_at_once, grace=grace)}


# ---- success and failure


def test_a_task_that_returns_completes_and_keeps_no_error_of_earlier_attempts():
    harness = Harness()
    harness.submit("a", max_retries=1)
    harness.fail("a")
    harness.advance(1.0)

    assert harness.succeed("a", "value") == ["finish a completed"]
    assert harness["a"].error is None
    assert harness["a"].outcome == Returned("value")


def test_a_task_without_retries_fails_with_the_error_of_its_attempt():
    harness = Harness()
    harness.submit("a")

    assert harness.fail("a") == ["finish a failed"]
    assert harness["a"].error == FAILURE


def test_between_a_failed_attempt_and_the_last_no_end_is_told():  # E6
    """Whoever waits for the task is woken by the one ``finish``; a retry due in 60 s gives none before."""
    harness = Harness(retry=RetryPolicy(base=60.0, maximum=60.0))
    harness.submit("a", max_retries=1)

    assert harness.fail("a", ErrorInfo(type_name="Busy", message="later", retry_after=60.0)) == ["retry a"]
    assert harness.advance(59.9) == []
    assert harness.status("a") is TaskStatus.PENDING
    assert harness.scheduler.backoff == harness.scheduler.pending == 1
    harness.advance(60.1)
    assert harness.log == ["start a", "retry a", "start a"]
    assert harness.succeed("a") == ["finish a completed"]


def test_a_task_is_given_up_after_its_retries():
    harness = Harness()
    harness.submit("a", max_retries=3)
    for _ in range(3):
        harness.fail("a")
        harness.advance(60.0)

    assert harness.fail("a") == ["finish a failed"]
    assert harness.log == [*["start a", "retry a"] * 3, "start a", "finish a failed"]
    assert harness["a"].attempt == 4


def test_a_permanent_error_is_not_retried():
    harness = Harness()
    harness.submit("a", max_retries=3)

    assert harness.fail("a", HOPELESS) == ["finish a failed"]


def test_the_slot_of_a_failed_attempt_is_free_during_its_backoff():
    harness = Harness()
    harness.submit("a", max_retries=1)
    harness.submit("b")

    assert harness.fail("a") == ["retry a", "start b"]


def test_a_retry_that_is_due_while_all_slots_are_busy_waits_in_its_old_place():
    harness = Harness()
    harness.submit("a", max_retries=1)
    harness.submit("b")
    harness.submit("c")
    harness.fail("a")

    assert harness.advance(10.0) == []
    assert harness.succeed("b")[-1] == "start a", "a was submitted before c"


def test_an_attempt_that_its_lane_stopped_unasked_is_a_failure_of_the_lane():
    harness = Harness(slots=1, lanes=lanes(THREAD))
    harness.submit("a", lane=THREAD)

    assert harness.stop("a") == ["finish a failed"]
    error = harness["a"].error
    assert error is not None
    assert (error.type_name, error.lane_failed) == ("LaneError", True)
    assert error.message == "the thread lane stopped attempt 1 of task 'a' without being asked"


def test_a_failure_of_the_lane_is_retried_like_any_other():
    harness = Harness()
    harness.submit("a", max_retries=1)

    assert harness.stop("a") == ["retry a"]


# ---- tokens


def test_every_attempt_has_a_token_of_its_own():
    harness = Harness(slots=2)
    harness.submit("a", max_retries=1)
    harness.submit("b")
    seen = [harness.tokens["a"], harness.tokens["b"]]
    harness.fail("a")
    harness.advance(60.0)
    seen.append(harness.tokens["a"])

    assert len(set(seen)) == 3
    assert harness.scheduler.running_record(seen[2]) is harness["a"]
    assert harness.scheduler.running_record(seen[0]) is None


@pytest.mark.parametrize("outcome", [Returned(1), Raised(FAILURE), Stopped()])
def test_a_report_with_a_token_of_no_running_attempt_changes_nothing(outcome: Returned | Raised | Stopped):
    harness = Harness()
    harness.submit("a", max_retries=1)
    first = harness.tokens["a"]
    harness.fail("a")
    in_backoff = harness.report(first, outcome, stale=True)
    harness.advance(60.0)
    in_the_next = harness.report(first, outcome, stale=True)
    harness.succeed("a", "value")
    after_the_end = harness.report(harness.tokens["a"], outcome, stale=True)
    never_given = harness.report(999, outcome, stale=True)

    assert in_backoff == in_the_next == after_the_end == never_given == []
    assert harness["a"].outcome == Returned("value")


def test_to_have_begun_with_a_token_of_no_running_attempt_changes_nothing():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False))
    harness.submit("a", lane=PROCESS, timeout=5.0)
    harness.succeed("a")

    harness.began("a")

    assert harness["a"].deadline is None


# ---- timeouts


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_timeout_comes_at_its_time_wherever_the_clock_began(origin: float):  # E22
    harness = Harness()
    harness.now = origin
    harness.submit("a", timeout=5.0)

    assert harness.advance(4.99) == []
    assert harness.advance(0.02) == ["stop a timeout"]
    assert harness.stop("a") == ["finish a timeout"]
    assert harness.error("a") == "attempt 1 of task 'a' exceeded its timeout of 5 s"


def test_without_a_timeout_an_attempt_runs_for_as_long_as_it_likes():
    harness = Harness()
    harness.submit("a", timeout=None)

    assert harness.advance(1e9) == []
    assert harness.succeed("a") == ["finish a completed"]


def test_each_attempt_has_the_whole_timeout():
    harness = Harness()
    harness.submit("a", timeout=10.0, max_retries=1)
    harness.advance(9.0)
    harness.fail("a")
    harness.advance(1.0)
    started = harness["a"].started_at
    assert started is not None

    assert harness.advance(started + 9.9 - harness.now) == []
    assert harness.advance(0.2) == ["stop a timeout"]


def test_waiting_does_not_count_towards_the_timeout():
    harness = Harness()
    harness.submit("running")
    harness.submit("a", timeout=5.0)
    harness.advance(100.0)

    assert harness.succeed("running")[-1] == "start a"
    assert harness.advance(4.9) == []


def test_a_timeout_is_retried_while_retries_remain_and_then_it_is_the_end():
    harness = Harness()
    harness.submit("a", timeout=5.0, max_retries=1)
    harness.advance(5.0)

    assert harness.stop("a") == ["retry a"]
    assert harness["a"].error is not None
    assert harness["a"].error.type_name == "TaskTimeoutError"
    harness.advance(5.5)
    assert harness.stop("a") == ["finish a timeout"]
    assert harness.status("a") is TaskStatus.TIMEOUT
    assert harness["a"].attempt == 2


@pytest.mark.parametrize("late", [Returned("too late"), Raised(FAILURE), Raised(HOPELESS), Stopped()])
def test_what_an_attempt_reports_after_its_timeout_does_not_change_how_it_ended(late: Returned | Raised | Stopped):
    harness = Harness()
    harness.submit("a", timeout=5.0)
    harness.advance(5.0)

    assert harness.report(harness.tokens["a"], late) == ["finish a timeout"]


def test_a_task_that_timed_out_completes_if_its_next_attempt_does():
    harness = Harness()
    harness.submit("a", timeout=5.0, max_retries=1)
    harness.submit("b", "a")
    harness.advance(5.0)
    harness.stop("a")
    harness.advance(1.0)

    assert harness.succeed("a") == ["finish a completed", "start b"]


def test_a_report_in_the_moment_of_the_deadline_counts_if_it_comes_before_the_wake_up():
    harness = Harness()
    harness.submit("a", timeout=5.0)
    harness.now = 5.0

    assert harness.succeed("a") == ["finish a completed"]
    assert harness.wake() == []


# ---- lanes that begin late


def test_the_timeout_of_an_attempt_counts_from_when_its_lane_says_it_began():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False))
    harness.submit("a", lane=PROCESS, timeout=5.0)

    assert harness.advance(60.0) == [], "the worker is still starting"
    harness.began("a")
    assert (harness["a"].started_at, harness["a"].deadline) == (60.0, 65.0)
    assert harness.advance(5.0) == ["stop a timeout"]


def test_to_begin_a_second_time_wins_no_time():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False))
    harness.submit("a", lane=PROCESS, timeout=5.0)
    harness.began("a")
    harness.advance(4.0)
    harness.began("a")

    assert harness.advance(1.0) == ["stop a timeout"]


def test_an_attempt_that_begins_after_it_was_asked_to_stop_has_no_deadline():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False, grace=10.0))
    harness.submit("a", lane=PROCESS, timeout=5.0)
    harness.cancel("a")
    harness.began("a")

    assert harness["a"].deadline is None
    assert harness.advance(9.0) == []


def test_the_next_attempt_in_a_late_lane_waits_for_its_own_beginning():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False))
    harness.submit("a", lane=PROCESS, timeout=5.0, max_retries=1)
    harness.began("a")
    harness.fail("a")
    harness.advance(1.0)

    assert harness.log == ["start a", "retry a", "start a"]
    assert harness.advance(100.0) == []


def test_an_attempt_without_a_timeout_may_say_that_it_began():
    harness = Harness(lanes=lanes(PROCESS, begins_at_once=False))
    harness.submit("a", lane=PROCESS)
    harness.advance(2.0)
    harness.began("a")

    assert (harness["a"].started_at, harness["a"].first_started_at) == (2.0, 0.0)
    assert harness["a"].deadline is None


# ---- attempts that do not end


def test_an_attempt_that_does_not_end_within_the_grace_is_abandoned_and_its_slot_given_on():
    harness = Harness(lanes=lanes(grace=2.0))
    harness.submit("a", timeout=5.0)
    harness.submit("b")

    assert harness.advance(5.0) == ["stop a timeout"]
    assert harness.advance(1.9) == []
    assert harness.advance(0.1) == ["abandon a", "finish a timeout", "start b"]
    assert harness["a"].outcome is None


def test_a_lane_without_grace_abandons_in_the_same_step():
    harness = Harness(lanes=lanes(THREAD, grace=0.0))
    harness.submit("a", lane=THREAD, timeout=5.0)
    harness.submit("b", lane=THREAD)

    assert harness.advance(5.0) == ["stop a timeout", "abandon a", "finish a timeout", "start b"]


def test_an_abandoned_attempt_is_retried_like_any_that_timed_out():
    harness = Harness(lanes=lanes(THREAD, grace=0.0))
    harness.submit("a", lane=THREAD, timeout=5.0, max_retries=1)

    assert harness.advance(5.0) == ["stop a timeout", "abandon a", "retry a"]
    assert harness.advance(1.0) == ["start a"]


@pytest.mark.parametrize("report", [Returned("late"), Raised(FAILURE), Stopped()])
def test_what_an_abandoned_attempt_still_reports_is_dropped_also_during_the_next(report: Returned | Raised | Stopped):
    harness = Harness(lanes=lanes(THREAD, grace=0.0))
    harness.submit("a", lane=THREAD, timeout=5.0, max_retries=1)
    abandoned = harness.tokens["a"]
    harness.advance(6.0)

    assert harness["a"].attempt == 2
    assert harness.report(abandoned, report, stale=True) == []
    assert harness.status("a") is TaskStatus.RUNNING
    assert harness.succeed("a", "in time") == ["finish a completed"]
    assert harness["a"].outcome == Returned("in time")


def test_a_deadline_and_the_grace_may_be_noticed_long_after_they_were_due():
    """The event loop was blocked: everything that is due by now is decided in one step, as far as it goes."""
    harness = Harness(lanes=lanes(grace=1.0))
    harness.submit("a", timeout=5.0)
    harness.now = 100.0

    assert harness.wake() == ["stop a timeout"]
    assert harness.advance(0.9) == []
    assert harness.advance(0.1) == ["abandon a", "finish a timeout"]


# ---- time


def test_the_scheduler_asks_to_be_woken_for_whatever_is_due_next():
    harness = Harness(slots=2, result_ttl=100.0, lanes={ASYNC: lane(2, grace=3.0)})
    asked = [harness.scheduler.next_wakeup()]
    harness.submit("a", timeout=50.0)
    asked.append(harness.scheduler.next_wakeup())
    harness.submit("b", timeout=20.0)
    asked.append(harness.scheduler.next_wakeup())
    harness.submit("c", "never", dependency_timeout=10.0)
    asked.append(harness.scheduler.next_wakeup())
    harness.cancel("b")
    asked.append(harness.scheduler.next_wakeup())
    harness.advance(10.0)
    asked.append(harness.scheduler.next_wakeup())
    harness.succeed("a")
    asked.append(harness.scheduler.next_wakeup())

    assert asked == [None, 50.0, 20.0, 10.0, 3.0, 50.0, 103.0]


def test_a_record_tells_when_it_was_submitted_ready_started_and_ended():
    harness = Harness()
    harness.submit("running")
    harness.advance(1.0)
    harness.submit("a", max_retries=1)
    harness.advance(1.0)
    harness.succeed("running")
    harness.advance(1.0)
    harness.fail("a", ErrorInfo(type_name="Busy", message="later", retry_after=10.0))
    harness.advance(20.0)
    restarted = harness["a"].started_at
    harness.succeed("a")
    record = harness["a"]

    assert (record.submitted_at, record.first_started_at, record.finished_at) == (1.0, 2.0, 23.0)
    assert restarted is not None
    assert 13.0 <= restarted < 23.0
    assert (record.ready_at, record.started_at, record.ended_at) == (restarted, restarted, 23.0)
