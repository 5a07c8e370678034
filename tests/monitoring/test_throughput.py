import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.monitoring.throughput import Throughput

WINDOW = 10.0
PART = WINDOW / 20


def rate_of(times, now, since=0.0):
    throughput = Throughput(WINDOW)
    for at in times:
        throughput.add(at)
    return throughput.rate(now, since)


def test_nothing_is_a_rate_of_nothing():
    assert rate_of([], now=5.0) == 0.0


def test_a_young_processor_is_measured_over_its_own_age():
    assert rate_of([0.5, 1.0, 1.5, 2.0], now=2.0) == 2.0


def test_the_first_event_of_all_is_no_rate_of_millions():
    assert rate_of([1e-6], now=1e-6) == pytest.approx(1 / PART)


def test_what_lies_before_the_window_is_forgotten():
    assert rate_of([0.0] * 1_000, now=WINDOW + PART) == 0.0


@given(st.lists(st.floats(0.0, 100.0), max_size=200).map(sorted), st.floats(0.0, 20.0), st.floats(0.0, 100.0))
def test_the_rate_is_the_count_of_the_window_by_its_length(times, more, since):
    now = max([*times, since], default=0.0) + more

    rate = rate_of(times, now, since)

    # The window begins at a full part: between nineteen and twenty parts ago.
    begin = (now // PART - 19) * PART
    inside = sum(at // PART >= now // PART - 19 for at in times)
    assert rate == pytest.approx(inside / max(now - max(begin, since), PART))


def test_memory_is_bounded_whatever_the_pauses():
    throughput = Throughput(WINDOW)
    for number in range(10_000):
        throughput.add(number * 0.7)

    assert len(throughput._parts) <= 20
