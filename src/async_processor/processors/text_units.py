"""Sentences and words of a text, by rules for languages that part words by spaces.

Whatever the text holds, time grows with its length and no faster: every pattern here goes over it once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

# No writing needs more marks on one letter; more of them make Unicode normalisation take quadratic time. The limit is
# that of the Stream-Safe Text Format (Unicode Standard Annex #15, section 13).
MAX_MARKS = 30
# Turn round the direction of writing, or show nothing at all: of no meaning to an analysis, and no good in a result.
_UNSEEN = dict.fromkeys([0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_ENDS = str.maketrans({"\r": "\n", "\u2028": "\n", "\u2029": "\n\n"})

# A sentence ends at a full stop with space behind it, at an ideographic one, or at an empty line. "Mr." ends none.
_ABBREVIATED = "".join(
    rf"(?<!\b{name}\.)" for name in ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "vs", r"e\.g", r"i\.e", r"etc")
)
_SENTENCE_END = re.compile(rf"[.!?…]{_ABBREVIATED}[\"'”’»)\]]*(?=[ \t\n])|[。！？]|\n[ \t]*\n")

# What parts words: not the apostrophe and the hyphen, which stand inside of some, nor marks, which stand on letters.
_BETWEEN_WORDS = re.compile(r"[\s!-&(-,./:-@\[-`{-~¡¿«»“”„‚‹›…–—―·•،؛؟。、，！？；：「」『』（）\u200b]+")
_AT_WORDS_ENDS = "'’‘ʼ-‐"
_LETTER = re.compile(r"[^\W\d_]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


@dataclass(slots=True, frozen=True)
class Sentence:
    """A sentence as it was written, and its words, in order. There may be none: ``"..."``."""

    text: str
    words: tuple[str, ...]


def cleaned(text: str) -> str:
    """The text with one kind of line end, no control characters and at most ``MAX_MARKS`` marks on a letter."""
    return _stream_safe(_CONTROL.sub(" ", text.replace("\r\n", "\n").translate(_LINE_ENDS)))


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of a cleaned text."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    parts = (text[start:end].strip() for start, end in pairwise([0, *ends, len(text)]))
    return [Sentence(part, tuple(split_words(part))) for part in parts if part]


def split_words(text: str) -> list[str]:
    """The words of a cleaned text: whatever has a letter or a digit in it, without the punctuation round it."""
    tokens = (token.strip(_AT_WORDS_ENDS) for token in _BETWEEN_WORDS.split(text))
    return [token for token in tokens if _LETTER_OR_DIGIT.search(token)]


def has_letter(word: str) -> bool:
    """Whether it is more than a number."""
    return _LETTER.search(word) is not None


def pieces(text: str, max_chars: int) -> Iterator[str]:
    """The text in pieces of at most ``max_chars`` characters, cut at spaces where there are any."""
    start = 0
    while len(text) - start > max_chars:
        cut = text.rfind(" ", start, start + max_chars + 1)
        end = cut if cut > start else start + max_chars
        yield text[start:end]
        start = end
    yield text[start:]


def _stream_safe(text: str) -> str:
    if text.isascii():
        return text
    kept = []
    marks = 0
    for character in text.translate(_UNSEEN):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)
