"""The result of TEXT_ANALYSIS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .base import OPTIONAL, Record, Result

LanguageSource = Literal["payload", "text", "assumed"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Sentiment(Record):
    """What a text says.

    Attributes:
        label: "positive" or "negative" where ``compound`` is 0.05 or more away from 0, as VADER's authors have it.
        compound: from -1.0 to 1.0.
        positive, negative, neutral: shares of the words, together 1.0.
    """

    label: Literal["positive", "negative", "neutral"]
    compound: float
    positive: float
    negative: float
    neutral: float


@dataclass(slots=True, frozen=True, kw_only=True)
class Keyword(Record):
    """One to three words of the text, and their score: the lower, the more they say about it."""

    keyword: str
    score: float


@dataclass(slots=True, frozen=True, kw_only=True)
class Language(Record):
    """A language.

    Attributes:
        code: two letters (ISO 639-1).
        confidence: from 0.0 to 1.0 how sure the recogniser is of it, among the languages that it knows.
    """

    code: str
    confidence: float


@dataclass(slots=True, frozen=True, kw_only=True)
class Readability(Record):
    """How hard a text is to read: two figures, and the counts that they are made of.

    Attributes:
        flesch_reading_ease: 100 is very easy, 0 very hard; short sentences of short words go beyond 100.
        flesch_kincaid_grade: years of school in the United States that a reader needs; below 0 for the easiest.
        sentences, words, syllables: how many there are.
    """

    flesch_reading_ease: float
    flesch_kincaid_grade: float
    sentences: int
    words: int
    syllables: int


@dataclass(slots=True, frozen=True, kw_only=True)
class TextStatistics(Record):
    """How long a text is; ``characters`` are code points."""

    characters: int
    words: int
    sentences: int


@dataclass(slots=True, frozen=True, kw_only=True)
class TextAnalysisResult(Result):
    """Sentiment, keywords, language and readability of a text: each None where it was not asked for or cannot be told.

    The plain dict lacks what was not asked for; of what cannot be told, ``reasons`` says why.

    Attributes:
        sentiment: English only.
        keywords: the best first.
        language: what it is written in.
        readability: English only.
        statistics: how long it is.
        text_source: who brought the text: "payload", or the type of the task that did.
        analysed_as: two-letter code of the language that the text was taken for.
        language_source: who said so.
        reasons: why something cannot be told, by its name.
        provider: the libraries that were used, joined by "+"; "none" where nothing could be told.
        model: None.
        offline: True.
    """

    sentiment: Sentiment | None = field(default=None, metadata=OPTIONAL)
    keywords: tuple[Keyword, ...] | None = field(default=None, metadata=OPTIONAL)
    language: Language | None = field(default=None, metadata=OPTIONAL)
    readability: Readability | None = field(default=None, metadata=OPTIONAL)
    statistics: TextStatistics
    text_source: str
    analysed_as: str
    language_source: LanguageSource
    reasons: dict[str, str]
    provider: str
    model: str | None
    offline: bool

    def _lacks(self, name: str) -> bool:
        return name not in self.reasons
