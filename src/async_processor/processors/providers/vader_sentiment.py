"""How positive or negative English words are, by VADER (a word list with rules; Hutto and Gilbert, ICWSM 2014)."""

from __future__ import annotations

import functools
from typing import Any

from ..extras import needs_extra

NAME = "vader"


@functools.cache
def _analyser() -> Any:
    # Reading the word list takes 20 ms: once per process.
    with needs_extra("voice", needed_for="EMOTION_ANALYSIS of words"):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiment(text: str) -> float:
    """From -1.0 (negative) to 1.0 (positive); 0.0 where no word is known, also for other languages.

    Time grows with the square of the number of words, so bound the text.

    Raises:
        MissingExtraError: vaderSentiment is not installed.
    """
    return float(_analyser().polarity_scores(text)["compound"])
