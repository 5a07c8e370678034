"""Levels of a recording, and gain that does not clip. Levels are in dB against full scale (a constant 1.0 is 0 dB)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from . import samples as sound

if TYPE_CHECKING:
    from .samples import Samples

_FRAME_S = 0.02
# A tenth of nearly all recordings of speech is pauses.
_FLOOR_PERCENTILE = 10.0

_STEP_S = 0.001
# The limiter's gain moves over 40 ms, some periods of a voice: faster would be heard as roughness.
_REACH_STEPS = 20


def to_db(amplitude: float) -> float | None:
    """Of an amplitude; None for 0, which has no level."""
    return 20 * math.log10(amplitude) if amplitude > 0 else None


def from_db(level: float) -> float:
    """The factor that so many dB are."""
    return float(10.0 ** (level / 20))


def noise_floor(samples: Samples, rate: int) -> float | None:
    """The level that a tenth of all frames of 20 ms stay below, by root mean square, in dB.

    In a recording with pauses that is the noise in them; in one without, the softest speech.

    Returns:
        None if a tenth of the frames hold nothing but zeros, which have no level.
    """
    np = sound.load_numpy()
    size = max(1, round(_FRAME_S * rate))
    count = len(samples) // size
    frames = samples[: count * size].reshape(count, size)
    power = np.mean(frames * frames, axis=1, dtype=np.float64)
    return to_db(math.sqrt(float(np.percentile(power, _FLOOR_PERCENTILE))))


def limit(samples: Samples, rate: int, ceiling: float) -> Samples:
    """Turn down what comes near a peak above ``ceiling``, so that no sample is beyond it.

    The gain of every millisecond is the mean, over 39 of them, of the least gain needed within 20 on either side: it
    moves smoothly, begins to fall before the peak comes, and is low enough where the peak is.
    """
    np = sound.load_numpy()
    if sound.peak(samples) <= ceiling:
        return samples
    step = max(1, round(_STEP_S * rate))
    count = -(-len(samples) // step)
    peaks = np.abs(np.pad(samples, (0, count * step - len(samples)))).reshape(count, step).max(axis=1)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, ceiling))
    least = _over_neighbours(needed, _REACH_STEPS).min(axis=1)
    gain = _over_neighbours(least, _REACH_STEPS - 1).mean(axis=1)
    centres = (np.arange(count) + 0.5) * step
    limited = samples * np.interp(np.arange(len(samples)), centres, gain).astype(np.float32)
    # What rounding left above it.
    result: Samples = np.clip(limited, -ceiling, ceiling)
    return result


def _over_neighbours(values: Samples, reach: int) -> Samples:
    """Per value, a row of those up to ``reach`` before and after it; beyond the ends the last one goes on."""
    np = sound.load_numpy()
    rows: Samples = np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)
    return rows
