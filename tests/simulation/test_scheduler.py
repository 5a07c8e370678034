"""The scheduler against the naive one. Hypothesis looks for short disagreements, long random lives for rare ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.simulation.scheduler_machine import AWAITED, LANES, OUTCOMES, SchedulerMachine

from async_processor.model import TaskPriority

# The machine puts a queue of its own in the place of the scheduler's, which a compiled class does not allow.
pytestmark = pytest.mark.interpreted

# In portions, so that each stays far below the time that a test may take.
PORTIONS = range(10)
EXAMPLES = 2_000


def search(portion: int, examples: int) -> None:
    # The examples follow from the name of the machine: another name, other examples.
    machine = type(f"{SchedulerMachine.__name__}{portion}", (SchedulerMachine,), {})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


class RandomLife:
    """Events drawn from a seed, in proportions that keep the lanes busy."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.machine = SchedulerMachine()
        draw = self.rng.choice
        self.machine.begin_life(
            slots=tuple(draw([1, 2, 4, 6]) for _ in LANES),
            reserved=draw([0, 1, 1, 2]),
            guard_interval=draw([1, 2, 4, 16]),
            max_wait=draw([0.0, 1.5, 5.0, 60.0]),
            queue_size=draw([4, 20, 1_000]),
            max_results=draw([2, 10, 1_000]),
            seed=seed,
        )

    def live(self, events: int) -> None:
        steps = {self.submit: 4, self.begin: 3, self.end: 6, self.time: 3, self.rare: 1}
        for _ in range(events):
            self.rng.choices(list(steps), steps.values())[0]()
            self.machine.everything_agrees()
        self.machine.shut_down(self.rng.choice(OUTCOMES))
        self.machine.everything_agrees()

    def submit(self) -> None:
        self.machine.submit([self.spec() for _ in range(self.rng.randint(1, 3))])

    def spec(self) -> dict[str, object]:
        draw = self.rng.choice
        return {
            "name": draw([None] * 12 + [*AWAITED, "again"]),
            "lane": draw(LANES),
            "priority": draw(list(TaskPriority)),
            "waits_for": [self.rng.randint(0, 8) for _ in range(draw([0, 0, 0, 1, 1, 2, 3]))],
            "timeout": draw([None, 0.2, 1.0, 4.0]),
            "max_retries": draw([0, 1, 2]),
            "run_anyway": draw([True, False]),
            "dependency_timeout": draw([2.3, 9.3, 500.3]),
            "memory": draw([None, None, 40.0, 60.0, 150.0]),
        }

    def begin(self) -> None:
        if self.machine.tokens:
            self.machine.begin(self.choice())

    def end(self) -> None:
        if self.machine.tokens:
            self.machine.end(self.choice(), self.rng.choice([*OUTCOMES, OUTCOMES[0], OUTCOMES[0], OUTCOMES[0]]))

    def time(self) -> None:
        self.machine.let_time_pass(self.rng.choice([0.1, 0.1, 0.5, 0.5, 1.0, 2.0, 10.0]))

    def rare(self) -> None:
        self.rng.choice([self.cancel, self.report_too_late, self.oversleep, self.feel_memory])()

    def cancel(self) -> None:
        choice = self.choice()
        for _ in range(self.rng.choice([1, 2])):
            self.machine.cancel(choice)

    def report_too_late(self) -> None:
        if self.machine.stale:
            self.machine.report_too_late(self.choice(), self.rng.choice(OUTCOMES))

    def oversleep(self) -> None:
        self.machine.oversleep(self.rng.choice([0.5, 2.0, 20.0]))

    def feel_memory(self) -> None:
        self.machine.feel_memory(self.rng.choice([True, False]))

    def choice(self) -> int:
        return self.rng.randint(0, 40)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_the_scheduler_decides_as_the_naive_one_does(portion: int):  # E1
    search(portion, examples=EXAMPLES // len(PORTIONS))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_the_scheduler_decides_as_the_naive_one_does_over_long_lives(portion: int):  # E1
    for seed in range(portion, 100, len(PORTIONS)):
        try:
            RandomLife(seed).live(events=300)
        except BaseException as error:
            error.add_note(f"RandomLife({seed}).live(events=300) shows it again")
            raise


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("portion", range(100, 110))  # 200,000 examples in all
def test_the_scheduler_decides_as_the_naive_one_does_all_night(portion: int):  # E1
    search(portion, examples=20_000)
