"""EMOTION_ANALYSIS by Hume: what is expressed in a recording, in Hume's own words and in one of ours.

It runs in the process lane, because it decodes bytes that nobody vouches for, and sends the recording from there: the
decoded sound then does not travel back before it leaves.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import EmotionConfig, SpeechConfig
from ..context import TaskContext
from ..model import ProcessingTask
from ..results.emotion_analysis import EmotionAnalysisResult, EmotionScore
from . import payload as read
from . import samples as sound
from .audio import FIELD as AUDIO
from .audio import SAMPLE_RATE, Recording, read_recording, read_source
from .circumplex import NEUTRAL
from .emotion_analysis import ANALYSIS_TYPES, COMPREHENSIVE, TEXT
from .emotion_analysis import WORDS as TEXT_ONLY
from .providers import hume_voice
from .providers.hume_voice import Expressions

BASIS = "audio"
MAX_LISTED = 5
# A request is the recording and, around it, some hundred bytes of form.
_FORM_BYTES = 1_000
MAX_SECONDS = (hume_voice.MAX_UPLOAD_BYTES - _FORM_BYTES) // (SAMPLE_RATE * sound.PCM_BYTES)

# Which of Hume's names stand for which of our words. Hume has more than 400 names and adds to them; those that are
# not here are reported under their own name only.
NAMES_OF = {
    "happy": "joy, happiness, amusement, pleasure, delight, contentment, satisfaction, cheerfulness, feeling uplifted, "
    "chuckling, giggling, laughter",
    "excited": "excitement, eagerness, enthusiasm, exhilaration, ecstasy",
    "sad": "sadness, sorrow, grief, disappointment, despair, loneliness, crying, sobbing",
    "afraid": "fear, anxiety, nervousness, worry, panic, terror, horror",
    "angry": "anger, annoyance, irritation, frustration, rage, fury",
    "upset": "distress, feeling upset",
    "tired": "tiredness, sleepiness, fatigue, exhaustion",
    "bored": "boredom",
    "calm": "calmness, relaxation, relief, serenity, tranquility",
    NEUTRAL: "neutral",
}
_WORD_OF = {name: word for word, names in NAMES_OF.items() for name in names.split(", ")}


async def analyse(
    task: ProcessingTask, context: TaskContext, *, settings: EmotionConfig, speech: SpeechConfig
) -> dict[str, Any]:
    """Have the recording of one task measured.

    Raises:
        InvalidPayloadError: the payload cannot be used; nothing was sent.
        ConfigurationError: a key or an extra is missing; says which.
        ProviderError: Hume did not answer, or not usefully; another attempt may help.
        PermanentError: no other attempt would help.
    """
    unused = read_request(task.payload)
    recording = _as_wav(read_recording(task.payload, speech))
    context.report_progress(0.1, "decoded")
    return _result(await hume_voice.measure(recording, settings), unused).as_dict()


def read_request(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Check what can be checked without decoding.

    Returns:
        Fields that were given and do not count, because Hume judges the recording only.

    Raises:
        InvalidPayloadError: there is no recording, or it is not to be looked at.
    """
    analysis_type = read.choice(payload, "analysis_type", COMPREHENSIVE, ANALYSIS_TYPES)
    if analysis_type == TEXT_ONLY:
        raise read.invalid(
            "analysis_type",
            f"is {TEXT_ONLY!r}, but EmotionConfig.provider is 'hume', which judges recordings only; "
            f"send 'audio' or {COMPREHENSIVE!r}, and a recording",
        )
    if payload.get(AUDIO) is None:
        raise read.invalid(
            AUDIO, "is missing, and EmotionConfig.provider is 'hume', which judges recordings only; send a recording"
        )
    names = (TEXT, "baseline") if analysis_type == COMPREHENSIVE else ("baseline",)
    return tuple(name for name in names if payload.get(name) is not None)


def check_payload(payload: Mapping[str, Any], speech: SpeechConfig) -> None:
    """Refuse what Hume cannot judge, without decoding it.

    Raises:
        InvalidPayloadError: a field cannot be used, or there is no recording.
    """
    read_request(payload)
    read_source(payload, speech)


def _as_wav(recording: Recording) -> bytes:
    """The one form that Hume takes: 16 kHz, mono, 16 bit."""
    if recording.duration > MAX_SECONDS:
        raise read.invalid(AUDIO, f"holds {recording.duration:.0f} s of sound; Hume takes {MAX_SECONDS} s, send less")
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(sound.PCM_BYTES)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(sound.to_pcm(recording.samples))
    return target.getvalue()


def _result(measurements: Sequence[Expressions], unused: Sequence[str]) -> EmotionAnalysisResult:
    listed = _strongest(measurements)
    decisive = next((name for name in listed if name in _WORD_OF), None)
    others = [EmotionScore(emotion=name, score=score) for name, score in listed.items()]
    return EmotionAnalysisResult(
        primary_emotion=NEUTRAL if decisive is None else _WORD_OF[decisive],
        confidence=0.0 if decisive is None else listed[decisive],
        secondary_emotions=tuple(others[:MAX_LISTED]),
        # Hume tells neither, and neither is made up of what it does tell.
        arousal=None,
        valence=None,
        analysis_method=BASIS if listed else "none",
        basis=(BASIS,) if listed else (),
        reason=None if decisive is not None else _reason(measurements, listed),
        provider=hume_voice.NAME,
        model=None,
        offline=False,
        warnings=tuple(f"not used, because Hume judges the recording only: payload[{name!r}]" for name in unused),
    )


def _strongest(measurements: Sequence[Expressions]) -> dict[str, float]:
    """The highest probability that each expression has in any stretch of the recording, best first."""
    highest: dict[str, float] = {}
    for expressions in measurements:
        for name, probability in expressions.items():
            highest[name] = max(probability, highest.get(name, 0.0))
    return dict(sorted(highest.items(), key=lambda item: (-item[1], item[0])))


def _reason(measurements: Sequence[Expressions], listed: Mapping[str, float]) -> str:
    if not measurements:
        return "Hume found no speech in the recording"
    if not listed:
        return "Hume found speech in the recording, and no expression in it"
    return "none of the expressions that Hume found stands for one of our words"
