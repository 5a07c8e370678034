"""How positive or negative English words are, by VADER (a word list with rules; Hutto and Gilbert, ICWSM 2014)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from ..extras import needs_extra

NAME = "vader"


@dataclass(slots=True, frozen=True)
class Polarity:
    """What VADER says of a text.

    Attributes:
        compound: from -1.0 (negative) to 1.0 (positive); 0.0 where no word is known, also for other languages.
        positive, negative, neutral: shares of the text, together 1.0; all 0.0 where there is nothing to judge.
    """

    compound: float
    positive: float
    negative: float
    neutral: float


@functools.cache
def _analyser(extra: str) -> Any:
    # Reading the word list takes 20 ms: once per process.
    with needs_extra(extra, needed_for="judging the mood of words"):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def polarity(text: str, extra: str = "voice") -> Polarity:
    """Judge an English text. Time grows with the square of the number of words, so bound the text.

    Args:
        extra: the extra to name where the library is missing; more than one brings it.

    Raises:
        MissingExtraError: vaderSentiment is not installed.
    """
    scores = _analyser(extra).polarity_scores(text)
    return Polarity(*(float(scores[name]) for name in ("compound", "pos", "neg", "neu")))
