"""The result of AUDIO_ENHANCEMENT."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import Record, Result


@dataclass(slots=True, frozen=True, kw_only=True)
class BeforeAndAfter(Record):
    """One measure of what came in and of what goes out; None where there is nothing to measure."""

    before: float | None
    after: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class AudioEnhancementResult(Result):
    """A recording with less noise and an even loudness.

    Attributes:
        audio_data: a WAV file, 16-bit PCM.
        sample_rate: of it, in Hz.
        duration: of it, in seconds.
        channels: of it: 1.
        noise_floor_db: the level that a tenth of all frames of 20 ms stay below, in dB against full scale.
        loudness_lufs: by ITU-R BS.1770-4, gated.
        peak_db: the highest sample, in dB against full scale.
        gain_db: what normalization applied, in dB; 0 without it.
        limiting_db: how far the highest peak was turned down, in dB.
        remarks: sentences about what could not be done as asked, or not be measured.
        provider: the libraries that did it, joined by "+".
        model: of the noise suppressor; None without noise reduction.
        offline: True.
    """

    audio_data: bytes = field(repr=False)
    sample_rate: int
    duration: float
    channels: int
    noise_floor_db: BeforeAndAfter
    loudness_lufs: BeforeAndAfter
    peak_db: BeforeAndAfter
    gain_db: float
    limiting_db: float
    remarks: tuple[str, ...]
    provider: str
    model: str | None
    offline: bool
