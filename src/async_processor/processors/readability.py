"""How hard an English text is to read, by its sentences, words and syllables.

Reading ease: Flesch, "A new readability yardstick", Journal of Applied Psychology 32(3), 1948. Grade: Kincaid,
Fishburne, Rogers and Chissom, "Derivation of new readability formulas for Navy enlisted personnel", 1975.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ..results.text_analysis import Readability

NAME = "flesch"

_NO_LETTER = re.compile(r"[^a-z]+")
_VOWELS = re.compile(r"[aeiouy]+")
# Two vowels that are spoken apart ("lion", "playing", "happier"), and the one that is not written ("prism").
_APART = re.compile(r"(?<![tcsgx])i[ao]|(?<=[aeiouy])ing$|i(?:er|est)$|sm$")
# An e that is written and not spoken: "game", "games", "played", "something"; but not in "table", "houses", "wanted".
_SILENT = re.compile(
    r"(?<=[^aeiouy])(?:(?<![^aeiouy]l)e|(?<![sxzcg])(?<!sh)(?<!ch)(?<![^aeiouy]l)es|(?<![td])ed)$"
    r"|(?<=[aeiouy][^aeiouy])e(?=(?:ly|ful|less|ness|ment|some|times?|thing|body|one)s?$)"
)


def measure(sentences: Collection[Sequence[str]]) -> Readability:
    """Measure English sentences, each given as its words.

    Args:
        sentences: at least one, and none without words.
    """
    words = sum(len(sentence) for sentence in sentences)
    spoken = sum(syllables(word) for sentence in sentences for word in sentence)
    sentence_length, word_length = words / len(sentences), spoken / words
    return Readability(
        flesch_reading_ease=206.835 - 1.015 * sentence_length - 84.6 * word_length,
        flesch_kincaid_grade=0.39 * sentence_length + 11.8 * word_length - 15.59,
        sentences=len(sentences),
        words=words,
        syllables=spoken,
    )


def syllables(word: str) -> int:
    """How many syllables an English word has, by a rule; at least 1.

    One for each group of vowels, but for an e that is silent, and for vowels that are spoken apart.
    """
    letters = _NO_LETTER.sub("", word.lower())
    spoken = len(_VOWELS.findall(letters)) + len(_APART.findall(letters)) - len(_SILENT.findall(letters))
    return max(1, spoken)
