"""The whole engine under random schedules: everything that happens follows from a seed, and happens again with it."""

from __future__ import annotations

import pytest
from tests.simulation.world import World

# In portions, so that a failure comes early and each stays far below the time that a test may take.
PORTIONS = range(10)


def live(seed: int, size: int) -> list[tuple[object, ...]]:
    try:
        return World(seed, size).live()
    except BaseException as error:
        error.add_note(f"World(seed={seed}, size={size}).live() shows it again")
        raise


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_ten_thousand_schedules_break_no_promise(portion: int):  # E2
    for seed in range(portion, 10_000, len(PORTIONS)):
        live(seed, 14)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_schedules_of_large_graphs_break_no_promise(portion: int):  # E2
    for seed in range(portion, 100, len(PORTIONS)):
        live(seed, 200)


@pytest.mark.timeout(300)
def test_a_seed_gives_the_same_events_again():  # E2
    for seed in range(300):
        assert live(seed, 14) == live(seed, 14), seed


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("portion", PORTIONS)
def test_ten_thousand_schedules_of_large_graphs_break_no_promise_and_replay(portion: int):  # E2
    for seed in range(portion, 10_000, len(PORTIONS)):
        assert live(seed, 200) == live(seed, 200), seed
