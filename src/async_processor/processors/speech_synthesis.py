"""Text to speech with whatever program the machine has; without one, the answer stays text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..errors import ConfigurationError, InvalidPayloadError
from .providers.espeak_tts import ESpeak
from .providers.flite_tts import Flite
from .providers.speech_command import Speech as Speech  # noqa: PLC0414 - what synthesize gives, for callers to import from here
from .providers.speech_command import speakable

MAX_CHARS = 1_000
"""Longest text that is spoken, in characters: about a minute."""


class SpeechSynthesizer(Protocol):
    """A program that speaks."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Names of its voices; the first is the default."""
        ...

    def available(self) -> bool:
        """Whether it can be used on this machine. Looked up anew each time, and cheap."""
        ...

    async def speak(self, text: str, voice: str) -> Speech:
        """Speak plain ASCII text.

        Raises:
            ProviderError: it did not work.
        """
        ...


# Flite first: it was understood better, and needs no GPL program.
SYNTHESIZERS: tuple[SpeechSynthesizer, ...] = (Flite(), ESpeak())


async def synthesize(
    text: str, *, voice: str | None = None, synthesizers: Sequence[SpeechSynthesizer] = SYNTHESIZERS
) -> Speech | None:
    """Speak a text with the first program that is installed (and has the voice).

    Args:
        text: what to say, in English; at most ``MAX_CHARS`` characters.
        voice: name of a voice; None for the program's default.
        synthesizers: programs to choose from, best first.

    Returns:
        The speech; None where no such program is installed, or nothing in the text can be spoken.

    Raises:
        ConfigurationError: none of the programs knows a voice of that name.
        InvalidPayloadError: the text is too long.
        ProviderError: the program failed or took too long.
    """
    if len(text) > MAX_CHARS:
        raise InvalidPayloadError(f"text has {len(text)} characters; speak at most {MAX_CHARS} at a time", field="text")
    fitting = [item for item in synthesizers if voice is None or voice in item.voices]
    if voice is not None and not fitting:
        known = ", ".join(name for item in synthesizers for name in item.voices)
        raise ConfigurationError(f"there is no voice {voice[:40]!r}; known are {known}")
    chosen = next((item for item in fitting if item.available()), None)
    plain = speakable(text)
    if chosen is None or not any(character.isalnum() for character in plain):
        return None
    return await chosen.speak(plain, voice or chosen.voices[0])
