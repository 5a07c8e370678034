from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from async_processor.processors.utterances import find_utterances

WINDOW, RATE = 512, 16_000
YES, NO = 0.9, 0.1


def find(*runs, total=None):
    """Utterances of runs of (probability, windows)."""
    probabilities = [value for value, count in runs for _ in range(count)]
    return find_utterances(probabilities, WINDOW, RATE, total or len(probabilities) * WINDOW)


def test_without_speech_there_is_no_utterance():
    assert find((NO, 100)) == []
    assert find() == []


def test_a_click_is_no_utterance_but_a_short_word_is():
    assert find((NO, 50), (YES, 2), (NO, 50)) == []
    assert len(find((NO, 50), (YES, 3), (NO, 50))) == 1


def test_an_utterance_keeps_half_a_second_around_its_speech():
    (utterance,) = find((NO, 50), (YES, 20), (NO, 50))

    assert utterance.first == 50 * WINDOW - 8_000
    assert utterance.last == 70 * WINDOW + 8_000
    assert utterance.speech_s == 20 * WINDOW / RATE


def test_the_margin_ends_where_the_recording_does():
    (utterance,) = find((YES, 20), total=20 * WINDOW - 100)

    assert (utterance.first, utterance.last) == (0, 20 * WINDOW - 100)


def test_only_a_long_pause_parts_utterances():
    short, long = 36, 38  # of 32 ms: 1.15 s and 1.22 s

    assert len(find((YES, 10), (NO, short), (YES, 10))) == 1
    assert len(find((YES, 10), (NO, long), (YES, 10))) == 2


@given(st.lists(st.floats(0, 1), max_size=400))
def test_utterances_are_in_order_inside_the_recording_and_hold_all_speech_that_counts(probabilities):
    total = len(probabilities) * WINDOW

    found = find_utterances(probabilities, WINDOW, RATE, total)

    assert all(0 <= item.first < item.last <= total for item in found)
    assert all(first.first < second.first for first, second in itertools.pairwise(found))
    assert sum(item.speech_s for item in found) <= sum(value >= 0.5 for value in probabilities) * WINDOW / RATE + 1e-6
