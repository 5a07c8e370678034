"""Memory-intensive tasks: how many run together, and in which order those that must wait for memory do."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import BATCH, CRITICAL, HIGH, LOW, PROCESS, RAY, Harness, lane

from async_processor.scheduling.admission import Fairness


def test_as_many_start_as_fit_into_the_memory_together():
    harness = Harness(slots=3, memory_limit_mb=100.0)

    assert harness.submit("a", memory_mb=60.0) == ["start a"]
    assert harness.submit("b", memory_mb=40.0) == ["start b"], "exactly full is not too full"
    assert harness.submit("c", memory_mb=0.1) == []
    assert harness.succeed("b") == ["finish b completed", "start c"]


def test_one_may_always_run_however_large_it_is():
    harness = Harness(slots=2, memory_limit_mb=100.0)

    assert harness.submit("huge", memory_mb=1_000.0) == ["start huge"]
    assert harness.submit("small", memory_mb=1.0) == []
    assert harness.succeed("huge") == ["finish huge completed", "start small"]


def test_one_may_always_run_under_pressure_too_but_no_second():
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.memory(under_pressure=True)

    assert harness.submit("a", memory_mb=10.0) == ["start a"]
    assert harness.submit("b", memory_mb=10.0) == []
    assert harness.memory(under_pressure=False) == ["start b"]


def test_pressure_stops_nothing_that_runs_and_nothing_that_needs_no_memory():
    harness = Harness(slots=3, memory_limit_mb=100.0)
    harness.submit("a", memory_mb=10.0)

    assert harness.memory(under_pressure=True) == []
    assert harness.submit("b", memory_mb=10.0) == []
    assert harness.submit("light") == ["start light"]


def test_a_task_that_must_wait_for_memory_holds_up_none_that_needs_none():
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.submit("a", memory_mb=60.0)
    harness.submit("large", memory_mb=60.0, priority=CRITICAL)

    assert harness.submit("light", priority=BATCH) == ["start light"]


def test_among_those_that_need_memory_the_order_is_strict():
    """A large one is not passed by small ones that would fit, or a stream of them would pass it for ever."""
    harness = Harness(slots=3, memory_limit_mb=100.0)
    harness.submit("a", memory_mb=60.0)
    harness.submit("large", memory_mb=60.0)

    assert harness.submit("small", memory_mb=10.0) == []
    assert harness.submit("urgent", memory_mb=10.0, priority=CRITICAL) == ["start urgent"]
    assert harness.succeed("urgent") == ["finish urgent completed"]
    assert harness.succeed("a") == ["finish a completed", "start large", "start small"]


def test_with_memory_enough_light_and_heavy_tasks_keep_one_order():
    harness = Harness(memory_limit_mb=100.0)
    harness.submit("running")
    harness.submit("light low", priority=LOW)
    harness.submit("heavy", memory_mb=10.0)
    harness.submit("light")
    harness.submit("heavy high", memory_mb=10.0, priority=HIGH)

    order = [harness.succeed(name)[-1] for name in ("running", "heavy high", "heavy", "light")]

    assert order == ["start heavy high", "start heavy", "start light", "start light low"]


def test_a_heavy_task_whose_turn_it_was_leaves_it_to_the_next_when_it_is_cancelled():
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.submit("running", memory_mb=60.0)
    harness.submit("large", memory_mb=80.0)
    harness.submit("small", memory_mb=30.0)

    harness.cancel("large")

    assert harness.log[-2:] == ["finish large cancelled", "start small"]


def test_a_heavy_task_that_is_urgent_no_longer_lets_a_smaller_one_pass_at_once():
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.submit("running", memory_mb=60.0)
    harness.submit("large", memory_mb=80.0, priority=LOW)
    harness.submit("urgent", "large", priority=CRITICAL)
    harness.submit("small", memory_mb=30.0)

    harness.cancel("urgent")

    assert harness.log[-2:] == ["finish urgent cancelled", "start small"]


@pytest.mark.parametrize("end", ["succeed", "fail", "stop", "abandon"])
def test_memory_is_given_back_whatever_way_the_attempt_ended(end: str):
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.submit("a", memory_mb=60.0)
    harness.submit("b", memory_mb=60.0)

    match end:
        case "succeed":
            harness.succeed("a")
        case "fail":
            harness.fail("a")
        case "stop":
            harness.cancel("a")
            harness.stop("a")
        case "abandon":
            harness.cancel("a")
            harness.advance(1.0)

    assert harness.log[-1] == "start b"
    assert (harness.scheduler.memory.running, harness.scheduler.memory.reserved_mb) == (1, 60.0)


def test_memory_is_one_budget_for_all_lanes():
    harness = Harness(lanes={PROCESS: lane(1, PROCESS), RAY: lane(1, RAY)}, memory_limit_mb=100.0)
    harness.submit("a", lane=PROCESS, memory_mb=60.0)

    assert harness.submit("b", lane=RAY, memory_mb=60.0) == []
    assert harness.succeed("a") == ["finish a completed", "start b"]


def test_a_retried_heavy_task_sets_its_memory_aside_again_only_when_it_starts():
    harness = Harness(slots=2, memory_limit_mb=100.0)
    harness.submit("flaky", memory_mb=60.0, max_retries=1)
    harness.submit("b", memory_mb=60.0)

    assert harness.fail("flaky") == ["retry flaky", "start b"]
    assert harness.advance(1.0) == []
    assert harness.succeed("b") == ["finish b completed", "start flaky"]


def test_rounding_errors_of_many_reservations_do_not_add_up():
    harness = Harness(slots=3, memory_limit_mb=100.0, check_every=100)
    for number in range(1_000):
        harness.submit(f"a-{number}", memory_mb=0.1)
        harness.submit(f"b-{number}", memory_mb=0.7)
        harness.succeed(f"a-{number}")
        harness.succeed(f"b-{number}")

    assert harness.scheduler.memory.reserved_mb == 0.0


def test_the_guard_starts_no_task_that_memory_does_not_let_start():
    harness = Harness(slots=2, memory_limit_mb=100.0, fairness=Fairness(max_wait=10.0, guard_interval=1))
    harness.submit("running", memory_mb=60.0)
    harness.submit("large", memory_mb=80.0, priority=BATCH)
    harness.advance(11.0)

    assert harness.submit("light") == ["start light"]
    assert harness.succeed("running")[-1] == "start large"


def test_a_starving_heavy_task_may_pass_a_younger_and_larger_one_that_waits_for_memory():
    """Only those that have waited longer can pass it so, and of those there are ever fewer."""
    harness = Harness(slots=3, memory_limit_mb=100.0, fairness=Fairness(max_wait=10.0, guard_interval=1))
    harness.submit("first", memory_mb=60.0)
    harness.submit("second", memory_mb=40.0)
    harness.submit("small", memory_mb=10.0, priority=BATCH)
    harness.submit("large", memory_mb=80.0)
    harness.submit("light 1")
    harness.submit("light 2")
    harness.advance(11.0)

    assert harness.succeed("second") == ["finish second completed", "start small"]


@pytest.mark.parametrize("state", ["ready", "running", "none"])
def test_memory_matters_while_a_heavy_task_runs_or_could_start(state: str):
    harness = Harness(slots=1, memory_limit_mb=100.0)
    if state == "ready":
        harness.submit("light")
    if state != "none":
        harness.submit("heavy", memory_mb=10.0)

    assert harness.scheduler.memory_matters is (state != "none")
