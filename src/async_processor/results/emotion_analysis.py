"""The result of EMOTION_ANALYSIS, whoever judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import OPTIONAL, Record, Result


@dataclass(slots=True, frozen=True, kw_only=True)
class EmotionScore(Record):
    """Another emotion that fits.

    Attributes:
        emotion: a word; of a hosted provider's or another package's own, where that judged.
        score: how well it fits, 0 to 1; None where nobody measured it.
    """

    emotion: str
    score: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class VoiceFeatures(Record):
    """What the voiced parts of a recording sound like; all None where no voice was measured.

    Attributes:
        pitch_hz: median fundamental frequency, in Hz.
        spectral_tilt_db: energy from 1 to 5 kHz against that from 50 Hz to 1 kHz, in dB.
        spectral_centroid_hz: mean frequency, weighted with energy, in Hz.
        level_db: energy against full scale, in dB.
        voiced_s: seconds of voiced speech that these are taken from.
    """

    pitch_hz: float | None = field(default=None, metadata=OPTIONAL)
    spectral_tilt_db: float | None = field(default=None, metadata=OPTIONAL)
    spectral_centroid_hz: float | None = field(default=None, metadata=OPTIONAL)
    level_db: float | None = field(default=None, metadata=OPTIONAL)
    voiced_s: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(slots=True, frozen=True, kw_only=True)
class EmotionAnalysisResult(Result):
    """The mood of a recording, of words, or of both.

    Attributes:
        primary_emotion: the word that fits best; "neutral" where there was nothing to go by.
        confidence: 0 to 1; None where it was never measured.
        secondary_emotions: others that fit, the best first.
        arousal: -1 (calm, tired) to 1 (excited, upset); None where nothing told it.
        valence: -1 (unpleasant) to 1 (pleasant); None where nothing told it.
        analysis_method: the basis, joined by "+"; "none" where there was nothing.
        basis: what was judged of what was given.
        baseline_used: whether the voice was compared to a baseline.
        features: what was measured of the voice.
        reason: why there was nothing to go by; None otherwise.
        provider: who judged; "none" where nobody was asked.
        model: by which model or rules; None where it has no name.
        offline: whether words and recording stayed on this machine.
        warnings: what was given and did not count; None of the offline analysis, which tells of none.
    """

    primary_emotion: str
    confidence: float | None
    secondary_emotions: tuple[EmotionScore, ...]
    arousal: float | None
    valence: float | None
    analysis_method: str
    basis: tuple[str, ...]
    baseline_used: bool = False
    features: VoiceFeatures = VoiceFeatures()
    reason: str | None
    provider: str
    model: str | None
    offline: bool
    warnings: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL)

    @classmethod
    def _variant(cls, plain: Mapping[str, Any]) -> type[Any]:
        return ChatEmotionResult if cls is EmotionAnalysisResult and "tokens_used" in plain else cls


@dataclass(slots=True, frozen=True, kw_only=True)
class ChatEmotionResult(EmotionAnalysisResult):
    """The same, where a chat model judges.

    Attributes:
        tokens_used: of request and answer; None where nobody counted, or was asked.
    """

    tokens_used: int | None
