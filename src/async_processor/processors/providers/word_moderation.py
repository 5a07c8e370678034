"""The offline moderator: words and phrases that are never fit for a child, by the rules of ``child_safety_rules``.

Texts are compared by whole words, after what is usually done to disguise them has been undone. Time is linear in the
text, and a long one is judged in slices, between which the event loop goes on.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

from ..moderation import Stage, Verdict
from ..text_units import cleaned
from .child_safety_rules import RULES

# Some characters stand for eighteen others.
_SLICE_CHARS = 1_000
# So far back from its end a slice looks for a place between two words. No word of the rules is as long.
_LONGEST_WORD_CHARS = 100
_BETWEEN_WORDS = frozenset(' \n\t.,;:!?()[]{}"/-')
_MAX_PHRASE_WORDS = 8
# Letters of other alphabets that look like Latin ones, and signs that stand for letters inside of words.
_LOOKALIKES = str.maketrans("аеорсухіѕјһӏαεοριτυκν", "aeopcyxisjhlaeopitukv")
_LEET = str.maketrans("013457@$", "oieastas")
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D])
_UNDERSCORE = {ord("_"): " "}
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´"))
_WORD = re.compile(r"[\w@$]+")
_STRETCHED = re.compile(r"(.)\1{2,}")
_DIGIT_OR_SIGN = re.compile(r"[0-9@$]")
_ENDINGS = ("s", "es", "ed", "ing", "er", "ers")

Phrase = tuple[str, ...]


class WordModerator:
    """The ``Moderator`` that needs nothing: no key, no network, no library."""

    provider = "words"
    offline = True

    async def judge(self, text: str, stage: Stage) -> Verdict:
        found: set[str] = set()
        before: list[str] = []
        for piece in _slices(text):
            words = [*before, *plain_words(piece)]
            found.update(_categories(words, stage), _categories(spelled_out(words), stage))
            before = words[-_MAX_PHRASE_WORDS + 1 :]
            await asyncio.sleep(0)
        return Verdict(allowed=not found, categories=tuple(sorted(found)))

    async def check(self) -> None:
        """It can always judge."""

    async def aclose(self) -> None:
        """It holds nothing open."""


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _SLICE_CHARS:
        limit = start + _SLICE_CHARS
        places = (end for end in range(limit, limit - _LONGEST_WORD_CHARS, -1) if text[end] in _BETWEEN_WORDS)
        end = next(places, limit)
        yield text[start:end]
        start = end
    yield text[start:]


def plain_words(text: str) -> list[str]:
    """The words of a text as the rules spell them.

    Small letters without accents; lookalikes of other alphabets, stretched words (``shiiit``) and digits for letters
    (``sh1t``) are read for what they stand for.
    """
    folded = unicodedata.normalize("NFKD", cleaned(text).translate(_INVISIBLE)).casefold()
    bare = "".join(itertools.filterfalse(unicodedata.combining, folded))
    plain = bare.translate(_LOOKALIKES).translate(_APOSTROPHES).translate(_UNDERSCORE)
    return [_without_leet(word) for word in _WORD.findall(_STRETCHED.sub(r"\1", plain))]


def spelled_out(words: Sequence[str]) -> list[str]:
    """The words, with three or more single letters in a row put together: ``s h i t``."""
    whole: list[str] = []
    for single, group in itertools.groupby(words, key=lambda word: len(word) == 1):
        letters = list(group)
        whole += ["".join(letters)] if single and len(letters) >= 3 else letters
    return whole


def _without_leet(word: str) -> str:
    # A number is one: only among letters does a digit stand for a letter.
    return word.translate(_LEET) if _DIGIT_OR_SIGN.search(word) and not word.isdigit() else word


def _categories(words: Sequence[str], stage: Stage) -> Iterator[str]:
    phrases, lengths = _phrases(stage)
    for start, word in enumerate(words):
        for length in lengths.get(word, ()):
            yield from phrases.get(tuple(words[start : start + length]), ())


@functools.cache
def _phrases(stage: Stage) -> tuple[Mapping[Phrase, frozenset[str]], Mapping[str, Collection[int]]]:
    """The categories of each phrase, and how long those are that begin with a word."""
    found: dict[Phrase, frozenset[str]] = {}
    lengths: dict[str, set[int]] = {}
    for rule in RULES:
        for phrase in _expanded(rule.phrases) if stage in rule.stages else ():
            found[phrase] = found.get(phrase, frozenset()) | {rule.category}
            lengths.setdefault(phrase[0], set()).add(len(phrase))
    return found, lengths


def _expanded(phrases: str) -> Iterator[Phrase]:
    """Every phrase that a rule stands for, word by word."""
    for phrase in phrases.split(","):
        slots = [[form for word in slot.split("/") for form in _forms(word)] for slot in phrase.split()]
        for words in itertools.product(*slots):
            yield tuple(" ".join(words).replace("_", " ").split())


def _forms(word: str) -> Sequence[str]:
    if word == "-":
        return [""]
    if not word.endswith("~"):
        return [word]
    stem = word[:-1]
    # Of "torture": "torturing", beside "tortures".
    return [stem, *(f"{cut}{ending}" for cut in {stem, stem.removesuffix("e")} for ending in _ENDINGS)]
