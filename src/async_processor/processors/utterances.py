"""Where in a recording somebody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SPEECH_PROBABILITY = 0.5
"""From here on the detector's authors call a window speech."""

# A pause this long ends an utterance. With 0.5 to 1.0 s the word error rate over the sample recordings rises from
# 20.6 to between 22 and 29 %, because the recogniser loses the words before; from 1.2 s on it stays.
MAX_PAUSE_S = 1.2
# Kept around an utterance, for soft beginnings and ends. With 0.1 to 0.2 s the word error rate rises to 23 %.
MARGIN_S = 0.5
# Less speech than this (three windows of 32 ms) is no word but a click or a cough.
MIN_SPEECH_S = 0.096


@dataclass(slots=True, frozen=True)
class Utterance:
    """A stretch of a recording. ``first`` and ``last`` are its bounds in samples, as in ``samples[first:last]``;
    ``speech_s`` the seconds in it that are speech."""

    first: int
    last: int
    speech_s: float


def find_utterances(probabilities: Sequence[float], window: int, rate: int, total: int) -> list[Utterance]:
    """Group windows of speech into utterances.

    Args:
        probabilities: probability of speech per window.
        window: samples per window.
        rate: samples per second.
        total: samples in the recording.
    """
    spoken = [index for index, value in enumerate(probabilities) if value >= SPEECH_PROBABILITY]
    groups: list[list[int]] = []
    for index in spoken:
        if groups and (index - groups[-1][-1]) * window <= MAX_PAUSE_S * rate:
            groups[-1].append(index)
        else:
            groups.append([index])
    margin = round(MARGIN_S * rate)
    return [
        Utterance(
            first=max(0, group[0] * window - margin),
            last=min(total, (group[-1] + 1) * window + margin),
            speech_s=len(group) * window / rate,
        )
        for group in groups
        if len(group) * window >= MIN_SPEECH_S * rate
    ]
