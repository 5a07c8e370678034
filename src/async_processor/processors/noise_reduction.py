"""Less noise in a recording of any rate.

WebRTC's suppressor hears 16 kHz, answers in 16-bit steps and turns phases on the way. So its output is not used as
sound, only as its judgement: how much of each frequency it kept at each moment is applied to the recording itself, as
a gain. Speech stays where it was, and comes out better by every measure taken than the suppressor's own output does
(docs/audio-enhancement.md).

Above 8 kHz, where it hears nothing, the recording gets the gain of the band below, 4 to 8 kHz; noise of rooms and
microphones is there when it is here. That is also how WebRTC treats its upper bands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import samples as sound
from .providers import webrtc_suppressor
from .providers.libsndfile import Resampler
from .providers.webrtc_suppressor import RATE

if TYPE_CHECKING:
    from .samples import Samples

JUDGED_HZ = RATE // 2
"""What lies above this frequency goes by what lies just below it."""

# Windows of 32 ms every 8 ms. Squared, four of them overlap to a constant 2.
_WINDOW, _HOP = 512, 128
_OVERLAP = 2.0
_BEFORE = _WINDOW - _HOP
_UPPER_BIN = _WINDOW // 4
# At most this many spectra in memory at a time: some 20 MB with all that is made of them.
_SPECTRA_AT_ONCE = 2_048
# Power below this, of about a tenth of a 16-bit step, says nothing about gains.
_NOTHING = 1e-9


def reduce_noise(samples: Samples, rate: int) -> Samples:
    """A recording with less noise, as long as it was and in time with it.

    Raises:
        MissingExtraError: the extra "voice" is not installed.
    """
    heard = resample(samples, rate, RATE)
    # In 16 bit there is no room above full scale.
    scale = max(1.0, sound.peak(heard))
    left = sound.from_pcm(webrtc_suppressor.suppress(sound.to_pcm(heard / scale))) * scale
    kept, upper_gain = _apply(heard, left)
    if rate == RATE:
        return kept
    # What does not survive the way down to 16 kHz and back is what lies above.
    above = samples - _fit(resample(heard, RATE, rate), len(samples))
    return _fit(resample(kept, RATE, rate), len(samples)) + _drawn_out(upper_gain, len(samples), rate) * above


def resample(samples: Samples, rate: int, target_rate: int) -> Samples:
    """All samples at another rate; as many as fit their duration."""
    changed = Resampler(rate, target_rate).push(samples, last=True)
    return _fit(changed, round(len(samples) * target_rate / rate))


def _drawn_out(gains: Samples, count: int, rate: int) -> Samples:
    """The gain per frame, drawn out over ``count`` samples of another rate."""
    np = sound.load_numpy()
    middles = (np.arange(len(gains)) * _HOP - _BEFORE + _WINDOW / 2) * (rate / RATE)
    drawn: Samples = np.interp(np.arange(count), middles, gains).astype(np.float32)
    return drawn


def _apply(samples: Samples, left: Samples) -> tuple[Samples, Samples]:
    """Apply what ``left`` kept of ``samples`` to them; also gives the gain of the upper half of the band per frame."""
    np = sound.load_numpy()
    frames = -(-(len(samples) + _BEFORE) // _HOP)
    behind = (frames - 1) * _HOP + _WINDOW - _BEFORE - len(samples)
    heard, answered = (np.pad(item, (_BEFORE, behind)) for item in (samples, left))
    result = np.zeros(len(heard), np.float32)
    upper = np.empty(frames, np.float32)
    window = _window()
    for start in range(0, frames, _SPECTRA_AT_ONCE):
        end = min(frames, start + _SPECTRA_AT_ONCE)
        # One more on either side, so that smoothing sees the same neighbours wherever the blocks are cut.
        first, last = max(0, start - 1), min(frames, end + 1)
        spectra = _spectra(heard, first, last)
        before, after = _power(spectra), _power(_spectra(answered, first, last))
        inner = slice(start - first, end - first)
        gain = _gain(_smooth(before), _smooth(after))[inner]
        upper[start:end] = _gain(*(item[inner, _UPPER_BIN:].sum(axis=1) for item in (before, after)))
        _overlap_add(result, start, np.fft.irfft(spectra[inner] * gain, _WINDOW) * window / _OVERLAP)
    return result[_BEFORE : _BEFORE + len(samples)], upper


def _window() -> Any:
    np = sound.load_numpy()
    return np.sqrt(np.hanning(_WINDOW + 1)[:-1]).astype(np.float32)


def _spectra(padded: Samples, first: int, last: int) -> Any:
    np = sound.load_numpy()
    index = np.arange(first, last)[:, None] * _HOP + np.arange(_WINDOW)[None, :]
    return np.fft.rfft(padded[index] * _window())


def _power(spectra: Any) -> Any:
    return spectra.real**2 + spectra.imag**2


def _smooth(power: Any) -> Any:
    """Sums over three frames and three frequencies: a gain that jumps from one to the next sounds like ringing."""
    np = sound.load_numpy()
    wide = np.pad(power, 1, mode="edge")
    over_time = wide[:-2] + wide[1:-1] + wide[2:]
    return over_time[:, :-2] + over_time[:, 1:-1] + over_time[:, 2:]


def _gain(before: Any, after: Any) -> Any:
    np = sound.load_numpy()
    return np.sqrt(np.clip(after / (before + _NOTHING), 0.0, 1.0)).astype(np.float32)


def _overlap_add(target: Samples, start: int, frames: Any) -> None:
    """Add frames that overlap, by their quarters: those of one kind lie end to end."""
    count = len(frames)
    for quarter in range(_WINDOW // _HOP):
        part = frames[:, quarter * _HOP : (quarter + 1) * _HOP].reshape(-1)
        at = (start + quarter) * _HOP
        target[at : at + count * _HOP] += part.astype(target.dtype)


def _fit(samples: Samples, count: int) -> Samples:
    np = sound.load_numpy()
    fitted: Samples = np.pad(samples[:count], (0, max(0, count - len(samples))))
    return fitted
