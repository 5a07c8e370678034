"""Text to speech, by whoever the settings choose: a program here unless they name another. See synthesizers.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..clock import Clock, SystemClock
from ..config import SpeechConfig
from ..errors import InvalidPayloadError, PermanentError, ProviderError
from .per_loop import PerLoop
from .provider_registry import checked
from .synthesis import MAX_CHARS, SpeechSynthesizer, Spoken
from .synthesizers import open_synthesizer
from .wav_sound import WavError, read_wav


@dataclass(slots=True, frozen=True, kw_only=True)
class Speech:
    """Text spoken.

    Attributes:
        wav: a WAV file: 16 bit, one or two channels.
        sample_rate: in Hz.
        duration: seconds.
        provider, model, offline: who spoke, with what, and whether the text stayed on this machine.
        voice: which of its voices; None if it has but one.
    """

    wav: bytes = field(repr=False)
    sample_rate: int
    duration: float
    provider: str
    model: str | None
    voice: str | None
    offline: bool


class Speaker:
    """Speaks. Keeps one synthesiser, and so one pool of connections, per event loop.

    Args:
        config: who speaks, with which voice, and bounds.
        environ: where key and address are looked up if the settings have none; the process's environment unless given.
        clock: tells today's date, for names of models that end.
    """

    def __init__(
        self, config: SpeechConfig, *, environ: Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
        self._clock: Clock = SystemClock() if clock is None else clock
        self._opened: PerLoop[SpeechSynthesizer] = PerLoop(self._open, lambda synthesizer: synthesizer.aclose())

    async def speak(self, text: str) -> Speech | None:
        """Speak a text of at most ``MAX_CHARS`` characters.

        Returns:
            The speech; None where nothing in the text can be spoken.

        Raises:
            InvalidPayloadError: the text is too long.
            ConfigurationError: settings are missing or cannot be used, or nobody brings the synthesiser.
            ProcessorNotAvailableError: no program that speaks is installed here.
            ProviderError: it did not work; another attempt may help.
            PermanentError: no other attempt would help.
        """
        if len(text) > MAX_CHARS:
            raise InvalidPayloadError(
                f"text has {len(text)} characters; speak at most {MAX_CHARS} at a time", field="text"
            )
        synthesizer = self._opened.get()
        line = " ".join(text.split())
        if not any(character.isalnum() for character in line):
            return None
        spoken = await synthesizer.speak(line)
        if spoken is None:
            return None
        return self._speech(checked(spoken, Spoken, synthesizer.provider), synthesizer)

    @property
    def provider(self) -> str:
        """Who would speak.

        Raises:
            ConfigurationError: as ``speak``.
        """
        return self._opened.get().provider

    @property
    def offline(self) -> bool:
        """Whether text stays on this machine.

        Raises:
            ConfigurationError: as ``speak``.
        """
        return self._opened.get().offline

    async def check(self) -> None:
        """Find out whether a text could be spoken now: such as that a program is installed, or that the server takes
        the key.

        Raises:
            AsyncProcessorError: what would go wrong.
        """
        await self._opened.get().check()

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._opened.aclose()

    def _open(self) -> SpeechSynthesizer:
        return open_synthesizer(self._config, self._environ, self._clock.wall().date())

    def _speech(self, spoken: Spoken, synthesizer: SpeechSynthesizer) -> Speech:
        provider, most = synthesizer.provider, self._config.max_speech_bytes
        # Whoever wrote the synthesiser need not have kept to the types.
        wav: object = spoken.wav
        voice: object = spoken.voice
        if not isinstance(wav, bytes) or not isinstance(voice, str | None):
            raise PermanentError(f"provider {provider!r} gave back a Spoken whose wav or voice is none")
        if len(wav) > most:
            raise ProviderError(
                f"{provider} gave back {len(wav)} bytes, more than {most} (SpeechConfig.max_speech_bytes)"
            )
        try:
            sound = read_wav(wav)
        except WavError as error:
            raise ProviderError(f"{provider} gave back {error}") from error
        return Speech(
            wav=sound.file(),
            sample_rate=sound.sample_rate,
            duration=sound.duration,
            provider=provider,
            model=synthesizer.model,
            voice=voice,
            offline=synthesizer.offline,
        )
