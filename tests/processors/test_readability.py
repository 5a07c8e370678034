"""Syllables against a pronouncing dictionary, and the formulas against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from async_processor.processors.readability import measure, syllables

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("I", 1), ("the", 1), ("bear", 1), ("games", 1), ("played", 1), ("wanted", 2), ("houses", 2), ("table", 2),
        ("little", 2), ("tables", 2), ("boxes", 2), ("lion", 2), ("playing", 2), ("happiest", 3), ("prism", 2),
        ("sometimes", 2), ("elephant", 3), ("nation", 2), ("Beautiful", 3), ("don't", 1), ("3", 1), ("é", 1),
    ],
)  # fmt: skip
def test_syllables_are_counted_by_the_rule(word, count):
    assert syllables(word) == count


def test_the_rule_is_right_for_nine_words_of_ten():
    dictionary = _dictionary()
    errors = [syllables(word) - count for word, count in dictionary]

    assert len(dictionary) > 100_000
    assert sum(error == 0 for error in errors) / len(errors) == pytest.approx(0.909, abs=0.002)
    assert sum(errors) / len(errors) == pytest.approx(-0.05, abs=0.01)


def _dictionary() -> list[tuple[str, int]]:
    """Words of one writing and their syllables, from the dictionary that comes with the recogniser of speech."""
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="the dictionary is in the extra 'voice'")
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [(word, sum(phone in VOWELS for phone in phones)) for word, *phones in lines if word.isalpha()]


def test_the_formulas_give_what_they_give_by_hand():
    # 2 sentences, 10 words, 12 syllables: "little" and "honey" have two each.
    found = measure([("The", "little", "bear", "ate", "the", "honey"), ("It", "was", "good", "stuff")])

    assert (found.sentences, found.words, found.syllables) == (2, 10, 12)
    assert found.flesch_reading_ease == pytest.approx(206.835 - 1.015 * 5 - 84.6 * 1.2)
    assert found.flesch_kincaid_grade == pytest.approx(0.39 * 5 + 11.8 * 1.2 - 15.59)


def test_long_words_in_long_sentences_are_harder():
    easy = measure([("the", "cat", "sat")])
    hard = measure([("notwithstanding", "considerable", "deliberation", "administrators", "reconsidered") * 5])

    assert easy.flesch_reading_ease > 100 > 0 > hard.flesch_reading_ease
    assert easy.flesch_kincaid_grade < 1 < 12 < hard.flesch_kincaid_grade
