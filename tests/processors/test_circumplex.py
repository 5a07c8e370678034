from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.processors.circumplex import best, emotion_scores

UNIT = st.floats(-1, 1)
MAYBE = st.none() | UNIT


@pytest.mark.parametrize(
    ("valence", "arousal", "word"),
    [
        (0.0, 0.0, "neutral"), (0.1, -0.1, "neutral"), (0.6, 0.0, "happy"), (0.6, 0.6, "excited"),
        (0.0, 0.6, "energetic"), (-0.6, 0.6, "upset"), (-0.6, 0.0, "sad"), (-0.6, -0.6, "sad"), (0.0, -0.6, "calm"),
        (0.6, -0.6, "calm"), (0.6, None, "happy"), (-0.6, None, "sad"), (0.0, None, "neutral"),
    ],
)  # fmt: skip
def test_words_lie_where_russell_put_them(valence, arousal, word):
    assert best(emotion_scores(valence, arousal)) == word


@pytest.mark.parametrize(("arousal", "word"), [(0.6, "energetic"), (-0.6, "calm"), (0.1, "neutral"), (None, "neutral")])
def test_without_words_only_the_arousal_is_named(arousal, word):
    assert best(emotion_scores(None, arousal)) == word


@given(arousal=MAYBE)
def test_no_voice_alone_is_angry_or_anything_else_with_a_valence(arousal):
    assert set(emotion_scores(None, arousal)) <= {"neutral", "calm", "energetic"}


@given(valence=MAYBE, arousal=MAYBE)
def test_anger_and_fear_are_never_inferred(valence, arousal):
    assert not {"angry", "afraid"} & set(emotion_scores(valence, arousal))


@given(valence=MAYBE, arousal=MAYBE, named=st.lists(st.sampled_from(["angry", "sad", "tired"]), unique=True))
def test_scores_are_shares_in_falling_order(valence, arousal, named):
    scores = list(emotion_scores(valence, arousal, named).values())

    assert sum(scores) == pytest.approx(1.0)
    assert all(score >= 0 for score in scores)
    assert scores == sorted(scores, reverse=True)


@given(valence=UNIT, arousal=UNIT)
def test_one_named_feeling_outweighs_what_is_inferred(valence, arousal):
    assert best(emotion_scores(valence, arousal, ["angry"])) == "angry"
