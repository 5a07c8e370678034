"""The heap of what is due: order, timers that lost their meaning, and how large it may grow."""

from __future__ import annotations

from tests.scheduling.harness import Harness

from async_processor.outcome import Returned
from async_processor.scheduling.records import Start, TaskRecord
from async_processor.scheduling.timers import Due, Timer, Timers


class Meaning:
    """Says of each timer whether it still means anything."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.timers = Timers(self.holds)

    def holds(self, timer: Timer) -> bool:
        return timer.stamp not in self.gone

    def lose(self, stamp: int) -> None:
        self.gone.add(stamp)
        self.timers.lost()


def record(task_id: str = "a") -> TaskRecord:
    return TaskRecord(task_id)


def test_timers_come_up_in_the_order_of_their_times_and_then_of_being_set():
    timers = Meaning().timers
    for stamp, at in enumerate([3.0, 1.0, 2.0, 1.0]):
        timers.schedule(at, Due.DEADLINE, record(), stamp)

    order = []
    while (timer := timers.pop_due(10.0)) is not None:
        order.append((timer.at, timer.stamp))

    assert order == [(1.0, 1), (1.0, 3), (2.0, 2), (3.0, 0)]


def test_a_timer_is_due_at_its_time_and_not_before():
    timers = Meaning().timers
    timers.schedule(1.0, Due.BACKOFF, record(), 1)

    assert timers.pop_due(0.999) is None
    assert timers.next_at() == 1.0
    due = timers.pop_due(1.0)
    assert due is not None
    assert (due.due, due.stamp) == (Due.BACKOFF, 1)
    assert timers.next_at() is None


def test_a_timer_that_lost_its_meaning_never_comes_up():
    meaning = Meaning()
    for stamp in range(3):
        meaning.timers.schedule(float(stamp), Due.DEADLINE, record(), stamp)

    meaning.lose(0)

    assert meaning.timers.next_at() == 1.0
    due = meaning.timers.pop_due(5.0)
    assert due is not None
    assert due.stamp == 1


def test_records_are_those_that_some_timer_still_means_something_for():
    meaning = Meaning()
    here, gone = record("here"), record("gone")
    meaning.timers.schedule(1.0, Due.DEADLINE, here, 1)
    meaning.timers.schedule(1.0, Due.DEADLINE, gone, 2)
    meaning.lose(2)

    assert meaning.timers.records() == {here}


def test_the_heap_is_bounded_by_the_timers_that_mean_something_and_keeps_their_order():
    meaning = Meaning()
    for stamp in range(20_000):
        meaning.timers.schedule(float(20_000 - stamp), Due.DEADLINE, record(), stamp)
        if stamp % 10:
            meaning.lose(stamp)

    assert len(meaning.timers) <= 2 * 2_000 + 1_024
    order = [timer.stamp for timer in iter(lambda: meaning.timers.pop_due(1e9), None)]
    assert order == list(range(19_990, -1, -10))


def test_a_hundred_thousand_quick_attempts_with_long_timeouts_leave_few_timers():
    scheduler = Harness(max_results=10).scheduler
    largest = 0
    for number in range(100_000):
        scheduler.submit(TaskRecord(str(number), timeout=3_600.0), 0.0)
        start = scheduler.take_commands()[-1]
        assert isinstance(start, Start)
        scheduler.attempt_ended(start.token, Returned(None), 0.0)
        largest = max(largest, len(scheduler._timers))

    assert largest <= 1_024
    scheduler.check()


def test_tasks_cancelled_in_their_backoff_leave_few_timers():
    harness = Harness(check_every=1_000, max_results=10)
    for number in range(3_000):
        harness.submit(str(number), max_retries=1)
        harness.fail(str(number))
        harness.cancel(str(number))

    assert len(harness.scheduler._timers) <= 1_024


def test_tasks_cancelled_while_they_await_what_nobody_submitted_leave_few_timers():
    harness = Harness(check_every=1_000, max_results=10)
    for number in range(3_000):
        harness.submit(str(number), "never", dependency_timeout=3_600.0)
        harness.cancel(str(number))

    assert len(harness.scheduler._timers) <= 1_024


def test_attempts_stopped_within_their_grace_leave_few_timers():
    harness = Harness(check_every=1_000, max_results=10)
    for number in range(3_000):
        harness.submit(str(number), timeout=3_600.0)
        harness.cancel(str(number))
        harness.stop(str(number))

    assert len(harness.scheduler._timers) <= 1_024


def test_a_timer_of_an_attempt_never_touches_the_next():
    harness = Harness()
    harness.submit("a", timeout=10.0, max_retries=1)
    harness.advance(5.0)
    harness.fail("a")
    harness.advance(4.9)

    assert harness.log == ["start a", "retry a", "start a"]
    assert harness.advance(0.2) == [], "the deadline of the first attempt"
    assert "stop a timeout" in harness.advance(10.0)
