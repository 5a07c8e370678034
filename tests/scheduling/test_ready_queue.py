"""The order of tasks that could start, and what the queue keeps of those that left it."""

from __future__ import annotations

import random

from async_processor.model import TaskPriority
from async_processor.scheduling.lifecycle import Step
from async_processor.scheduling.ready_queue import ReadyQueue
from async_processor.scheduling.records import TaskRecord


class Line:
    """A queue, and what the scheduler does to records around it."""

    def __init__(self) -> None:
        self.queue = ReadyQueue()
        self.inside: list[TaskRecord] = []
        self._seq = 0

    def join(self, priority: int = 3, at: float = 0.0) -> TaskRecord:
        self._seq += 1
        record = TaskRecord(f"task-{self._seq}", priority=TaskPriority(priority))
        record.seq = self._seq
        return self.ready(record, Step.RELEASE, at)

    def ready(self, record: TaskRecord, step: Step, at: float) -> TaskRecord:
        record.advance(step)
        record.ready_at = at
        self.queue.push(record)
        self.inside.append(record)
        self.check()
        return record

    def leave(self, record: TaskRecord, step: Step = Step.START) -> None:
        self.queue.removed(record)
        record.advance(step)
        self.inside.remove(record)
        self.check()

    def change(self, record: TaskRecord, urgency: int) -> None:
        former, record.urgency = record.urgency, urgency
        self.queue.reprioritised(record, former)
        self.check()

    def drain(self) -> list[TaskRecord]:
        order = []
        while (head := self.queue.head()) is not None:
            order.append(head)
            self.leave(head)
        return order

    def check(self) -> None:
        self.queue.check(self.inside)


def test_the_most_urgent_comes_first_and_the_oldest_among_equals():
    line = Line()
    records = [line.join(priority) for priority in (3, 5, 1, 3, 1, 2)]

    assert line.drain() == [records[item] for item in (2, 4, 5, 0, 3, 1)]


def test_an_empty_queue_has_no_head_and_nobody_waits():
    queue = ReadyQueue()

    assert (queue.size, queue.head(), queue.longest_waiting()) == (0, None, None)


def test_the_longest_waiting_is_found_behind_those_that_left():
    line = Line()
    records = [line.join(5 - number, at=float(number)) for number in range(4)]

    line.leave(records[3])
    line.leave(records[0])
    longest = [line.queue.longest_waiting()]
    line.leave(records[1], Step.CANCEL)
    longest.append(line.queue.longest_waiting())
    line.leave(records[2])

    assert longest == [records[1], records[2]]
    assert line.queue.longest_waiting() is None


def test_whether_somebody_may_have_waited_since_before_a_time_is_never_denied_wrongly():
    line = Line()
    line.join(at=5.0)

    assert not ReadyQueue().may_hold_older(100.0)
    assert not line.queue.may_hold_older(5.0)
    assert line.queue.may_hold_older(5.1)


def test_a_record_moves_up_and_down_with_its_urgency():
    line = Line()
    first, second, third = line.join(), line.join(), line.join(5)

    line.change(third, 1)
    up = line.queue.head()
    line.change(third, 4)

    assert up is third
    assert line.drain() == [first, second, third]


def test_a_record_that_was_raised_and_lowered_again_is_there_once():
    line = Line()
    records = [line.join(), line.join()]
    for urgency in (1, 3, 1, 3):
        line.change(records[1], urgency)

    assert line.drain() == records


def test_a_record_that_comes_back_for_its_next_attempt_has_its_old_place_but_waits_anew():
    line = Line()
    flaky, other = line.join(at=1.0), line.join(at=2.0)
    line.leave(flaky)
    flaky.advance(Step.RETRY)

    line.ready(flaky, Step.RESUME, at=3.0)

    assert line.queue.head() is flaky
    assert line.queue.longest_waiting() is other


def test_counts_by_urgency_follow_every_change():
    line = Line()
    low, _ = line.join(4), line.join(4)
    line.change(low, 1)
    counts = [list(line.queue.by_urgency)]
    line.leave(low)
    counts.append(list(line.queue.by_urgency))

    assert counts == [[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]]


def test_what_left_the_queue_does_not_stay_in_memory():
    """Entries are dropped lazily, but never more of them are kept than there are tasks, and a few."""
    queue = ReadyQueue()
    records = [TaskRecord(str(number)) for number in range(5_000)]
    for number, record in enumerate(records):
        record.seq = number
        record.advance(Step.RELEASE)
        queue.push(record)

    for record in records[:0:-1]:
        queue.removed(record)
        record.advance(Step.CANCEL)

    assert queue.size == 1
    assert len(queue._heap) <= 100
    assert len(queue._waiting) <= 100


def test_changes_of_urgency_do_not_pile_up_in_memory():
    line = Line()
    record = line.join()
    line.join()

    for number in range(1_000):
        line.change(record, 1 + number % 5)

    assert len(line.queue._heap) <= 100


def test_any_order_of_events_keeps_the_strict_order():
    """Random steps against a list that is sorted anew each time."""
    rng = random.Random(7)
    line = Line()
    now = 0.0
    for _ in range(1_000):
        now += rng.random()
        action = rng.random()
        if action < 0.5 or not line.inside:
            line.join(rng.randint(1, 5), now)
        elif action < 0.7:
            line.change(rng.choice(line.inside), rng.randint(1, 5))
        elif action < 0.8:
            line.leave(rng.choice(line.inside), Step.CANCEL)
        else:
            line.leave(min(line.inside, key=lambda item: (item.urgency, item.seq)))
        first = min(line.inside, key=lambda item: (item.urgency, item.seq), default=None)
        assert line.queue.head() is first
        longest = min(line.inside, key=lambda item: item.ready_at, default=None)
        assert line.queue.longest_waiting() is longest
