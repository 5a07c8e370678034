"""What a child's words say: VADER where it is right, our list where it is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.processors.mood_words import _PHRASES, MAX_CHARS, NAMED_FEELINGS, normalise, read_mood
from async_processor.processors.providers.vader_sentiment import polarity

pytestmark = pytest.mark.alone

GOOD = [
    "I am happy today!", "i love you teddy", "you are my best friend", "i had fun at the park", "i won the game",
    "i am so excited", "mommy gave me a big hug", "this is the best day ever", "i am proud of myself", "yay",
]  # fmt: skip
BAD = [
    "I am not happy", "I'm scared of the dark", "My tummy hurts", "i hate you", "my dog died", "i feel sick",
    "i am mad at my brother", "my toy is broken", "i'm crying", "i have no friends", "i got in trouble",
]  # fmt: skip
NEITHER = ["tell me a story", "what is your name", "we went to the zoo and saw a lion", "are you a bear", ""]

# One sentence for each phrase of the list, in its order: VADER calls it neutral or takes it the wrong way round.
LISTED = [
    ("nobody wants to play with me", -0.6), ("i have no one to play with", -0.5),
    ("i don't like it when they laugh at me", -0.44), ("they made fun of me at school", -0.6),
    ("the big boys pick on me", -0.6), ("daddy yelled at me", -0.5), ("i was left out", -0.5),
    ("they said i'm a baby", -0.6), ("i wish i had a friend", -0.4), ("i am good at nothing", -0.5),
    ("i miss my mom", -0.5), ("i want my mommy", -0.4), ("i want to go home", -0.3),
    ("my brother took my toy", -0.4), ("there is a monster under my bed", -0.5), ("i had a nightmare", -0.5),
    ("i can't sleep", -0.3), ("ouch", -0.4), ("go away", -0.4), ("i can't wait for my birthday", 0.6),
    ("i did it", 0.5),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_good_news_is_pleasant(text):
    assert read_mood(text).valence >= 0.3


@pytest.mark.parametrize("text", BAD)
def test_bad_news_is_unpleasant(text):
    assert read_mood(text).valence <= -0.3


@pytest.mark.parametrize("text", NEITHER)
def test_other_words_are_neither(text):
    assert read_mood(text).valence == 0.0


def test_every_listed_phrase_has_its_sentence():
    assert len(LISTED) == len(_PHRASES)


@pytest.mark.parametrize(("text", "valence"), LISTED)
def test_a_listed_phrase_has_the_value_listed_where_vader_is_wrong(text, valence):
    general = polarity(text).compound

    assert read_mood(text).valence == pytest.approx(valence, abs=0.005)
    assert general * valence <= 0 or abs(general) <= abs(valence) / 2


@pytest.mark.parametrize(
    ("text", "feelings"),
    [
        ("i am happy", ("happy",)),
        ("I’m SO scared!", ("afraid",)),
        ("i feel really sad and a bit angry", ("sad", "angry")),
        ("you made me mad", ("angry",)),
        ("i'm just tired", ("tired",)),
        ("there is a monster in my closet", ("afraid",)),
        ("i am not scared", ()),
        ("i'm never sad", ()),
        ("mommy is angry with me", ()),
        ("are you afraid", ()),
        ("there are no monsters under my bed", ()),
        ("i didn't have a nightmare", ()),
        ("a happy story about a sad bear", ()),
    ],
)
def test_only_feelings_that_the_child_says_it_has_are_named(text, feelings):
    assert read_mood(text).feelings == feelings


def test_a_feeling_that_vader_does_not_know_still_counts():
    assert polarity("i am afraid").compound == 0.0
    assert read_mood("i am afraid").valence == -0.5


def test_a_listed_phrase_and_the_rest_of_the_sentence_both_count():
    alone = read_mood("nobody wants to play with me").valence
    softened = read_mood("nobody wants to play with me but you are my best friend").valence

    assert alone < softened < 0.5


def test_texts_are_compared_as_a_recogniser_writes_them():
    assert normalise("  I’m NOT\tsure… (really)!\n") == "i'm not sure really"


@given(st.text(max_size=200))
def test_any_text_has_a_mood_within_bounds(text):
    # B9
    mood = read_mood(text)

    assert -1.0 <= mood.valence <= 1.0
    assert set(mood.feelings) <= set(NAMED_FEELINGS)


@pytest.mark.parametrize(
    "piece",
    ["nobody ", "want to ", "i am so ", "miss my ", "a", "but happy ", "😀", "\u0301", "\u202e", "no one likes a "],
)
def test_long_and_repetitive_texts_take_bounded_time(piece):
    # B9: what is read is cut at MAX_CHARS, so ten times the text costs no more.
    text = (piece * MAX_CHARS)[: 10 * MAX_CHARS]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        read_mood(text)
        times.append(time.perf_counter() - start)

    # 0.16 s at most here; the best of three, because the machine is shared.
    assert min(times) < 2.0
