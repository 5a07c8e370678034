"""Arithmetic on sound samples.

A *block* is an array of frames by channels, *samples* one channel; both are float32 with full scale at 1.0.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .extras import needs_extra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples: TypeAlias = npt.NDArray[np.float32]
    Flags: TypeAlias = npt.NDArray[np.bool_]

PCM_BYTES = 2
_PCM_SCALE = 32_768.0
# Spectra are taken over 32 ms, long enough for two periods of a deep voice (65 Hz), every 16 ms.
WINDOW = 512
HOP = 256
# At most this many spectra in memory at a time: about 8 MB.
_SPECTRA_AT_ONCE = 2_048
# Band edges of the alpha ratio in Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice
# Research and Affective Computing", IEEE Transactions on Affective Computing 7(2), 2016.
LOW_HZ, SPLIT_HZ, HIGH_HZ = 50.0, 1_000.0, 5_000.0


def load_numpy() -> Any:
    """NumPy, imported now if it was not. The one place that does."""
    with needs_extra("voice", needed_for="working on recordings"):
        import numpy as np

    return np


def pcm_blocks(data: memoryview, channels: int, frames_at_once: int) -> Iterator[Samples]:
    """Headerless signed 16-bit little-endian PCM, in blocks. ``data`` must hold whole frames."""
    np = load_numpy()
    step = frames_at_once * channels * PCM_BYTES
    for start in range(0, len(data), step):
        values = np.frombuffer(data[start : start + step], dtype="<i2")
        yield values.reshape(-1, channels).astype(np.float32) / np.float32(_PCM_SCALE)


def to_mono(block: Samples) -> Samples:
    """The mean of all channels."""
    np = load_numpy()
    mean: Samples = block.mean(axis=1, dtype=np.float32)
    return mean


def peak(samples: Samples) -> float:
    """The largest distance from zero; NaN if any sample is NaN."""
    np = load_numpy()
    return float(np.abs(samples).max()) if samples.size else 0.0


def join(parts: Sequence[Samples]) -> Samples:
    """All parts, one after the other."""
    np = load_numpy()
    whole: Samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return whole


def silent(count: int) -> Samples:
    """Nothing to hear."""
    np = load_numpy()
    zeros: Samples = np.zeros(count, np.float32)
    return zeros


def to_pcm(samples: Samples) -> bytes:
    """As signed 16-bit little-endian PCM; what exceeds full scale is clipped."""
    np = load_numpy()
    scaled: bytes = (np.clip(samples, -1.0, 1.0) * np.float32(_PCM_SCALE - 1)).astype("<i2").tobytes()
    return scaled


def from_pcm(pcm: bytes) -> Samples:
    """One channel of signed 16-bit little-endian PCM."""
    np = load_numpy()
    samples: Samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(_PCM_SCALE)
    return samples


def to_wav(pcm: bytes, rate: int, channels: int = 1) -> bytes:
    """A WAV file of 16-bit PCM."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(PCM_BYTES)
        file.setframerate(rate)
        file.writeframes(pcm)
    return target.getvalue()


def windows(samples: Samples, size: int) -> Iterator[list[float]]:
    """Consecutive lists of ``size`` samples; the last is filled up with silence."""
    for start in range(0, len(samples), size):
        values: list[float] = samples[start : start + size].tolist()
        yield values + [0.0] * (size - len(values))


@dataclass(slots=True, frozen=True)
class VoiceMeasures:
    """What the voiced parts of a recording sound like.

    Attributes:
        pitch_hz: median fundamental frequency.
        spectral_tilt_db: median over frames of the energy from 1 to 5 kHz against that from 50 Hz to 1 kHz.
        spectral_centroid_hz: median over frames of the mean frequency, weighted with energy, from 50 Hz to 5 kHz.
        level_db: energy of the voiced frames against full scale. Depends on the microphone and its distance.
        voiced_s: seconds of voiced speech that these are taken from.
    """

    pitch_hz: float
    spectral_tilt_db: float
    spectral_centroid_hz: float
    level_db: float
    voiced_s: float


def measure_voice(samples: Samples, rate: int, pitch: Samples, voiced: Flags) -> VoiceMeasures | None:
    """Measure the voiced frames.

    Args:
        samples: the recording.
        rate: its sample rate in Hz.
        pitch: fundamental frequency in Hz per frame of ``HOP`` samples.
        voiced: which of these frames are voiced speech.

    Returns:
        The measures; None without a single voiced frame.
    """
    np = load_numpy()
    chosen = np.flatnonzero(voiced)
    if not chosen.size:
        return None
    tilts, centroids, energy = [], [], 0.0
    for start in range(0, len(chosen), _SPECTRA_AT_ONCE):
        power = _power_spectra(samples, chosen[start : start + _SPECTRA_AT_ONCE])
        tilt, centroid, total = _shape(power, rate)
        tilts.append(tilt)
        centroids.append(centroid)
        energy += total
    return VoiceMeasures(
        pitch_hz=float(np.median(pitch[chosen])),
        spectral_tilt_db=float(np.median(np.concatenate(tilts))),
        spectral_centroid_hz=float(np.median(np.concatenate(centroids))),
        level_db=float(10 * np.log10(energy / len(chosen) + 1e-12)),
        voiced_s=len(chosen) * HOP / rate,
    )


def _power_spectra(samples: Samples, frames: Any) -> Any:
    """Power per frame and frequency, scaled so that a row sums up to the frame's mean square."""
    np = load_numpy()
    window = np.hanning(WINDOW).astype(np.float32)
    padded = np.pad(samples, (WINDOW // 2, WINDOW))
    index = frames[:, None] * HOP + np.arange(WINDOW)[None, :]
    return np.abs(np.fft.rfft(padded[index] * window)) ** 2 * (2 / (WINDOW * float((window**2).sum())))


def _shape(power: Any, rate: int) -> tuple[Any, Any, float]:
    """Tilt in dB and centroid in Hz per spectrum, and the sum of all power."""
    np = load_numpy()
    hz = np.fft.rfftfreq(WINDOW, 1 / rate)
    low = power[:, (hz >= LOW_HZ) & (hz < SPLIT_HZ)].sum(axis=1) + 1e-12
    high = power[:, (hz >= SPLIT_HZ) & (hz <= HIGH_HZ)].sum(axis=1) + 1e-12
    band = (hz >= LOW_HZ) & (hz <= HIGH_HZ)
    centroid = (power[:, band] * hz[band]).sum(axis=1) / (power[:, band].sum(axis=1) + 1e-12)
    return 10 * np.log10(high / low), centroid, float(power.sum())
