"""The calls of a shutdown, in the order in which it makes them."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import ASYNC, FAILURE, THREAD, Harness, lane

from async_processor.model import TaskStatus
from async_processor.outcome import Raised, Returned, Stopped


def busy(*, grace: float = 1.0) -> Harness:
    """One task in every state that has not ended, and one behind each."""
    harness = Harness(lanes={ASYNC: lane(1, grace=grace)})
    harness.submit("flaky", max_retries=5)
    harness.submit("behind flaky", "flaky")
    harness.fail("flaky")
    harness.submit("running", max_retries=5)
    harness.submit("behind running", "running")
    harness.submit("ready")
    harness.submit("cleanup", "ready", run_anyway=True)
    harness.submit("waiting", "never")
    harness.log.clear()
    return harness


def test_paused_it_starts_nothing_more():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.submit("b", "a")
    harness.submit("flaky", max_retries=1)
    harness.fail("flaky")

    harness.pause()

    assert harness.succeed("a") == ["finish a completed"]
    assert harness.advance(10.0) == []
    assert harness.submit("c") == []
    assert harness.scheduler.ready_ids() == ["b", "flaky", "c"]


def test_whatever_holds_no_slot_ends_cancelled_with_a_reason_and_without_a_start():
    harness = busy()
    harness.pause()

    ended = harness.cancel_waiting()

    assert ended == [
        f"finish {name} cancelled"
        for name in ("flaky", "behind flaky", "behind running", "ready", "cleanup", "waiting")
    ]
    assert harness.error("flaky") == "the processor was shut down before task 'flaky' could make attempt 2"
    assert harness.error("ready") == "the processor was shut down before task 'ready' could start"
    assert (harness.scheduler.pending, harness.running) == (0, ["running"])
    assert not harness.scheduler.idle


def test_what_runs_may_end_by_itself_after_that():
    harness = busy()
    harness.pause()
    harness.cancel_waiting()

    assert harness.succeed("running") == ["finish running completed"]
    assert harness.scheduler.idle


def test_what_fails_while_paused_is_not_retried_but_ends_with_its_own_error():
    harness = busy()
    harness.pause()
    harness.cancel_waiting()

    assert harness.fail("running") == ["finish running failed"]
    assert harness.error("running") == FAILURE.message


def test_what_times_out_while_paused_is_not_retried_either():
    harness = Harness()
    harness.submit("a", timeout=5.0, max_retries=5)
    harness.pause()
    harness.advance(5.0)

    assert harness.stop("a") == ["finish a timeout"]


@pytest.mark.parametrize("report", [Returned("late"), Raised(FAILURE), Stopped()])
def test_running_attempts_are_asked_to_stop_and_end_cancelled_whatever_they_report(
    report: Returned | Raised | Stopped,
):
    harness = busy()
    harness.pause()
    harness.cancel_waiting()

    assert harness.stop_running() == ["stop running shutdown"]
    assert harness.report(harness.tokens["running"], report) == ["finish running cancelled"]
    assert harness.error("running") == "the processor was shut down while attempt 1 of task 'running' ran"


def test_attempts_that_were_asked_to_stop_are_not_asked_again():
    harness = Harness(lanes={ASYNC: lane(3, grace=100.0)})
    for name in ("cancelled", "late", "running"):
        harness.submit(name, timeout=5.0 if name == "late" else None)
    harness.cancel("cancelled")
    harness.advance(5.0)

    assert harness.stop_running() == ["stop running shutdown"]
    assert harness.stop_running() == []
    assert [harness.stop(name) for name in ("cancelled", "late", "running")] == [
        ["finish cancelled cancelled"],
        ["finish late cancelled"],
        ["finish running cancelled"],
    ]
    assert harness.error("cancelled") == "task 'cancelled' was cancelled by a caller"


def test_an_attempt_stopped_for_the_shutdown_cannot_be_cancelled_besides():
    harness = busy()
    harness.pause()
    harness.cancel_waiting()
    harness.stop_running()

    assert harness.cancel("running") == []


def test_what_does_not_stop_is_abandoned_and_then_nothing_is_left():
    harness = busy(grace=100.0)
    harness.pause()
    harness.cancel_waiting()
    harness.stop_running()

    assert harness.abandon_running() == ["abandon running", "finish running cancelled"]
    assert harness.scheduler.idle
    assert harness.report(harness.tokens["running"], Returned("late"), stale=True) == []


def test_what_was_never_asked_to_stop_is_asked_before_it_is_abandoned():
    harness = busy(grace=100.0)
    harness.pause()
    harness.cancel_waiting()

    assert harness.abandon_running() == ["stop running shutdown", "abandon running", "finish running cancelled"]


def test_lanes_without_grace_are_rid_of_their_attempts_when_they_are_asked_to_stop():
    harness = Harness(lanes={THREAD: lane(2, THREAD, grace=0.0)})
    harness.submit("a", lane=THREAD)
    harness.submit("b", lane=THREAD)
    harness.pause()

    assert harness.stop_running() == [
        "stop a shutdown",
        "abandon a",
        "finish a cancelled",
        "stop b shutdown",
        "abandon b",
        "finish b cancelled",
    ]
    assert harness.abandon_running() == []


def test_each_call_may_be_made_of_an_idle_scheduler():
    harness = Harness()

    calls = [harness.pause(), harness.cancel_waiting(), harness.stop_running(), harness.abandon_running()]

    assert calls == [[], [], [], []]
    assert harness.scheduler.idle


def test_results_stay_readable_through_a_shutdown_up_to_their_number():
    harness = Harness(max_results=2)
    harness.submit("running")
    for name in "abc":
        harness.submit(name)
    harness.pause()

    harness.cancel_waiting()

    assert [harness.scheduler.find(name) is not None for name in "abc"] == [False, True, True]
    assert harness.finished["a"].status is TaskStatus.CANCELLED


def test_a_cascade_that_a_shutdown_interrupts_ends_every_task_once():
    harness = Harness(drain=False, check_every=100)
    harness.submit("root")
    names = [f"task-{number}" for number in range(2_000)]
    for name in names:
        harness.submit(name, "root")
    harness.fail("root")
    harness.pause()

    harness.cancel_waiting()
    while harness.scheduler.cascading:
        harness.wake()

    assert {harness.finished[name].status for name in names} == {TaskStatus.CANCELLED}
    assert harness.scheduler.idle
    harness.scheduler.check()
