"""The scripted companion: what it listens for, what decides a reply, and that it stays fast and harmless."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.processors.chat import Feeling
from async_processor.processors.providers import companion_script as script
from async_processor.processors.providers.scripted_chat import ScriptedChat, mood_of, say, topic_of
from async_processor.testing.provider_contracts import CHAT_REQUEST as REQUEST

pytestmark = pytest.mark.alone

NEUTRAL = Feeling()
ALL_TOPICS = (*script.TOPICS, script.UNHEARD, script.QUESTION, script.OPEN)


def about(words: str) -> str:
    """The topic whose reply the words get."""
    reply = say(words, NEUTRAL, None)
    return next(topic.name for topic in ALL_TOPICS if reply in topic.replies)


@pytest.mark.parametrize(
    ("words", "topic"),
    [
        ("Hello, how are you?", "greeting"),
        ("Good morning Teddy", "greeting"),
        ("Tell me a story about a fire truck", "story"),
        ("Sing me a song please", "song"),
        ("Do you know a joke?", "joke"),
        ("Can you count with me", "counting"),
        ("What's your name?", "name"),
        ("I am happy today!", "happy"),
        ("I am sad.", "sad"),
        ("I'm not happy", "sad"),
        ("I'M SCARED OF THE DARK", "scared"),
        ("I’m so mad at my brother", "angry"),
        ("Nobody wants to play with me", "lonely"),
        ("I don't like it when they laugh at me", "lonely"),
        ("My tummy hurts", "hurt"),
        ("I fell down and my knee is bleeding", "hurt"),
        ("a stranger said not to tell anyone", "danger"),
        ("I swallowed something", "danger"),
        ("Tell me a bedtime story", "bedtime"),
        ("I want to play a game", "game"),
        ("I'm so bored", "bored"),
        ("thank you teddy", "thanks"),
        ("bye bye", "goodbye"),
        ("Why is the sky blue?", "question"),
        ("I saw a red car", "open"),
        ("I'm not scared", "open"),
        ("I was never sad", "open"),
        ("", "unheard"),
        ("  ... !", "unheard"),
    ],
)
def test_words_are_answered_by_what_they_are_about(words, topic):
    assert about(words) == topic


def test_what_a_grown_up_must_hear_of_comes_first_even_if_it_is_denied():
    assert about("hello teddy tell me a story my arm hurts") == "hurt"
    assert about("I am happy and he said it is not to tell anyone") == "danger"
    assert about("it does not hurt") == "hurt"


def test_hurt_and_danger_always_send_the_child_to_a_grown_up():
    for topic in script.TOPICS:
        if topic.urgent:
            assert all("grown-up" in reply for reply in topic.replies), topic.name


def test_the_same_words_get_the_same_reply_in_every_process():
    program = (
        "from async_processor.processors.providers.scripted_chat import say, Feeling\n"
        "print(say('tell me a story', Feeling(), 6), say('hello', Feeling(name='sad'), 6))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(told) == 1


def test_other_words_about_the_same_thing_get_other_replies():
    assert len({say(f"tell me a story about number {n}", NEUTRAL, None) for n in range(30)}) == 3


@pytest.mark.parametrize("mood", sorted(script.OPENINGS))
def test_a_strong_feeling_colours_the_reply(mood):
    plain, coloured = say("sing a song", NEUTRAL, 6), say("sing a song", Feeling(name=mood), 6)

    assert coloured.endswith(plain)
    assert coloured.removesuffix(plain).strip() in script.OPENINGS[mood]


def test_a_feeling_decides_where_the_words_do_not():
    sad = next(topic for topic in script.TOPICS if topic.name == "sad")

    assert say("I saw a red car", Feeling(name="sad"), None) in sad.replies


def test_comfort_is_not_opened_with_cheer():
    assert about("my tummy hurts") == "hurt"
    assert say("my tummy hurts", Feeling(name="happy"), None) == say("my tummy hurts", NEUTRAL, None)


@pytest.mark.parametrize(
    ("feeling", "mood"),
    [
        (Feeling(), None),
        (Feeling(name="neutral"), None),
        (Feeling(name="Sadness"), "sad"),
        (Feeling(name="excited"), "happy"),
        (Feeling(valence=0.1, arousal=0.9), None),
        (Feeling(valence=0.6), "happy"),
        (Feeling(valence=-0.6), "sad"),
        (Feeling(valence=-0.6, arousal=-0.2), "sad"),
        (Feeling(valence=-0.6, arousal=0.9), "scared"),
        (Feeling(name="neutral", valence=-0.6, arousal=0.1), "sad"),
    ],
)
def test_a_mood_is_a_known_word_or_a_strong_measure(feeling, mood):
    assert mood_of(feeling) == mood


def test_the_smallest_get_short_replies():
    for topic in ALL_TOPICS:
        words = topic.phrases[0] if topic.phrases else "I saw a red car"
        assert len(say(words, Feeling(name="sad"), 3).split()) <= 16, topic.name


@pytest.mark.parametrize("limit", [1, 3, 8, 20, 100])
@pytest.mark.parametrize("words", ["tell me a story", "hello", "my tummy hurts"])
async def test_a_reply_has_no_more_words_than_tokens_were_allowed(limit, words):
    whole = await ScriptedChat().reply(replace(REQUEST, words=words, max_tokens=1_000))

    cut = await ScriptedChat().reply(replace(REQUEST, words=words, max_tokens=limit))

    assert 0 < len(cut.text.split()) <= limit
    assert whole.text.startswith(cut.text)
    assert cut.finish_reason == ("stop" if cut.text == whole.text else "length")


@given(st.text(alphabet=st.characters()), st.floats(), st.none() | st.floats())
def test_whatever_is_said_gets_a_reply_from_the_script_and_is_not_repeated(words, valence, age):
    reply = say(words, Feeling(valence=valence), age)

    replies = {reply for topic in ALL_TOPICS for reply in topic.replies}
    openings = {opening for pair in script.OPENINGS.values() for opening in pair}
    assert reply in replies or any(reply == f"{opening} {text}" for opening in openings for text in replies)


HOSTILE = {  # B9
    "letters": lambda n: "a" * n,
    "almost a phrase": lambda n: "not happ " * (n // 9),
    "negations": lambda n: "not never no n't " * (n // 17),
    "apostrophes": lambda n: "'" * n,
    "combining marks": lambda n: "e" + "\u0301" * n,
    "surrogates": lambda n: "\ud800" * n,
    "capital I with a dot": lambda n: "\u0130" * n,
    "spaces": lambda n: " " * n,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_does_not_grow_with_what_lies_beyond_the_first_words(name):  # B9: time(2n)/time(n) <= 2.5
    def best_of(n: int) -> float:
        text = HOSTILE[name](n)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            say(text, NEUTRAL, 5)
            times.append(time.perf_counter() - started)
        return min(times)

    # Ten million characters: slicing is all that is left of them. A loop may stand still for 50 ms.
    assert best_of(10_000_000) < 0.05


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_the_words_and_no_faster(name):  # B9
    def best_of(n: int) -> float:
        text = HOSTILE[name](n)
        times = []
        for _ in range(7):
            started = time.perf_counter()
            topic_of(text)
            times.append(time.perf_counter() - started)
        return min(times)

    # Measured beyond the limit on purpose, where a worse than linear pattern could not hide.
    # The figure is 2.5 for twice the length; 6 for four times leaves room for a busy machine and none for a square.
    assert best_of(40_000) / best_of(10_000) < 8


def test_the_script_is_fit_to_be_read_aloud_to_a_child():
    words = {word for topic in ALL_TOPICS for reply in topic.replies for word in re.findall(r"[a-z'-]+", reply.lower())}
    lines = [reply for topic in ALL_TOPICS for reply in topic.replies]

    assert len(lines) >= 60
    assert len(lines) == len(set(lines))
    assert all(line.isascii() and line[0].isupper() and line[-1] in ".!?" for line in lines)
    assert not words & {"stupid", "idiot", "shut", "kill", "die", "blood", "god", "damn", "address", "password"}


def test_every_phrase_is_heard_as_it_is_spoken():
    for topic in script.TOPICS:
        for phrase in topic.phrases:
            heard = topic_of(phrase)
            # An earlier topic may claim it, but none that is not asked first.
            assert script.TOPICS.index(heard) <= script.TOPICS.index(topic), phrase


def test_every_mood_has_a_topic_and_openings():
    names = {topic.name for topic in script.TOPICS}

    assert set(script.MOODS.values()) == set(script.OPENINGS) <= names
