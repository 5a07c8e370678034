"""Which task starts next: by urgency, then by age; what a dependent lends; the reserved slot; the starvation guard."""

from __future__ import annotations

import pytest
from tests.scheduling.harness import ASYNC, BATCH, CRITICAL, HIGH, LOW, NORMAL, THREAD, Harness, lane

from async_processor.model import TaskPriority
from async_processor.outcome import ErrorInfo
from async_processor.scheduling.admission import Fairness

# ---- strict order


def test_ten_thousand_tasks_of_equal_priority_start_in_the_order_of_submission():  # E3
    names = [str(number) for number in range(10_000)]
    harness = Harness(slots=1, check_every=2_000, queue_size=10_000)
    for name in names:
        harness.submit(name)

    for name in names:
        harness.succeed(name)

    assert [entry.removeprefix("start ") for entry in harness.log if entry.startswith("start")] == names
    harness.scheduler.check()


def test_the_more_urgent_task_starts_first_and_the_older_among_equals():
    harness = Harness()
    harness.submit("running")
    for name, priority in [("b1", BATCH), ("n1", NORMAL), ("c1", CRITICAL), ("n2", NORMAL), ("h1", HIGH), ("l1", LOW)]:
        harness.submit(name, priority=priority)

    order = [harness.succeed(name)[-1] for name in ("running", "c1", "h1", "n1", "n2", "l1")]

    assert order == ["start c1", "start h1", "start n1", "start n2", "start l1", "start b1"]


def test_every_free_slot_is_taken_in_the_step_that_decides_and_the_warmest_first():
    harness = Harness(slots=3)
    started = [harness.submit(name) for name in "abc"]
    slots = [harness[name].slot for name in "abc"]

    harness.succeed("a")
    harness.succeed("b")
    harness.submit("d")

    assert started == [["start a"], ["start b"], ["start c"]]
    assert slots == ["async-0", "async-1", "async-2"]
    assert harness["d"].slot == "async-1", "b was the last to leave its slot"


def test_of_all_tasks_that_one_end_releases_the_most_urgent_takes_the_slot():
    harness = Harness()
    harness.submit("first")
    harness.submit("low", "first", priority=LOW)
    harness.submit("urgent", "first", priority=CRITICAL)

    assert harness.succeed("first") == ["finish first completed", "start urgent"]


def test_of_all_retries_that_are_due_together_the_most_urgent_takes_the_slot():
    harness = Harness(slots=2)
    harness.submit("low", priority=LOW, max_retries=1)
    harness.submit("urgent", priority=CRITICAL, max_retries=1)
    harness.fail("low")
    harness.fail("urgent")
    for name in ("x", "y"):
        harness.submit(name, priority=CRITICAL)
    harness.now = 100.0

    harness.wake()

    assert harness.succeed("x")[-1] == "start urgent"


def test_a_queue_in_one_lane_holds_up_no_other():
    harness = Harness(lanes={ASYNC: lane(1), THREAD: lane(1, THREAD)})
    harness.submit("a", priority=CRITICAL)
    harness.submit("b", priority=CRITICAL)

    assert harness.submit("c", lane=THREAD, priority=BATCH) == ["start c"]


def test_who_is_ready_and_how_many_there_are_of_each_urgency_can_be_asked():
    harness = Harness(lanes={ASYNC: lane(1), THREAD: lane(1, THREAD)})
    harness.submit("running")
    harness.advance(2.0)
    harness.submit("low", priority=LOW)
    harness.submit("waits", "low", priority=HIGH)
    harness.submit("batch", priority=BATCH)
    scheduler = harness.scheduler

    assert scheduler.ready_ids() == ["low", "batch"]
    assert scheduler.ready_by_priority() == {CRITICAL: 0, HIGH: 1, NORMAL: 0, LOW: 0, BATCH: 1}
    assert scheduler.ready_by_lane() == {ASYNC: 2, THREAD: 0}
    assert scheduler.oldest_ready_at() == 2.0
    assert (scheduler.pending, scheduler.ready, scheduler.waiting, scheduler.running) == (3, 2, 1, 1)


def test_with_nothing_ready_there_is_no_oldest():
    assert Harness().scheduler.oldest_ready_at() is None


# ---- urgency is lent backwards


def test_a_task_is_as_urgent_as_the_most_urgent_that_waits_for_it():
    harness = Harness()
    harness.submit("running")
    harness.submit("normal")
    harness.submit("slow", priority=BATCH)
    harness.submit("between", "slow", priority=LOW)
    harness.submit("urgent", "between", priority=CRITICAL)

    assert [harness[name].urgency for name in ("slow", "between", "urgent")] == [CRITICAL, CRITICAL, CRITICAL]
    assert harness.succeed("running")[-1] == "start slow"


def test_urgency_falls_again_step_by_step_when_those_who_lent_it_are_cancelled():
    harness = Harness()
    harness.submit("running")
    harness.submit("normal")
    harness.submit("slow", priority=BATCH)
    harness.submit("between", "slow", priority=LOW)
    harness.submit("high", "between", priority=HIGH)
    harness.submit("urgent", "between", priority=CRITICAL)

    seen = [harness["slow"].urgency]
    for name in ("urgent", "high", "between"):
        harness.cancel(name)
        seen.append(harness["slow"].urgency)

    assert seen == [CRITICAL, HIGH, LOW, BATCH]
    assert harness.succeed("running")[-1] == "start normal"


def test_of_two_lenders_of_one_urgency_the_second_still_counts_when_the_first_has_gone():
    harness = Harness()
    harness.submit("running")
    harness.submit("slow", priority=BATCH)
    harness.submit("one", "slow", priority=HIGH)
    harness.submit("two", "slow", priority=HIGH)

    harness.cancel("one")
    seen = [harness["slow"].urgency]
    harness.cancel("two")
    seen.append(harness["slow"].urgency)

    assert seen == [HIGH, BATCH]


def test_urgency_reaches_a_dependency_that_is_submitted_after_its_dependents():
    harness = Harness()
    harness.submit("running")
    harness.submit("normal")
    harness.submit("urgent", "late", priority=CRITICAL)
    harness.submit("late", "later", priority=LOW)
    harness.submit("later", priority=BATCH)

    assert harness["later"].urgency == CRITICAL
    assert harness.succeed("running")[-1] == "start later"


def test_urgency_lent_to_a_task_in_backoff_holds_when_it_is_ready_again():
    harness = Harness()
    harness.submit("slow", priority=BATCH, max_retries=1)
    harness.fail("slow")
    harness.submit("running")
    harness.submit("normal")
    harness.submit("urgent", "slow", priority=CRITICAL)
    harness.advance(1.0)

    assert harness.succeed("running")[-1] == "start slow"


def test_lent_urgency_changes_nothing_for_those_that_already_run_but_their_count():
    harness = Harness()
    harness.submit("running", priority=BATCH)

    assert harness.submit("urgent", "running", priority=CRITICAL) == []
    assert harness["running"].urgency == CRITICAL
    assert harness.succeed("running") == ["finish running completed", "start urgent"]


# ---- reserved slots


@pytest.mark.parametrize(("slots", "for_all"), [(1, 1), (3, 3), (4, 3), (5, 4)])
def test_a_lane_of_four_slots_or_more_keeps_one_for_urgent_tasks(slots: int, for_all: int):
    harness = Harness(slots)
    for number in range(slots):
        harness.submit(f"normal-{number}")

    assert len(harness.running) == for_all
    if for_all < slots:
        assert harness.submit("urgent", priority=HIGH) == ["start urgent"]
        assert harness.submit("urgent too", priority=CRITICAL) == []


def test_as_many_slots_are_reserved_as_the_configuration_says():
    harness = Harness(5, fairness=Fairness(reserved_slots=3))
    started = [name for name in "abcde" if harness.submit(name)]

    assert started == ["a", "b"]
    assert harness.submit("high", priority=HIGH) == ["start high"]


def test_no_slot_is_reserved_when_the_configuration_says_none():
    harness = Harness(4, fairness=Fairness(reserved_slots=0))

    assert [harness.submit(name) for name in "abcd"] == [["start a"], ["start b"], ["start c"], ["start d"]]


def test_the_slot_that_an_urgent_task_leaves_is_kept_for_the_next():
    harness = Harness(4)
    for name in "abcd":
        harness.submit(name)
    harness.submit("high", priority=HIGH)

    assert harness.succeed("high") == ["finish high completed"]
    assert harness.succeed("a") == ["finish a completed", "start d"]


def test_a_task_that_becomes_urgent_while_it_waits_may_take_the_reserved_slot_at_once():
    harness = Harness(4)
    for name in "abcd":
        harness.submit(name)

    assert harness.submit("urgent", "d", priority=HIGH) == ["start d"]


# ---- the starvation guard


class Load:
    """Keeps every slot busy and somebody waiting: one task ends and one comes each second."""

    def __init__(self, harness: Harness, priority: TaskPriority, slots: int = 1) -> None:
        self.harness = harness
        self.priority = priority
        self.starts = 0
        self._number = 0
        for _ in range(2 * slots):
            self._submit()

    def second(self) -> None:
        self.harness.advance(1.0)
        self._submit()
        self.starts += len(_started(self.harness.succeed(self.harness.running[0])))

    def _submit(self) -> None:
        self._number += 1
        self.starts += len(_started(self.harness.submit(f"load-{self._number}", priority=self.priority)))


def _started(commands: list[str]) -> list[str]:
    return [command.removeprefix("start ") for command in commands if command.startswith("start")]


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("starts_before", [0, 7, 15, 16, 40])
def test_a_batch_task_starts_in_time_while_more_urgent_ones_keep_every_slot_busy(slots: int, starts_before: int):  # E4
    harness = Harness(slots, check_every=50)
    load = Load(harness, HIGH, slots)
    for _ in range(starts_before):
        load.second()
    harness.submit("batch", priority=BATCH)
    submitted_at, starts_in_time = harness.now, 0

    while "start batch" not in harness.log and harness.now < submitted_at + 3_600.0:
        load.second()
        if harness.now <= submitted_at + 60.0:
            starts_in_time = load.starts

    assert "start batch" in harness.log
    assert load.starts - starts_in_time <= 16


def test_a_batch_task_never_passes_a_critical_one_and_starts_at_the_first_moment_when_none_waits():  # E4
    harness = Harness(check_every=500)
    load = Load(harness, CRITICAL)
    harness.submit("batch", priority=BATCH)
    harness.submit("high", priority=HIGH)

    for _ in range(3_600):
        load.second()
    waited = [harness["batch"].attempt, harness["high"].attempt]
    first_to_start = [_started(harness.succeed(harness.running[0])) for _ in range(2)]

    assert waited == [0, 0]
    assert first_to_start == [["load-3602"], ["batch"]]


def test_a_turn_of_the_guard_is_not_used_up_by_critical_tasks_that_waited_long_themselves():
    harness = Harness(check_every=20)
    harness.submit("running")
    harness.submit("batch", priority=BATCH)
    for number in range(40):
        harness.submit(f"critical-{number}", priority=CRITICAL)
    harness.submit("high", priority=HIGH)
    harness.advance(100.0)

    harness.succeed("running")
    for number in range(39):
        harness.succeed(f"critical-{number}")

    assert harness.succeed("critical-39")[-1] == "start batch"


def test_of_many_that_starve_one_starts_in_every_sixteen_starts_the_longest_waiting_first():
    harness = Harness(check_every=20)
    load = Load(harness, HIGH)
    for number in range(5):
        harness.submit(f"batch-{number}", priority=BATCH if number % 2 else LOW)
    harness.advance(61.0)
    harness.log.clear()

    while len([name for name in _started(harness.log) if name.startswith("batch")]) < 5:
        load.second()

    turns = [(place, name) for place, name in enumerate(_started(harness.log), 2) if name.startswith("batch")]
    assert turns == [(16 * (number + 1), f"batch-{number}") for number in range(5)]


def test_a_task_starves_only_once_it_has_waited_longer_than_max_wait():
    harness = Harness(fairness=Fairness(max_wait=10.0, guard_interval=1))
    harness.submit("running")
    harness.submit("batch", priority=BATCH)
    harness.submit("high 1", priority=HIGH)
    harness.submit("high 2", priority=HIGH)

    harness.advance(10.0)
    at_the_limit = harness.succeed("running")[-1]
    harness.advance(0.1)
    past_it = harness.succeed("high 1")[-1]

    assert [at_the_limit, past_it] == ["start high 1", "start batch"]


def test_a_task_that_starves_may_take_the_reserved_slot_when_it_is_the_guards_turn():
    harness = Harness(4, fairness=Fairness(max_wait=10.0, guard_interval=3))
    for name in "abcd":
        harness.submit(name)
    harness.advance(11.0)

    assert harness.submit("high", priority=HIGH) == ["start d"], "the fourth start, and d has waited for too long"
    assert harness.succeed("a") == ["finish a completed", "start high"]


def test_the_guard_does_not_overlook_who_starves_behind_a_task_that_must_wait_for_memory():
    harness = Harness(2, memory_limit_mb=100.0, check_every=10)
    harness.submit("large", memory_mb=60.0)
    harness.submit("larger", memory_mb=80.0)
    harness.submit("high-0", priority=HIGH)
    harness.submit("batch", priority=BATCH)
    harness.advance(61.0)

    for number in range(16):
        harness.submit(f"high-{number + 1}", priority=HIGH)
        if "start batch" in harness.succeed(f"high-{number}"):
            break

    assert "start batch" in harness.log


def test_waiting_for_the_next_attempt_does_not_count_as_starving():
    harness = Harness(fairness=Fairness(max_wait=10.0, guard_interval=1))
    harness.submit("flaky", priority=BATCH, max_retries=5)
    harness.fail("flaky", ErrorInfo(type_name="Busy", message="later", retry_after=50.0))
    harness.submit("running")
    harness.submit("high", priority=HIGH)

    harness.advance(60.0)

    assert harness.succeed("running")[-1] == "start high"
