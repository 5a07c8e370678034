"""Tasks that wait for others: when they start, and what becomes of them when a dependency does not complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.scheduling.harness import ASYNC, FAILURE, HOPELESS, Harness, lane

from async_processor.model import TaskStatus
from async_processor.outcome import Raised, Returned
from async_processor.scheduling.admission import Fairness
from async_processor.scheduling.cascade import CASCADE_BUDGET
from async_processor.scheduling.scheduler import TIMER_BUDGET, Scheduler

# How a task is brought to each of its ends, from the moment it runs.
ENDS: dict[TaskStatus, Callable[[Harness, str], object]] = {
    TaskStatus.COMPLETED: lambda harness, task_id: harness.succeed(task_id),
    TaskStatus.FAILED: lambda harness, task_id: harness.fail(task_id),
    TaskStatus.TIMEOUT: lambda harness, task_id: (harness.advance(5.0), harness.stop(task_id)),
    TaskStatus.CANCELLED: lambda harness, task_id: (harness.cancel(task_id), harness.stop(task_id)),
}
FAILED_ENDS = [status for status in ENDS if status is not TaskStatus.COMPLETED]


# ---- waiting


def test_a_task_starts_when_the_last_of_its_dependencies_has_completed():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.submit("b")

    assert harness.submit("c", "a", "b") == []
    assert harness.succeed("b") == ["finish b completed"]
    assert harness.succeed("a") == ["finish a completed", "start c"]


def test_a_task_may_be_submitted_before_those_it_depends_on():
    harness = Harness()

    assert harness.submit("c", "a", "b") == []
    assert harness.submit("a") == ["start a"]
    assert harness.succeed("a") == ["finish a completed"]
    assert harness.submit("b") == ["start b"]
    assert harness.succeed("b") == ["finish b completed", "start c"]


def test_waiting_holds_no_slot():
    harness = Harness(slots=1)
    harness.submit("c", "never yet")

    assert harness.submit("a") == ["start a"]


def test_fifty_dependents_of_a_flaky_task_start_once_after_it_has_completed():  # E7
    harness = Harness(slots=50, fairness=Fairness(reserved_slots=0))
    harness.submit("flaky", max_retries=2)
    names = [f"dependent-{number}" for number in range(50)]
    for name in names:
        harness.submit(name, "flaky")
    for _ in range(2):
        harness.fail("flaky")
        harness.advance(60.0)
    before = [harness.log.count(f"start {name}") for name in names]

    after = harness.succeed("flaky")

    assert before == [0] * 50
    assert after == ["finish flaky completed", *(f"start {name}" for name in names)]


# ---- the twelve cases


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("end", ENDS)
def test_it_makes_no_difference_when_a_dependent_is_submitted(end: TaskStatus, when: str):  # E8
    harness = Harness(slots=2)

    if when == "before":
        harness.submit("dependent", "first")
    harness.submit("first", timeout=5.0)
    if when == "during":
        harness.submit("dependent", "first")
    ENDS[end](harness, "first")
    if when == "after":
        harness.submit("dependent", "first")

    assert harness.status("first") is end
    if end is TaskStatus.COMPLETED:
        assert harness.status("dependent") is TaskStatus.RUNNING
    else:
        assert harness.status("dependent") is TaskStatus.CANCELLED
        why = harness["first"].error
        assert why is not None
        assert harness.error("dependent") == (
            f"task 'dependent' was cancelled because its dependency 'first' ended {end.value}: {why.message}"
        )


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("end", ENDS)
def test_a_dependent_that_runs_anyway_runs_after_every_end_but_only_then(end: TaskStatus, when: str):  # E9
    harness = Harness(slots=2)

    if when == "before":
        harness.submit("dependent", "first", run_anyway=True)
    harness.submit("first", timeout=5.0)
    if when == "during":
        harness.submit("dependent", "first", run_anyway=True)
    ENDS[end](harness, "first")
    if when == "after":
        harness.submit("dependent", "first", run_anyway=True)

    assert harness.log[-2:] == [f"finish first {end}", "start dependent"]


# ---- what does not complete


@pytest.mark.parametrize("end", FAILED_ENDS)
def test_a_thousand_dependents_one_behind_the_other_end_with_the_root_and_the_cause_in_their_errors(end: TaskStatus):
    # E9
    harness = Harness(check_every=500)
    harness.submit("root", timeout=5.0)
    previous = "root"
    for number in range(1_000):
        harness.submit(f"task-{number}", previous)
        previous = f"task-{number}"

    ENDS[end](harness, "root")

    root = harness["root"].error
    assert root is not None
    ended = [harness.status(f"task-{number}") for number in range(1_000)]
    assert ended == [TaskStatus.CANCELLED] * 1_000
    assert harness.error("task-0") == (
        f"task 'task-0' was cancelled because its dependency 'root' ended {end}: {root.message}"
    )
    for number in range(1, 1_000):
        assert harness.error(f"task-{number}") == (
            f"task 'task-{number}' was cancelled because its dependency 'root' (by way of 'task-{number - 1}') "
            f"ended {end}: {root.message}"
        )
    harness.scheduler.check()


@pytest.mark.parametrize("end", FAILED_ENDS)
def test_a_thousand_dependents_side_by_side_end_with_one_that_does_not_complete(end: TaskStatus):  # E9
    harness = Harness(check_every=500)
    harness.submit("root", timeout=5.0)
    for number in range(1_000):
        harness.submit(f"task-{number}", "root")

    ENDS[end](harness, "root")

    assert {harness.status(f"task-{number}") for number in range(1_000)} == {TaskStatus.CANCELLED}
    assert {harness[f"task-{number}"].root for number in range(1_000)} == {"root"}
    assert harness.scheduler.idle


def test_errors_name_the_root_also_when_it_is_forgotten_before_the_last_dependent_is_told():
    """And do not grow with the distance from it: each would otherwise quote the one before."""
    harness = Harness(max_results=3, check_every=200)
    harness.submit("root")
    previous = "root"
    for number in range(3 * CASCADE_BUDGET):
        harness.submit(f"task-{number}", previous)
        previous = f"task-{number}"

    harness.fail("root")

    assert harness.scheduler.find("root") is None
    assert harness.error(previous) == (
        f"task '{previous}' was cancelled because its dependency 'root' (by way of 'task-{3 * CASCADE_BUDGET - 2}') "
        "ended failed: it went wrong"
    )


def test_an_error_names_the_root_it_came_from_not_a_new_task_under_the_same_id():
    harness = Harness(max_results=0, drain=False, check_every=100)
    harness.submit("root")
    previous = "root"
    for number in range(2 * CASCADE_BUDGET):
        harness.submit(f"task-{number}", previous)
        previous = f"task-{number}"

    harness.fail("root", HOPELESS)
    harness.submit("root")
    harness.wake()

    assert harness.error(previous).endswith("ended failed: it can never work")


def test_a_dependent_is_cancelled_for_the_first_of_its_dependencies_that_does_not_complete():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.submit("b")
    harness.submit("c", "a", "b")

    assert harness.fail("b") == ["finish b failed", "finish c cancelled"]
    assert harness.fail("a") == ["finish a failed"]
    assert harness["c"].root == "b"


def test_a_dependent_submitted_after_several_failures_names_the_first_in_its_own_order():
    harness = Harness(slots=2)
    for name in ("a", "b"):
        harness.submit(name)
        harness.fail(name)

    assert harness.submit("c", "b", "a", "never submitted") == ["finish c cancelled"]
    assert harness["c"].root == "b"


def test_those_who_wait_for_a_task_that_is_cancelled_at_submit_are_cancelled_with_it():
    harness = Harness()
    harness.submit("failed")
    harness.fail("failed")
    harness.submit("last", "middle")

    assert harness.submit("middle", "failed") == ["finish middle cancelled", "finish last cancelled"]
    assert harness["last"].root == "failed"


def test_a_task_that_runs_anyway_ends_the_chain_of_cancellations():
    harness = Harness()
    harness.submit("root")
    harness.submit("cancelled", "root")
    harness.submit("cleanup", "cancelled", run_anyway=True)
    harness.submit("report", "cleanup")

    assert harness.fail("root") == ["finish root failed", "finish cancelled cancelled", "start cleanup"]
    assert harness.succeed("cleanup") == ["finish cleanup completed", "start report"]


def test_a_task_that_runs_anyway_waits_for_all_its_dependencies_all_the_same():
    harness = Harness(slots=2)
    harness.submit("a")
    harness.submit("b")
    harness.submit("cleanup", "a", "b", run_anyway=True)

    assert harness.fail("a") == ["finish a failed"]
    assert harness.succeed("b") == ["finish b completed", "start cleanup"]


def test_a_permanent_error_cancels_the_dependents_though_retries_were_left():
    harness = Harness()
    harness.submit("a", max_retries=3)
    harness.submit("b", "a")

    assert harness.fail("a", HOPELESS) == ["finish a failed", "finish b cancelled"]


def test_a_diamond_is_cancelled_whole_while_one_of_its_arms_runs():  # E12
    """The arm that runs is really stopped: its lane is told."""
    harness = Harness(slots=2)
    harness.submit("root")
    harness.submit("left", "root")
    harness.submit("right", "root", "gate")
    harness.submit("join", "left", "right")
    harness.succeed("root")

    cancelled = harness.cancel("left")

    assert cancelled == ["left", "join"]
    assert harness.log[-2:] == ["stop left cancelled", "finish join cancelled"]
    assert harness.stop("left") == ["finish left cancelled"]
    assert harness.status("right") is TaskStatus.PENDING, "nothing that it waits for was cancelled"


def test_a_diamond_is_cancelled_from_its_root_while_that_still_runs():  # E12
    harness = Harness(slots=2)
    harness.submit("root")
    harness.submit("left", "root")
    harness.submit("right", "root")
    harness.submit("join", "left", "right")

    assert harness.cancel("root") == ["root", "left", "right", "join"]
    assert harness.log == [
        "start root",
        "stop root cancelled",
        "finish left cancelled",
        "finish right cancelled",
        "finish join cancelled",
    ]
    assert harness.stop("root") == ["finish root cancelled"]
    assert harness.error("join") == (
        "task 'join' was cancelled because its dependency 'root' (by way of 'left') ended cancelled: "
        "task 'root' was cancelled by a caller"
    )


# ---- what nobody submits


def test_a_dependency_that_nobody_submits_fails_the_task_after_its_time():
    harness = Harness()
    harness.submit("waits", "a", "b", dependency_timeout=30.0)
    harness.submit("behind", "waits")
    harness.submit("b")

    assert harness.advance(29.9) == []
    assert harness.advance(0.1) == ["finish waits failed", "finish behind cancelled"]
    assert harness["waits"].error is not None
    assert harness["waits"].error.type_name == "DependencyNeverSubmittedError"
    assert harness.error("waits") == (
        "task 'waits' waited 30 s for 'a', which nobody submitted "
        "(or which ended so long ago that its result is no longer kept)"
    )


def test_an_error_names_the_first_five_of_many_that_nobody_submitted():
    harness = Harness()
    harness.submit("waits", *"abcdefg", dependency_timeout=1.0)

    harness.advance(1.0)

    assert harness.error("waits").startswith(
        "task 'waits' waited 1 s for 'a', 'b', 'c', 'd', 'e' and 2 more, which nobody submitted"
    )


def test_a_task_that_runs_anyway_fails_too_if_a_dependency_is_never_submitted():
    harness = Harness()
    harness.submit("waits", "a", run_anyway=True, dependency_timeout=30.0)

    assert harness.advance(30.0) == ["finish waits failed"]


def test_a_dependency_that_came_in_time_may_take_longer_than_that_time():
    harness = Harness()
    harness.submit("waits", "a", dependency_timeout=30.0)
    harness.advance(29.0)
    harness.submit("a")

    assert harness.advance(1_000.0) == []
    assert harness.succeed("a") == ["finish a completed", "start waits"]


def test_no_time_at_all_means_that_the_dependency_must_be_there():
    harness = Harness()
    harness.submit("waits", "a", dependency_timeout=0.0)

    assert harness.advance(0.0) == ["finish waits failed"]


# ---- one step at a time


class CountingScheduler(Scheduler):
    """Counts the dependents it looks at."""

    told = 0

    def _tell(self, *arguments: Any) -> None:
        self.told += 1
        super()._tell(*arguments)


@pytest.mark.interpreted
@pytest.mark.parametrize("grace", [1.0, 0.0])
@pytest.mark.parametrize("event", ["cancel", "fail", "succeed"])
def test_no_call_tells_more_dependents_than_one_step_may(event: str, grace: float):  # E15
    harness = Harness(lanes={ASYNC: lane(2_000, grace=grace)}, scheduler=CountingScheduler, check_every=500)
    scheduler = harness.scheduler
    assert isinstance(scheduler, CountingScheduler)
    harness.submit("root")
    for number in range(4 * CASCADE_BUDGET):
        harness.submit(f"task-{number}", "root", run_anyway=number % 2 == 0)

    told = [_told_by(scheduler, lambda: EVENTS[event](scheduler, harness.tokens["root"]))]
    while scheduler.cascading:
        assert scheduler.next_wakeup() == float("-inf")
        told.append(_told_by(scheduler, lambda: scheduler.wake(0.0)))
        scheduler.check()

    assert max(told) == CASCADE_BUDGET
    assert sum(told) >= 4 * CASCADE_BUDGET


EVENTS: dict[str, Callable[[Scheduler, int], object]] = {
    "cancel": lambda scheduler, token: scheduler.cancel("root", 0.0),
    "fail": lambda scheduler, token: scheduler.attempt_ended(token, Raised(FAILURE), 0.0),
    "succeed": lambda scheduler, token: scheduler.attempt_ended(token, Returned(None), 0.0),
}


def _told_by(scheduler: CountingScheduler, step: Callable[[], object]) -> int:
    before = scheduler.told
    step()
    return scheduler.told - before


def test_no_wake_handles_more_timers_than_one_step_may_and_it_asks_for_the_next():  # E15
    harness = Harness(drain=False, check_every=500)
    for number in range(4 * TIMER_BUDGET):
        harness.submit(f"task-{number}", "never", dependency_timeout=10.0)
    harness.now = 10.0

    ended = []
    while (due := harness.scheduler.next_wakeup()) is not None and due <= harness.now:
        ended.append(len(harness.wake()))

    assert ended == [TIMER_BUDGET] * 4
    assert harness.scheduler.idle


def test_the_ids_that_a_cancel_gives_grow_until_the_cascade_is_over():
    harness = Harness(check_every=100, drain=False)
    harness.submit("root")
    names = [f"task-{number}" for number in range(2 * CASCADE_BUDGET)]
    for name in names:
        harness.submit(name, "root")

    cancelled = harness.cancel("root")
    at_first = len(cancelled)
    harness.wake()

    assert at_first == 1 + CASCADE_BUDGET
    assert cancelled == ["root", *names]


def test_a_dependent_may_be_submitted_cancelled_and_forgotten_while_the_cascade_goes_on():
    harness = Harness(max_results=5, check_every=100, drain=False)
    harness.submit("root")
    for number in range(6 * CASCADE_BUDGET):
        harness.submit(f"task-{number}", "root")
    last, before_last = f"task-{6 * CASCADE_BUDGET - 1}", f"task-{6 * CASCADE_BUDGET - 2}"

    harness.fail("root")
    harness.submit("behind", last)
    harness.submit("awaits", "root", dependency_timeout=10.0)
    by_hand = harness.cancel(before_last)
    harness.scheduler.check()
    harness.advance(10.0)

    assert by_hand == [before_last]
    assert harness.error(before_last) == f"task '{before_last}' was cancelled by a caller"
    assert {harness.finished[name].root for name in ("behind", last)} == {"root"}
    assert "for 'root', which nobody submitted" in harness.error("awaits"), "it came when root was forgotten"
    harness.scheduler.check()
