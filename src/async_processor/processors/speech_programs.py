"""Text to speech with a program that this machine has. Speaks English; the text stays here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..errors import ConfigurationError, ProcessorNotAvailableError
from .providers.espeak_tts import ESpeak
from .providers.flite_tts import Flite
from .providers.speech_command import speakable
from .synthesis import Spoken

_SHOWN_CHARS = 40


class SpeechProgram(Protocol):
    """A program that speaks."""

    @property
    def name(self) -> str:
        """What settings and results call it."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Names of its voices; the first is the default."""
        ...

    def available(self) -> bool:
        """Whether it is installed on this machine. Looked up anew each time, and cheap."""
        ...

    async def speak(self, text: str, voice: str) -> bytes:
        """Speak plain ASCII text; gives a WAV file.

        Raises:
            ProviderError: it did not work.
        """
        ...


# Flite first: it was understood better, and needs no GPL program.
PROGRAMS: tuple[SpeechProgram, ...] = (Flite(), ESpeak())


class InstalledProgram:
    """The ``SpeechSynthesizer`` of the first program that is installed, and has the voice.

    Args:
        programs: to choose from, best first.
        voice: name of a voice; None for the program's default.

    Raises:
        ConfigurationError: none of the programs knows a voice of that name.
    """

    model = None
    offline = True

    def __init__(self, programs: Sequence[SpeechProgram] = PROGRAMS, voice: str | None = None) -> None:
        self._programs = [item for item in programs if voice is None or voice in item.voices]
        self._voice = voice
        if not self._programs:
            known = ", ".join(name for item in programs for name in item.voices)
            raise ConfigurationError(f"there is no voice {str(voice)[:_SHOWN_CHARS]!r}; known are {known}")

    @property
    def provider(self) -> str:
        return (self._installed() or self._programs[0]).name

    async def check(self) -> None:
        """Look whether a program is installed.

        Raises:
            ProcessorNotAvailableError: none is; says what to install.
        """
        self._chosen()

    async def speak(self, text: str) -> Spoken | None:
        program = self._chosen()
        plain = speakable(text)
        if not any(character.isalnum() for character in plain):
            return None
        voice = self._voice or program.voices[0]
        return Spoken(wav=await program.speak(plain, voice), voice=voice)

    async def aclose(self) -> None:
        """It holds nothing open: each program ends with its text."""

    def _installed(self) -> SpeechProgram | None:
        return next((item for item in self._programs if item.available()), None)

    def _chosen(self) -> SpeechProgram:
        program = self._installed()
        if program is None:
            name = self._programs[0].name
            raise ProcessorNotAvailableError(f"no offline synthesiser is installed; as root: apt-get install {name}")
        return program
