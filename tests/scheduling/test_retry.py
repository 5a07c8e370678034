"""Whether another attempt follows, and when."""

from __future__ import annotations

import random

import pytest
from tests.scheduling.harness import ASYNC, FAILURE, HOPELESS, Harness, lane

from async_processor.outcome import ErrorInfo
from async_processor.scheduling.retry import GiveUp, Retry, RetryPolicy


def delays(policy: RetryPolicy, attempt: int, error: ErrorInfo = FAILURE, count: int = 2_000) -> list[float]:
    rng = random.Random(attempt)
    decisions = [policy.decide(error, attempt=attempt, max_retries=1_000_000, rng=rng) for _ in range(count)]
    return [decision.after for decision in decisions if isinstance(decision, Retry)]


def busy(retry_after: float) -> ErrorInfo:
    return ErrorInfo(type_name="Busy", message="later", retry_after=retry_after)


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (9, 60.0)])
def test_the_delay_is_drawn_evenly_up_to_a_bound_that_doubles_to_the_maximum(attempt: int, bound: float):
    drawn = delays(RetryPolicy(base=0.5, maximum=60.0), attempt)

    assert 0.0 <= min(drawn) < 0.05 * bound
    assert 0.95 * bound < max(drawn) <= bound
    assert sum(drawn) / len(drawn) == pytest.approx(bound / 2, rel=0.05)


@pytest.mark.parametrize("attempt", [64, 65, 1_000, 1_000_000])
def test_no_number_of_attempts_overflows_the_bound(attempt: int):
    assert max(delays(RetryPolicy(), attempt)) <= 60.0


def test_a_backoff_of_nothing_tries_again_at_once():
    assert set(delays(RetryPolicy(base=0.0), 5, count=10)) == {0.0}


@pytest.mark.parametrize(("attempt", "max_retries"), [(1, 0), (4, 3), (5, 3)])
def test_it_gives_up_when_all_attempts_were_made(attempt: int, max_retries: int):
    decision = RetryPolicy().decide(FAILURE, attempt=attempt, max_retries=max_retries, rng=random.Random())

    assert decision == GiveUp(f"{attempt} of {max_retries + 1} attempts were made")


@pytest.mark.parametrize(("attempt", "max_retries"), [(1, 1), (3, 3)])
def test_it_tries_again_while_retries_are_left(attempt: int, max_retries: int):
    decision = RetryPolicy().decide(FAILURE, attempt=attempt, max_retries=max_retries, rng=random.Random())

    assert isinstance(decision, Retry)


def test_it_gives_up_at_once_on_a_permanent_error():
    decision = RetryPolicy().decide(HOPELESS, attempt=1, max_retries=1_000, rng=random.Random())

    assert decision == GiveUp("the error is permanent")


def test_the_same_dice_give_the_same_delays():
    assert delays(RetryPolicy(), 3) == delays(RetryPolicy(), 3)


def test_an_error_that_says_when_to_try_again_is_not_tried_before():
    drawn = delays(RetryPolicy(base=0.5, maximum=60.0), 1, busy(5.0))

    assert min(drawn) >= 5.0


def test_an_error_cannot_put_the_next_attempt_off_for_longer_than_the_maximum():
    drawn = delays(RetryPolicy(base=0.5, maximum=60.0), 1, busy(1e9))

    assert min(drawn) >= 60.0
    assert max(drawn) <= 60.5


def test_an_error_that_asks_for_less_than_the_backoff_does_not_shorten_it():
    drawn = delays(RetryPolicy(base=8.0, maximum=60.0), 1, busy(0.0))

    assert max(drawn) > 7.5


# ---- a storm


def crowded_window(times: list[float], width: float) -> int:
    """The most times that fall into one window of a width, wherever it begins."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while time - ordered[first] >= width:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("error", [FAILURE, busy(2.0), busy(3_600.0)], ids=["plain", "soon", "past the maximum"])
def test_ten_thousand_tasks_that_fail_at_once_do_not_come_back_at_once(error: ErrorInfo):  # E26
    """Nor if all were told the same time, as a server does that sends everybody away with a Retry-After."""
    harness = Harness(lanes={ASYNC: lane(10_001)}, check_every=10_000, queue_size=20_000)
    names = [str(number) for number in range(10_000)]
    for name in names:
        harness.submit(name, max_retries=3)
    for name in names:
        harness.fail(name, error)

    due = [item.delay for item in harness.retries]

    assert len(due) == 10_000
    assert min(due) >= min(error.retry_after or 0.0, 60.0)
    assert crowded_window(due, 0.1) <= 3 * mean_in_window(due, width=0.1, spread=0.5)


@pytest.mark.parametrize(("attempt", "spread"), [(2, 1.0), (4, 4.0), (8, 60.0)])
@pytest.mark.parametrize("error", [FAILURE, busy(2.0), busy(3_600.0)], ids=["plain", "soon", "past the maximum"])
def test_nor_does_any_later_attempt(error: ErrorInfo, attempt: int, spread: float):  # E26
    due = delays(RetryPolicy(base=0.5, maximum=60.0), attempt, error, count=10_000)

    assert crowded_window(due, 0.1) <= 3 * mean_in_window(due, width=0.1, spread=spread)


def mean_in_window(times: list[float], *, width: float, spread: float) -> float:
    return len(times) * width / spread
