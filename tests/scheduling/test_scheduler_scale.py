"""A hundred thousand tasks: nothing recurses, nothing grows with the number, no step is long."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from tests.scheduling.harness import ASYNC, CRITICAL, Harness, lane

from async_processor.model import TaskStatus
from async_processor.outcome import Returned
from async_processor.scheduling.records import Finish, Start, TaskRecord
from async_processor.scheduling.scheduler import Scheduler

# The whole of it without the harness, in a fresh interpreter: its own frames must not count.
SHALLOW = """
import random, sys
from async_processor.model import LaneName, TaskPriority
from async_processor.outcome import Raised, Returned, ErrorInfo
from async_processor.scheduling.records import LaneTraits, Start, TaskRecord
from async_processor.scheduling.scheduler import Scheduler

def scheduler():
    lanes = {LaneName.ASYNC: LaneTraits(("async-0",))}
    return Scheduler(lanes, queue_size=10**9, max_results=10**9, rng=random.Random(1))

def settle(it):
    while it.cascading:
        it.wake(0.0)

def run_all(it):
    while starts := [item for item in it.take_commands() if isinstance(item, Start)]:
        for start in starts:
            it.attempt_ended(start.token, Returned(None), 0.0)
            settle(it)
    assert it.idle

N = 100_000
shape, order, what = sys.argv[1:]
records = [
    TaskRecord(str(n), depends_on=((str(n - 1) if shape == "chain" else "0"),) if n else ()) for n in range(N)
]
sys.setrecursionlimit(200)
it = scheduler()
for record in reversed(records) if order == "backward" else records:
    it.submit(record, 0.0)
if what == "run":
    run_all(it)
elif what == "cancel":
    assert it.cancel("0", 0.0)
    settle(it)
elif what == "fail":
    it.attempt_ended(1, Raised(ErrorInfo(type_name="E", message="m")), 0.0)
    settle(it)
elif what == "urgent":
    it.submit(TaskRecord("urgent", depends_on=(str(N - 1),), priority=TaskPriority.CRITICAL), 0.0)
    assert it.find("0").urgency == 1
    it.cancel("urgent", 0.0)
    assert it.find("0").urgency == 3
elif what == "shut down":
    it.pause()
    it.cancel_waiting(0.0)
    it.abandon_running(0.0)
if what not in ("run", "urgent"):
    ends = {item.status.value for item in it.records()}
    assert it.find(str(N - 1)).status.value == "cancelled" and ends <= {"cancelled", "failed", "running"}, ends
print("done")
"""


def nightly(*values: object) -> object:
    """A case that says little more than the others, and takes seconds."""
    return pytest.param(*values, marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    ("shape", "order", "what"),
    [
        ("chain", "forward", "cancel"),
        nightly("chain", "forward", "run"),
        nightly("chain", "forward", "urgent"),
        nightly("chain", "backward", "fail"),
        nightly("chain", "backward", "shut down"),
        ("fan", "forward", "fail"),
        nightly("fan", "forward", "run"),
        nightly("fan", "backward", "cancel"),
    ],
)
def test_a_hundred_thousand_tasks_in_a_row_or_side_by_side_need_no_depth(shape: str, order: str, what: str):  # E15
    ran = subprocess.run(
        [sys.executable, "-c", SHALLOW, shape, order, what], check=False, capture_output=True, text=True, timeout=50
    )

    assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr


# ---- time

Shape = Callable[[int], Iterable[TaskRecord]]
Then = Callable[[Scheduler], None]


def chain(count: int) -> Iterator[TaskRecord]:
    for number in range(count):
        yield TaskRecord(str(number), depends_on=(str(number - 1),) if number else ())


def backward_chain(count: int) -> Iterator[TaskRecord]:
    for number in reversed(range(count)):
        yield TaskRecord(str(number), depends_on=(str(number - 1),) if number else ())


def fan(count: int) -> Iterator[TaskRecord]:
    for number in range(count):
        yield TaskRecord(str(number), depends_on=("0",) if number else ())


def join(count: int) -> Iterator[TaskRecord]:
    for number in range(count - 1):
        yield TaskRecord(str(number))
    yield TaskRecord("join", depends_on=tuple(str(number) for number in range(count - 1)))


def alone(count: int) -> Iterator[TaskRecord]:
    for number in range(count):
        yield TaskRecord(str(number), timeout=300.0)


def run(scheduler: Scheduler) -> None:
    finished = 0
    while commands := scheduler.take_commands():
        for command in commands:
            if isinstance(command, Start):
                scheduler.attempt_ended(command.token, Returned(None), 0.0)
            finished += isinstance(command, Finish)
        while scheduler.cascading:
            scheduler.wake(0.0)
    assert scheduler.idle


def cancel(scheduler: Scheduler) -> None:
    scheduler.cancel("0", 0.0)
    while scheduler.cascading:
        scheduler.wake(0.0)


def seconds(shape: Shape, then: Then, count: int) -> float:
    """Processor time, without the garbage collector: it walks whatever is alive, and here everything is."""
    scheduler = Harness(lanes={ASYNC: lane(8)}, queue_size=10**9, max_results=10**9).scheduler
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        for record in shape(count):
            scheduler.submit(record, 0.0)
        then(scheduler)
        return time.process_time() - began
    finally:
        gc.enable()


def calls(shape: Shape, then: Then, count: int) -> int:
    """How many functions are called, those of the interpreter among them: the same on every machine."""
    scheduler = Harness(lanes={ASYNC: lane(8)}, queue_size=10**9, max_results=10**9).scheduler
    records = list(shape(count))
    counted = 0

    def count_call(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        for record in records:
            scheduler.submit(record, 0.0)
        then(scheduler)
    finally:
        sys.setprofile(None)
    return counted


SHAPES = pytest.mark.parametrize(
    ("shape", "then"),
    [(chain, run), (chain, cancel), (backward_chain, cancel), (fan, run), (fan, cancel), (join, run), (alone, run)],
)


@pytest.mark.interpreted
@SHAPES
def test_four_times_the_tasks_take_four_times_the_steps(shape: Shape, then: Then):  # E15
    assert calls(shape, then, 8_000) <= 4.1 * calls(shape, then, 2_000)


@pytest.mark.nightly
@SHAPES
def test_four_times_the_tasks_take_about_four_times_as_long(shape: Shape, then: Then):  # E15
    """80,000 take at most 5 times as long as 20,000: the best of a few tries, because the machine has other work."""
    ratios = []
    small = large = float("inf")
    for _ in range(5):
        small = min(small, seconds(shape, then, 20_000))
        large = min(large, seconds(shape, then, 80_000))
        ratios.append(large / small)
        if ratios[-1] <= 5.0:
            break

    assert ratios[-1] <= 5.0, ratios


@pytest.mark.nightly
def test_no_step_of_cancelling_a_hundred_thousand_dependents_is_long():  # E15
    """2 s in all, and at most 50 ms at a time; what one step may do is held exactly in test_scheduler_dependencies."""
    tries = []
    for _ in range(3):
        scheduler = Harness(max_results=10**9).scheduler
        for record in chain(100_000):
            scheduler.submit(record, 0.0)
        gc.collect()
        gc.disable()
        steps = [_timed(lambda: scheduler.cancel("0", 0.0))]  # noqa: B023 - called at once
        while scheduler.cascading:
            steps.append(_timed(lambda: scheduler.wake(0.0)))  # noqa: B023 - called at once
        gc.enable()
        tries.append((sum(steps), max(steps)))
        if tries[-1][0] <= 2.0 and tries[-1][1] <= 0.05:
            break

    assert tries[-1] <= (2.0, 0.05), tries
    assert scheduler.find("99999").status is TaskStatus.CANCELLED  # type: ignore[union-attr]


def _timed(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def test_the_search_for_a_circle_costs_no_more_than_the_smaller_side():
    """Behind 20,000 tasks, or ahead of them, a task that closes a gap is taken in without a walk along all of them."""
    scheduler = Harness(check_every=10**9).scheduler
    for record in chain(20_000):
        scheduler.submit(record, 0.0)
    for number in range(1_000):
        scheduler.submit(TaskRecord(f"end-{number}", depends_on=(f"gap-{number}",), priority=CRITICAL), 0.0)

    began = time.process_time()
    for number in range(1_000):
        scheduler.submit(TaskRecord(f"gap-{number}", depends_on=("19999",), priority=CRITICAL), 0.0)
    took = time.process_time() - began

    # A walk along the chain for each would take about ten seconds.
    assert took < 1.0
