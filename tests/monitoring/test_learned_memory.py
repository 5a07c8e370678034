import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.monitoring.learned_memory import REMEMBERED_PEAKS, LearnedMemory


def test_nothing_is_expected_of_a_type_that_was_not_seen():
    assert LearnedMemory().expected_mb("image_processing") is None


def test_the_highest_of_few_peaks_is_expected():
    learned = LearnedMemory()
    for peak in (100.0, 300.0, 200.0):
        learned.observe("image_processing", peak)

    assert learned.expected_mb("image_processing") == 300.0


def test_one_outlier_in_twenty_does_not_hold_memory_back():
    learned = LearnedMemory()
    for _ in range(19):
        learned.observe("image_processing", 100.0)
    learned.observe("image_processing", 5_000.0)

    assert learned.expected_mb("image_processing") == 100.0


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=200))
def test_at_least_95_percent_of_the_latest_peaks_fit_into_what_is_expected(peaks):
    learned = LearnedMemory()
    for peak in peaks:
        learned.observe("t", peak)
    latest = peaks[-REMEMBERED_PEAKS:]

    expected = learned.expected_mb("t")

    assert expected in latest
    assert sum(peak <= expected for peak in latest) >= 0.95 * len(latest)


def test_what_a_former_version_of_a_function_took_is_forgotten():
    learned = LearnedMemory()
    learned.observe("t", 9_000.0)
    for _ in range(REMEMBERED_PEAKS):
        learned.observe("t", 50.0)

    assert learned.expected_mb("t") == 50.0


# R8
def test_only_so_many_types_are_remembered_and_the_one_not_seen_for_longest_goes():
    learned = LearnedMemory(max_types=3)
    for number in range(3):
        learned.observe(f"t{number}", 10.0)
    learned.observe("t0", 10.0)
    learned.observe("t3", 10.0)

    assert sorted(learned.snapshot()) == ["t0", "t2", "t3"]
    for number in range(10_000):
        learned.observe(f"other-{number}", 1.0)
    assert len(learned.snapshot()) == 3


@pytest.mark.parametrize("peak", [math.nan, math.inf, 0.0, -5.0])
def test_a_peak_that_is_no_positive_number_is_not_remembered(peak):
    learned = LearnedMemory()

    learned.observe("t", peak)

    assert learned.expected_mb("t") is None
    assert learned.snapshot() == {}


def test_the_snapshot_gives_what_is_expected_of_every_type():
    learned = LearnedMemory()
    learned.observe("a", 1.0)
    learned.observe("b", 2.0)

    assert learned.snapshot() == {"a": 1.0, "b": 2.0}
