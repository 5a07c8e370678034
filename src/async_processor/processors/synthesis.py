"""What synthesisers of speech have in common, whoever speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MAX_CHARS = 1_000
"""Longest text that is spoken at a time, in characters: about a minute."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Spoken:
    """What a synthesiser gives.

    Attributes:
        wav: a WAV file of 16-bit PCM, with one or two channels.
        voice: which of its voices spoke; None if it has but one.
    """

    wav: bytes = field(repr=False)
    voice: str | None = None


class SpeechSynthesizer(Protocol):
    """Whoever speaks: a program here, a server, or what another package brings. Used on one event loop."""

    @property
    def provider(self) -> str:
        """Its name, which results carry."""
        ...

    @property
    def model(self) -> str | None:
        """The ``model`` of its results."""
        ...

    @property
    def offline(self) -> bool:
        """Whether the text stays on this machine."""
        ...

    async def check(self) -> None:
        """Find out whether it could speak now, at the cost of at most one small request."""
        ...

    async def speak(self, text: str) -> Spoken | None:
        """Speak a text of at most ``MAX_CHARS`` characters on one line, with the voice of the settings.

        Returns:
            The speech; None where it can pronounce nothing of the text.

        Raises:
            ProviderError: it did not work; another attempt may help.
            PermanentError: no other attempt would help.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...
