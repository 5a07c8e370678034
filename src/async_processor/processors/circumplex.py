"""From valence and arousal to words for emotions.

Russell, "A Circumplex Model of Affect" (Journal of Personality and Social Psychology 39, 1980), orders affect on a
circle around a neutral middle: pleasure at 0 degrees, excitement 45, arousal 90, distress 135, displeasure 180,
depression 225, sleepiness 270, relaxation 315; pleasantness is the first axis, arousal the second. A mood is a point
in this plane. Its distance from the middle says how much of it is neutral, its direction which words fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

NEUTRAL = "neutral"
# Our words for Russell's eight directions. Anger and fear are missing on purpose: both lie at distress, and only
# the speaker's own words tell them apart. So is sleepiness: a low voice that says nothing special is a calm one.
_DIRECTIONS = (
    (0, "happy"), (45, "excited"), (90, "energetic"), (135, "upset"),
    (180, "sad"), (225, "sad"), (270, "calm"), (315, "calm"),
)  # fmt: skip
WORDS = (NEUTRAL, *dict.fromkeys(word for _, word in _DIRECTIONS))
"""Every word that follows from valence and arousal."""
# With the voice alone the plane shrinks to the axis of arousal, where "calm" may as well be sad and "energetic" angry.
_HIGH_AROUSAL, _LOW_AROUSAL = "energetic", "calm"
# At this distance from the middle a mood counts as half neutral. Chosen so that VADER's weak values stay neutral.
_HALF_NEUTRAL = 0.25
# Concentration of the von Mises weights: a direction 45 degrees off counts a quarter.
_CONCENTRATION = 4.7
# What the speaker says of its own feelings outweighs what is inferred.
_NAMED_SHARE = 0.7


def emotion_scores(valence: float | None, arousal: float | None, named: Sequence[str] = ()) -> dict[str, float]:
    """How well each word fits, best first; the scores add up to 1.

    Args:
        valence: -1.0 to 1.0; None without words.
        arousal: -1.0 to 1.0; None without a voice.
        named: feelings that the speaker named as its own.
    """
    scores = _by_arousal(arousal or 0.0) if valence is None else _by_direction(valence, arousal or 0.0)
    if named:
        scores = {word: score * (1 - _NAMED_SHARE) for word, score in scores.items()}
        for word in named:
            scores[word] = scores.get(word, 0.0) + _NAMED_SHARE / len(named)
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def _by_arousal(arousal: float) -> dict[str, float]:
    neutral = _neutral_share(abs(arousal))
    return {NEUTRAL: neutral, _HIGH_AROUSAL if arousal > 0 else _LOW_AROUSAL: 1 - neutral}


def _by_direction(valence: float, arousal: float) -> dict[str, float]:
    neutral = _neutral_share(math.hypot(valence, arousal))
    angle = math.atan2(arousal, valence)
    weights = [math.exp(_CONCENTRATION * (math.cos(angle - math.radians(degrees)) - 1)) for degrees, _ in _DIRECTIONS]
    scores = {NEUTRAL: neutral}
    for (_, word), weight in zip(_DIRECTIONS, weights, strict=True):
        scores[word] = scores.get(word, 0.0) + (1 - neutral) * weight / sum(weights)
    return scores


def _neutral_share(distance: float) -> float:
    return float(0.5 ** ((distance / _HALF_NEUTRAL) ** 2))


def best(scores: Mapping[str, float]) -> str:
    """The word that fits best."""
    return next(iter(scores))
