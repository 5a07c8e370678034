"""Whether a whole English text is positive or negative: the mean over its sentences.

VADER was made for sentences, and takes time that grows with the square of their length. So a text is judged sentence
by sentence, and a long sentence in pieces. Phrases that VADER gets wrong are judged as ``mood_words`` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..results.text_analysis import Sentiment
from .mood_words import NEUTRAL, WordMood, read_mood
from .text_units import Sentence, pieces

_EXTRA = "text"
_MAX_PIECE_CHARS = 250
# VADER reads an emoji as the several words of its name, so 250 of them would take it 40 ms.
_MAX_EMOJI = 25
_EMOJI = re.compile("[\u2190-\u2bff\U0001f000-\U0001faff]")


def judge(sentences: Iterable[Sentence]) -> Sentiment | None:
    """Judge the sentences of one text; None where they hold neither words nor emoji that VADER knows.

    Raises:
        MissingExtraError: the extra "text" is not installed.
    """
    moods = [mood for sentence in sentences for mood in _moods(sentence)]
    if not moods:
        return None
    compound = sum(mood.valence for mood in moods) / len(moods)
    # Each piece counts by its words; an emoji alone, by one.
    weights = [max(1, mood.words) for mood in moods]
    return Sentiment(
        label="positive" if compound >= NEUTRAL else "negative" if compound <= -NEUTRAL else "neutral",
        compound=compound,
        positive=_mean([mood.positive for mood in moods], weights),
        negative=_mean([mood.negative for mood in moods], weights),
        neutral=_mean([mood.neutral for mood in moods], weights),
    )


def _moods(sentence: Sentence) -> Iterator[WordMood]:
    for piece in _pieces(sentence.text):
        mood = read_mood(piece, extra=_EXTRA)
        if mood.words or mood.valence:
            yield mood


def _pieces(text: str) -> Iterator[str]:
    for piece in pieces(text, _MAX_PIECE_CHARS):
        yield from pieces(piece, _MAX_EMOJI if len(_EMOJI.findall(piece)) > _MAX_EMOJI else _MAX_PIECE_CHARS)


def _mean(shares: list[float], weights: list[int]) -> float:
    return sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(weights)
