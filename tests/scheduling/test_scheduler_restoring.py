"""Tasks of an earlier run: held until their type is known, in the middle of a backoff, or ended long ago."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import ASYNC, PROCESS, THREAD, Harness, lane

from async_processor.model import TaskStatus
from async_processor.scheduling.lifecycle import Phase

LANES = {ASYNC: lane(1), THREAD: lane(1, THREAD), PROCESS: lane(1, PROCESS)}


# ---- held


def test_a_held_task_starts_when_it_is_released_and_in_the_lane_it_is_released_to():
    harness = Harness(lanes=LANES)

    assert harness.take_up("a", held_for=10.0) == []
    assert (harness.status("a"), harness.scheduler.waiting) == (TaskStatus.PENDING, 1)
    assert harness.release("a", THREAD) == ["start a"]
    assert harness["a"].slot == "thread-0"


@pytest.mark.parametrize("release_first", [True, False])
def test_a_held_task_waits_for_its_dependencies_as_well_whichever_comes_first(release_first: bool):
    harness = Harness(slots=2)
    harness.submit("dependency")
    harness.take_up("a", "dependency", held_for=10.0)
    events = [lambda: harness.release("a"), lambda: harness.succeed("dependency")]
    first, second = events if release_first else reversed(events)

    assert "start a" not in first()
    assert "start a" in second()


def test_a_held_task_that_nobody_releases_fails_in_time_and_takes_its_dependents_with_it():
    harness = Harness()
    harness.take_up("a", held_for=10.0)
    harness.submit("b", "a")

    assert harness.advance(9.9) == []
    assert harness.advance(0.2) == ["finish a failed", "finish b cancelled"]
    assert "registration_timeout_s" in harness.error("a")


def test_a_released_task_does_not_fail_when_the_time_for_its_release_is_over():
    harness = Harness()
    harness.take_up("a", held_for=10.0)
    harness.release("a")

    assert harness.advance(20.0) == []
    assert harness.status("a") is TaskStatus.RUNNING


def test_a_held_task_can_be_cancelled_and_releasing_it_then_changes_nothing():
    harness = Harness()
    harness.take_up("a", held_for=10.0)

    assert harness.cancel("a") == ["a"]
    assert harness.release("a") == []
    assert harness.release("unknown") == []


def test_a_held_memory_intensive_task_sets_its_memory_aside_once_it_is_known():
    harness = Harness(lanes=LANES, memory_limit_mb=100.0)
    harness.take_up("a", held_for=10.0)
    harness.release("a", PROCESS, 60.0)

    assert harness.scheduler.memory.reserved_mb == 60.0


# ---- in the middle of a backoff


def test_a_task_in_backoff_starts_when_it_is_due_and_not_before():
    harness = Harness()

    assert harness.take_up("a", not_before=5.0, attempt=1) == []
    assert harness["a"].phase is Phase.BACKOFF
    assert harness.advance(4.9) == []
    assert harness.advance(0.2) == ["start a"]
    assert harness["a"].attempt == 2


def test_a_task_whose_backoff_passed_while_nothing_ran_starts_at_once():
    harness = Harness()
    harness.now = 7.0

    assert harness.take_up("a", not_before=5.0, attempt=1) == ["start a"]


def test_a_task_in_backoff_is_deferred_also_when_it_had_to_be_released_first():
    harness = Harness()
    harness.take_up("a", held_for=10.0, not_before=5.0, attempt=1)

    assert harness.release("a") == []
    assert harness["a"].phase is Phase.BACKOFF
    assert harness.advance(5.0) == ["start a"]


# ---- ended long ago


def test_who_waits_for_a_task_that_ended_in_an_earlier_run_is_told():
    harness = Harness()
    harness.submit("a", "old")

    assert harness.remember("old") == ["start a"]
    assert harness.status("old") is TaskStatus.COMPLETED


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.TIMEOUT, TaskStatus.CANCELLED])
def test_who_waits_for_one_that_did_not_complete_is_cancelled_or_runs_anyway(status: TaskStatus):
    harness = Harness()
    harness.submit("a", "old")
    harness.submit("anyway", "old", run_anyway=True)

    assert sorted(harness.remember("old", status)) == ["finish a cancelled", "start anyway"]
    assert "'old'" in harness.error("a")
    assert "it went wrong" in harness.error("a")


def test_who_comes_later_finds_what_is_remembered():
    harness = Harness()
    harness.remember("old")

    assert harness.submit("a", "old") == ["start a"]


def test_what_is_known_is_not_remembered_over_it():
    harness = Harness()
    harness.submit("a")

    assert harness.remember("a", TaskStatus.FAILED) == []
    assert harness.status("a") is TaskStatus.RUNNING


def test_what_is_forgotten_counts_as_never_submitted():
    harness = Harness()
    harness.submit("a")
    harness.scheduler.forget("a")
    assert harness.status("a") is TaskStatus.RUNNING

    harness.succeed("a")
    harness.scheduler.forget("a")
    harness.scheduler.check()

    assert harness.scheduler.find("a") is None
    assert harness.submit("a") == ["start a"]


# ---- what a shutdown leaves


def test_what_ended_only_because_of_the_shutdown_is_left_and_nothing_else():
    harness = Harness(slots=3)
    for task_id in ("runs", "fails", "completes"):
        harness.submit(task_id, max_retries=1)
    harness.submit("waits")
    harness.submit("depends", "completes")

    harness.pause()
    harness.cancel_waiting()
    harness.succeed("completes")
    harness.fail("fails")
    harness.stop_running()
    harness.abandon_running()

    assert {record.id for record in harness.finished.values() if record.left} == {"runs", "fails", "waits", "depends"}


def test_a_task_that_a_caller_cancels_during_the_shutdown_is_not_left():
    harness = Harness()
    harness.submit("a")
    harness.pause()
    harness.cancel_waiting()
    harness.cancel("a")
    harness.stop_running()
    harness.stop("a")

    assert not harness.finished["a"].left
