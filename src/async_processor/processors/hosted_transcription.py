"""AUDIO_TRANSCRIPTION by a server or by what another package brings: they get the recording undecoded, as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock, SystemClock
from ..config import SpeechConfig
from ..errors import PermanentError
from ..model import ProcessingTask
from ..results.audio_transcription import AudioTranscriptionResult
from . import audio
from . import samples as sound
from .payload import beginning, invalid
from .per_loop import PerLoop
from .provider_registry import checked
from .recognition import HostedRecognizer, HostedText, read_language
from .recognizers import open_hosted

# What servers of this protocol take, by the ending of a file's name.
UPLOADABLE = ("wav", "flac", "ogg", "mp3", "m4a", "webm")
_LIMIT = "SpeechConfig.max_upload_bytes"


@dataclass(slots=True, frozen=True, kw_only=True)
class UploadRequest:
    """A recording to send.

    Attributes:
        file_name: its ending tells the format.
        recording: its bytes.
        language: the language asked for, or None.
        duration: seconds, where they can be known without decoding; else None.
        sample_rate: in Hz, likewise.
    """

    file_name: str
    recording: bytes = field(repr=False)
    language: str | None
    duration: float | None = None
    sample_rate: int | None = None


def check_request(payload: Mapping[str, Any], config: SpeechConfig) -> None:
    """Refuse what ``read_upload`` would, in a time that does not grow with the recording.

    Raises:
        InvalidPayloadError: it cannot be used; ``field`` names the key.
    """
    read_language(payload, None)
    check_recording(payload, config)


def check_recording(payload: Mapping[str, Any], config: SpeechConfig) -> str | None:
    """As ``check_request``, for the recording alone; gives its container, or None for headerless PCM."""
    form = audio.container_name(beginning(audio.read_buffer(payload, *_limit(config)), audio.HEAD_BYTES))
    if form is None:
        audio.read_source(payload, config)
    elif form not in UPLOADABLE:
        raise invalid(audio.FIELD, f"is {form}, which servers do not take; send {', '.join(UPLOADABLE)}, or 16-bit PCM")
    return form


def read_upload(payload: Mapping[str, Any], config: SpeechConfig) -> UploadRequest:
    """Read a payload; headerless PCM gets the header of a WAV file, all else stays as it is.

    Raises:
        InvalidPayloadError: it cannot be used; ``field`` names the key.
    """
    language = read_language(payload, None)
    form = check_recording(payload, config)
    data = audio.read_bytes(payload, *_limit(config))
    if form is not None:
        return UploadRequest(file_name=f"recording.{form}", recording=data, language=language)
    source = audio.read_source(payload, config)
    rate, seconds = source.sample_rate, len(data) / sound.PCM_BYTES / source.channels / source.sample_rate
    wav = sound.to_wav(data, rate, source.channels)
    return UploadRequest(
        file_name="recording.wav", recording=wav, language=language, duration=seconds, sample_rate=rate
    )


def _limit(config: SpeechConfig) -> tuple[int, str]:
    return min((config.max_upload_bytes, _LIMIT), (config.max_audio_bytes, "SpeechConfig.max_audio_bytes"))


class HostedTranscriber:
    """The processor function. Keeps one client, and so one pool of connections, per event loop.

    Args:
        config: model, server and bounds.
        environ: where key and address are looked up if the settings have none; the process's environment unless given.
        clock: tells today's date, for names of models that end.
    """

    def __init__(
        self, config: SpeechConfig, *, environ: Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
        self._clock: Clock = SystemClock() if clock is None else clock
        self._opened = PerLoop(self._open, lambda recognizer: recognizer.aclose())

    async def __call__(self, task: ProcessingTask) -> dict[str, Any]:
        """Send ``payload["audio_data"]`` and take the words.

        Raises:
            InvalidPayloadError: before anything is sent.
            ConfigurationError: key or address are missing or cannot be used, or nobody brings the recogniser.
            ProviderError: the recogniser gave no usable answer; another attempt may help.
            PermanentError: no other attempt would help.
        """
        request = read_upload(task.payload, self._config)
        recognizer = self._opened.get()
        answer = await recognizer.recognise(request.file_name, request.recording, request.language)
        heard = _usable(checked(answer, HostedText, recognizer.provider), recognizer.provider)
        return AudioTranscriptionResult(
            transcription=heard.text,
            confidence=None,
            score=None,
            language=request.language or heard.language,
            duration=None if request.duration is None else round(request.duration, 3),
            speech_duration=None,
            segments=(),
            reason=None if heard.text else "no words were heard in the recording",
            sample_rate=request.sample_rate,
            provider=recognizer.provider,
            model=recognizer.model,
            offline=recognizer.offline,
        ).as_dict()

    @property
    def offline(self) -> bool:
        """Whether recordings stay on this machine.

        Raises:
            ConfigurationError: as for a task.
        """
        return self._opened.get().offline

    async def check(self) -> None:
        """Find out whether a transcription could be had now: such as that key and address are set, and the
        server takes them.

        Raises:
            AsyncProcessorError: what would go wrong.
        """
        await self._opened.get().check()

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._opened.aclose()

    def _open(self) -> HostedRecognizer:
        return open_hosted(self._config, self._environ, self._clock.wall().date())


def _usable(heard: HostedText, provider: str) -> HostedText:
    # Whoever wrote the recogniser need not have kept to the types.
    text: object = heard.text
    language: object = heard.language
    if not isinstance(text, str) or not isinstance(language, str | None):
        raise PermanentError(f"provider {provider!r} gave back a HostedText whose text or language is none")
    return heard
