"""What is remembered of ended tasks, what that means for ids and dependents, and room in the queue."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import RAY, Harness

from async_processor.errors import ConfigurationError, CyclicDependencyError, DuplicateTaskError
from async_processor.model import TaskStatus

# ---- ids


@pytest.mark.parametrize("state", ["waiting", "ready", "running", "stopping", "backoff", "finished"])
def test_an_id_is_refused_while_its_task_is_known_and_nothing_changes(state: str):  # E13
    harness = Harness()
    match state:
        case "waiting":
            harness.submit("a", "never")
        case "ready":
            harness.submit("running")
            harness.submit("a")
        case _:
            harness.submit("a", max_retries=1)
    match state:
        case "stopping":
            harness.cancel("a")
        case "backoff":
            harness.fail("a")
        case "finished":
            harness.succeed("a")
    before = picture(harness)

    with pytest.raises(DuplicateTaskError, match="'a' was submitted before; leave the id out") as refused:
        harness.submit("a", "b", "c")

    assert (refused.value.task_id, refused.value.field) == ("a", "id")
    assert picture(harness) == before
    harness.scheduler.check()


def picture(harness: Harness) -> object:
    """Everything that a refused submit must not touch."""
    scheduler = harness.scheduler
    return (
        {record.id: (record.phase, record.urgency, record.unmet, record.seq) for record in scheduler.records()},
        {name for name in "abcxyz" if scheduler._graph.is_awaited(name)},
        (scheduler.waiting, scheduler.ready, scheduler.backoff, scheduler.running, scheduler.pending),
        scheduler.next_wakeup(),
        scheduler.take_commands(),
    )


def test_an_id_may_be_used_again_when_its_result_is_no_longer_kept():  # E13
    harness = Harness(result_ttl=60.0)
    harness.submit("a")
    harness.succeed("a")
    harness.advance(60.0)

    assert harness.submit("a") == ["start a"]
    assert harness.status("a") is TaskStatus.RUNNING


def test_of_a_hundred_submits_of_one_id_exactly_one_is_accepted():  # E13
    harness = Harness()
    refused = 0
    for _ in range(100):
        try:
            harness.submit("a")
        except DuplicateTaskError:
            refused += 1

    assert refused == 99
    assert harness.log == ["start a"]


def test_a_task_for_a_lane_that_is_not_there_is_refused_and_nothing_changes():
    harness = Harness()
    harness.submit("dependent", "a")
    before = picture(harness)

    with pytest.raises(ConfigurationError, match="task 'a' needs the ray lane, and there is none") as refused:
        harness.submit("a", lane=RAY)

    assert refused.value.task_id == "a"
    assert picture(harness) == before
    harness.scheduler.check()


def test_a_refused_circle_leaves_the_scheduler_as_it_was():  # E14
    harness = Harness()
    harness.submit("b", "a")
    harness.submit("c", "b")
    before = picture(harness)

    with pytest.raises(CyclicDependencyError):
        harness.submit("a", "x", "c")

    assert picture(harness) == before
    harness.scheduler.check()
    assert harness.submit("a") == ["start a"]


# ---- results


def test_so_many_results_are_kept_and_the_oldest_goes_first():
    harness = Harness(max_results=3)
    for name in "abcde":
        harness.submit(name)
        harness.succeed(name)

    assert [record.id for record in harness.scheduler.records()] == ["c", "d", "e"]
    assert harness.scheduler.find("a") is None


def test_results_are_kept_for_so_long():
    harness = Harness(result_ttl=60.0)
    harness.submit("a")
    harness.succeed("a")
    harness.advance(30.0)
    harness.submit("b")
    harness.succeed("b")

    harness.advance(29.9)
    kept = [record.id for record in harness.scheduler.records()]
    harness.advance(0.1)

    assert kept == ["a", "b"]
    assert [record.id for record in harness.scheduler.records()] == ["b"]
    assert harness.scheduler.next_wakeup() == 90.0


def test_results_go_by_when_their_tasks_ended_not_by_when_they_were_submitted():
    harness = Harness(slots=2, max_results=1)
    harness.submit("first")
    harness.submit("second")
    harness.succeed("second")
    harness.succeed("first")

    assert [record.id for record in harness.scheduler.records()] == ["first"]


def test_with_no_results_kept_every_end_is_told_all_the_same():
    harness = Harness(max_results=0)
    harness.submit("a")
    harness.submit("b", "a")

    assert harness.succeed("a") == ["finish a completed", "start b"]
    assert harness.succeed("b") == ["finish b completed"]
    assert list(harness.scheduler.records()) == []


def test_open_tasks_are_never_forgotten_however_old_they_are():
    harness = Harness(max_results=0, result_ttl=1.0)
    harness.submit("running")
    harness.submit("ready")
    harness.submit("waiting", "ready")
    harness.advance(1e6)

    assert [record.id for record in harness.scheduler.records()] == ["running", "ready", "waiting"]


def test_a_dependent_of_what_ended_and_is_still_remembered_starts_at_once():
    harness = Harness(result_ttl=60.0)
    harness.submit("a")
    harness.succeed("a")
    harness.advance(59.0)

    assert harness.submit("b", "a") == ["start b"]


def test_a_dependent_of_what_is_forgotten_waits_as_for_one_that_nobody_submitted_and_then_fails():
    harness = Harness(result_ttl=60.0)
    harness.submit("a")
    harness.succeed("a")
    harness.advance(60.0)

    assert harness.submit("b", "a", dependency_timeout=30.0) == []
    assert harness.advance(30.0) == ["finish b failed"]
    assert harness.error("b") == (
        "task 'b' waited 30 s for 'a', which nobody submitted "
        "(or which ended so long ago that its result is no longer kept)"
    )


def test_a_dependent_that_came_in_time_starts_also_when_one_it_waited_for_is_forgotten_meanwhile():
    harness = Harness(slots=2, max_results=0)
    harness.submit("a")
    harness.submit("b")
    harness.submit("c", "a", "b")
    harness.succeed("a")

    assert harness.scheduler.find("a") is None
    assert harness.succeed("b") == ["finish b completed", "start c"]
    assert list(harness["c"].dependencies or ()) == ["a", "b"]


def test_an_ended_task_holds_on_to_no_other():
    """Or a chain of which the last result is kept would be kept whole."""
    harness = Harness()
    harness.submit("a")
    harness.submit("b", "a")
    harness.succeed("a")
    harness.succeed("b")

    for name in "ab":
        assert (harness[name].dependencies, harness[name].dependents, harness[name].lent) == (None, None, None)


# ---- room


def test_there_is_room_until_so_many_tasks_wait():
    harness = Harness(queue_size=2)
    harness.submit("running")
    harness.submit("a")
    room = [harness.scheduler.has_room_for("next")]
    harness.submit("b", "a")
    room.append(harness.scheduler.has_room_for("next"))
    harness.succeed("running")
    room.append(harness.scheduler.has_room_for("next"))

    assert room == [True, False, True]
    assert harness.scheduler.pending == 1


def test_a_task_that_others_wait_for_always_has_room():
    harness = Harness(queue_size=1)
    harness.submit("dependent", "needed")

    assert not harness.scheduler.has_room_for("another")
    assert harness.scheduler.has_room_for("needed")
    harness.submit("needed", "needed too")
    assert harness.scheduler.has_room_for("needed too")
    assert not harness.scheduler.has_room_for("needed"), "it is there"


def test_what_nobody_waits_for_any_more_needs_room_again():
    harness = Harness(queue_size=1)
    harness.submit("running")
    harness.submit("filler")
    harness.submit("dependent", "needed")

    harness.cancel("dependent")

    assert not harness.scheduler.has_room_for("needed")


def test_a_task_cancelled_at_submit_leaves_no_place_kept_for_its_other_dependencies():
    harness = Harness(queue_size=1)
    harness.submit("failed")
    harness.fail("failed")
    harness.submit("running")
    harness.submit("filler")

    assert harness.submit("a", "failed", "never submitted") == ["finish a cancelled"]
    assert not harness.scheduler.has_room_for("never submitted")


def test_retries_and_released_dependents_need_no_room():
    harness = Harness(queue_size=0)
    harness.submit("flaky", max_retries=1)

    assert not harness.scheduler.has_room_for("another")
    assert harness.fail("flaky") == ["retry flaky"]
    assert harness.advance(1.0) == ["start flaky"]


def test_tasks_in_backoff_count_as_waiting():
    harness = Harness(queue_size=1)
    harness.submit("flaky", max_retries=1)
    room = [harness.scheduler.has_room_for("another")]
    harness.fail("flaky")
    room.append(harness.scheduler.has_room_for("another"))

    assert room == [True, False]


def test_it_is_idle_when_every_task_has_ended():
    harness = Harness()
    seen = [harness.scheduler.idle]
    harness.submit("a", max_retries=1)
    seen.append(harness.scheduler.idle)
    harness.fail("a")
    seen.append(harness.scheduler.idle)
    harness.advance(1.0)
    harness.succeed("a")
    seen.append(harness.scheduler.idle)

    assert seen == [True, False, False, True]
