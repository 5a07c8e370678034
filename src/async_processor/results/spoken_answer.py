"""The result of ``spoken_answer``."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import Result


@dataclass(slots=True, frozen=True, kw_only=True)
class SpokenAnswerResult(Result):
    """A text as sound. Where nothing was spoken all is None but ``reason`` and ``warnings``.

    Attributes:
        audio_data: a WAV file, 16-bit PCM.
        duration: of it, in seconds.
        sample_rate: of it, in Hz.
        provider: who spoke.
        model: by which model; None also where it has none.
        voice: in which voice; None also where it has no name.
        offline: whether the text stayed on this machine.
        reason: why nothing was spoken; None otherwise.
        warnings: what was left out, in words.
    """

    audio_data: bytes | None = field(default=None, repr=False)
    duration: float | None = None
    sample_rate: int | None = None
    provider: str | None = None
    model: str | None = None
    voice: str | None = None
    offline: bool | None = None
    reason: str | None
    warnings: tuple[str, ...]
