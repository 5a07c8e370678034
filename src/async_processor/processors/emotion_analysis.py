"""EMOTION_ANALYSIS: the mood of a recording, of words, or of both. Offline. Described in docs/emotion-analysis.md."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..config import ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..model import LaneName, ProcessingTask
from ..results.emotion_analysis import EmotionAnalysisResult, EmotionScore, VoiceFeatures
from . import payload as read
from . import samples as sound
from .audio import FIELD as AUDIO
from .audio import SAMPLE_RATE, read_recording, read_source
from .circumplex import best, emotion_scores
from .heard_words import transcript
from .mood_words import MAX_CHARS, WordMood, read_mood
from .prosody import Baseline, arousal, read_baseline
from .providers import silero_vad, swift_f0_pitch, vader_sentiment
from .registry import ProcessorSpec, inspect_function
from .utterances import SPEECH_PROBABILITY

if TYPE_CHECKING:
    from .samples import Samples, VoiceMeasures

TEXT = "text"
COMPREHENSIVE, PROSODY, WORDS = "comprehensive", "prosody", "text"
ANALYSIS_TYPES = (COMPREHENSIVE, PROSODY, "audio", WORDS)

MODEL = "circumplex"
"""Name of the rules that turn measures into words for emotions; no network is involved in that."""

# Less voiced speech than this does not give a pitch to go by: about two syllables.
MIN_VOICED_S = 0.2
# Share of recordings whose arousal such measures told right on acted adult speech (EmoDB, each speaker held out in
# turn): as they are, and relative to the speaker's own neutral voice. Chance is 0.5. Children were not measured.
_PROSODY_RIGHT, _PROSODY_RIGHT_WITH_BASELINE = 0.91, 0.96
# Half of the weight at this many seconds of voiced speech, and at this many words.
_VOICED_HALF_S, _WORDS_HALF = 0.5, 1.0
# One word in five of the offline transcription is wrong (benchmarks/transcription.py).
_HEARD_RIGHT = 0.79
_SECONDARY_AT_LEAST, _SECONDARY_AT_MOST = 0.05, 3


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How EMOTION_ANALYSIS runs: in the process lane, because it decodes bytes that nobody vouches for."""
    return inspect_function(
        functools.partial(analyse, config=config.speech),
        lane=LaneName.PROCESS,
        check=lambda task: check_payload(task.payload, config.speech, alone=not task.depends_on),
    )


@dataclass(slots=True, frozen=True)
class Words:
    """What was said, and whether a recogniser heard it rather than somebody typed it."""

    text: str
    heard: bool


def check_payload(payload: Mapping[str, Any], config: SpeechConfig, *, alone: bool) -> None:
    """Refuse what cannot be judged, whatever the dependencies give.

    Args:
        alone: whether there are none, so that nobody brings words but the payload.

    Raises:
        InvalidPayloadError: the payload cannot be used, or holds nothing to judge.
    """
    analysis_type = read.choice(payload, "analysis_type", COMPREHENSIVE, ANALYSIS_TYPES)
    read_baseline(payload)
    check_words(payload, analysis_type, alone=alone)
    if analysis_type != WORDS and payload.get(AUDIO) is not None:
        read_source(payload, config)


def check_words(payload: Mapping[str, Any], analysis_type: str, *, alone: bool) -> None:
    """Refuse words that cannot be used, and a payload that brings nothing to judge where nobody else may bring it.

    Raises:
        InvalidPayloadError: so it is.
    """
    wants_words = analysis_type in (COMPREHENSIVE, WORDS)
    words = _own_words(payload) if wants_words else None
    if alone or not wants_words:
        check_given(payload, words, analysis_type)


def analyse(task: ProcessingTask, context: TaskContext, *, config: SpeechConfig) -> dict[str, Any]:
    """Judge arousal by the voice and valence by the words, and name the emotion that fits both.

    Raises:
        InvalidPayloadError: the payload cannot be used, or holds nothing to judge.
        MissingExtraError: the extra "voice" is not installed.
    """
    payload = task.payload
    analysis_type = read.choice(payload, "analysis_type", COMPREHENSIVE, ANALYSIS_TYPES)
    baseline = read_baseline(payload)
    words = None if analysis_type in (PROSODY, "audio") else find_words(payload, context)
    wants_voice = analysis_type != WORDS
    check_given(payload, words, analysis_type)
    voice = None
    if wants_voice and payload.get(AUDIO) is not None:
        samples = read_recording(payload, config).samples
        context.report_progress(0.1, "decoded")
        voice = _measure(samples)
    mood = read_mood(words.text) if words is not None and words.text.strip() else None
    return _result(voice, baseline, mood, heard=words is not None and words.heard).as_dict()


def find_words(payload: Mapping[str, Any], context: TaskContext) -> Words | None:
    """The payload's text, else what a transcription that the task depended on heard."""
    own = _own_words(payload)
    heard = transcript(context.dependencies) if own is None else None
    return own if heard is None else Words(heard, heard=True)


def _own_words(payload: Mapping[str, Any]) -> Words | None:
    if payload.get(TEXT) is None:
        return None
    return Words(read.text(payload, TEXT, max_chars=MAX_CHARS, wanted="what was said, as text"), heard=False)


def check_given(payload: Mapping[str, Any], words: Words | None, analysis_type: str) -> None:
    """Refuse a payload that brings neither words nor a recording to go by.

    Raises:
        InvalidPayloadError: it does.
    """
    if words is not None or (analysis_type != WORDS and payload.get(AUDIO) is not None):
        return
    if analysis_type == WORDS:
        raise read.invalid(TEXT, "is missing; send what was said, or depend on an AUDIO_TRANSCRIPTION task")
    if analysis_type == COMPREHENSIVE:
        raise read.invalid(AUDIO, "is missing, and so is payload['text']; send a recording, the words, or both")
    raise read.invalid(AUDIO, f"is missing; analysis_type {analysis_type!r} needs a recording")


def _measure(samples: Samples) -> VoiceMeasures | None:
    """Measure the frames that are both speech and voiced; None without enough of them."""
    pitch, voiced = swift_f0_pitch.track_pitch(samples, SAMPLE_RATE)
    probabilities = silero_vad.speech_probabilities(samples)
    frames_per_window = silero_vad.WINDOW // sound.HOP
    for frame in range(len(voiced)):
        voiced[frame] &= probabilities[frame // frames_per_window] >= SPEECH_PROBABILITY
    measures = sound.measure_voice(samples, SAMPLE_RATE, pitch, voiced)
    return measures if measures is not None and measures.voiced_s >= MIN_VOICED_S else None


def _result(
    voice: VoiceMeasures | None, baseline: Baseline, mood: WordMood | None, *, heard: bool
) -> EmotionAnalysisResult:
    aroused = None if voice is None else arousal(voice, baseline)
    valence = None if mood is None else mood.valence
    scores = emotion_scores(valence, aroused, mood.feelings if mood is not None else ())
    primary = best(scores)
    basis = [name for name, found in (("prosody", voice), ("text", mood)) if found is not None]
    others = (
        EmotionScore(emotion=word, score=round(score, 4))
        for word, score in scores.items()
        if word != primary and score >= _SECONDARY_AT_LEAST
    )
    features = {} if voice is None else {name: round(value, 4) for name, value in asdict(voice).items()}
    return EmotionAnalysisResult(
        primary_emotion=primary,
        confidence=round(scores[primary] * _reliability(voice, baseline, mood, heard=heard), 4),
        secondary_emotions=tuple(others)[:_SECONDARY_AT_MOST],
        arousal=None if aroused is None else round(aroused, 4),
        valence=None if valence is None else round(valence, 4),
        analysis_method="+".join(basis) or "none",
        basis=tuple(basis),
        baseline_used=voice is not None and baseline.given,
        features=VoiceFeatures(**features),
        reason=None if basis else "neither voiced speech nor words were found",
        provider="+".join(_providers(voice, mood)) or "none",
        model=MODEL,
        offline=True,
    )


def _reliability(voice: VoiceMeasures | None, baseline: Baseline, mood: WordMood | None, *, heard: bool) -> float:
    """How far the better founded of the two can be trusted: how often it is right, times how much of it there is."""
    by_voice = by_words = 0.0
    if voice is not None:
        right = _PROSODY_RIGHT_WITH_BASELINE if baseline.complete else _PROSODY_RIGHT
        by_voice = right * voice.voiced_s / (voice.voiced_s + _VOICED_HALF_S)
    if mood is not None:
        by_words = (_HEARD_RIGHT if heard else 1.0) * mood.words / (mood.words + _WORDS_HALF)
    return max(by_voice, by_words)


def _providers(voice: VoiceMeasures | None, mood: WordMood | None) -> list[str]:
    found = ((swift_f0_pitch.NAME, voice), (vader_sentiment.NAME, mood))
    return [name for name, used in found if used is not None]
