"""Levels and the limiter, and what noise reduction does at the seams of its blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors.recordings import RATE, sample_signal, silence, tone, white_noise

from async_processor.processors import dynamics, noise_reduction


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 5_000),
    rate=st.sampled_from([8_000, 11_025, RATE, 44_100]),
    level=st.floats(0.01, 30),
    ceiling=st.floats(0.1, 1.0),
)
def test_no_sample_gets_past_the_limiter_and_none_is_made_louder(seed, count, rate, level, ceiling):
    random = np.random.default_rng(seed)
    samples = (random.normal(0, level, count) * (random.random(count) < random.random())).astype(np.float32)

    limited = dynamics.limit(samples, rate, ceiling)

    assert len(limited) == count
    assert float(np.abs(limited).max()) <= ceiling * (1 + 1e-6)
    assert (np.abs(limited) <= np.abs(samples) * (1 + 1e-6)).all()
    assert (limited * samples >= 0).all()


def test_what_stays_below_the_ceiling_is_left_alone():
    samples = tone(1.0)

    assert dynamics.limit(samples, RATE, 0.51) is samples


def test_the_limiter_turns_down_around_a_peak_and_nowhere_else():
    samples = 0.5 * tone(1.0)
    samples[RATE // 2] = 2.0

    gain = dynamics.limit(samples, RATE, 1.0) / np.where(samples == 0, 1, samples)

    assert gain[RATE // 2] == pytest.approx(0.5, abs=1e-3)
    far = np.abs(np.arange(RATE) - RATE // 2) > 0.045 * RATE
    assert np.allclose(gain[far & (samples != 0)], 1.0)
    # Smooth: no step of more than a twentieth from one millisecond to the next.
    assert float(np.abs(np.diff(gain[samples != 0][::16])).max()) < 0.05


@pytest.mark.parametrize("level", [1.0, 0.1, 1e-4])
def test_the_noise_floor_of_steady_noise_is_its_level(level):
    assert dynamics.noise_floor(white_noise(5, level), RATE) == pytest.approx(20 * math.log10(level), abs=0.6)


def test_zeros_have_no_level():
    assert dynamics.noise_floor(silence(1), RATE) is None
    assert dynamics.to_db(0.0) is None
    assert dynamics.to_db(dynamics.from_db(-7.5)) == pytest.approx(-7.5)


def test_noise_reduction_is_the_same_wherever_its_blocks_are_cut(monkeypatch):
    signal = sample_signal("goforward.raw")
    at_once = noise_reduction.reduce_noise(signal, RATE)

    for spectra in (1, 7, 64):
        monkeypatch.setattr(noise_reduction, "_SPECTRA_AT_ONCE", spectra)
        assert noise_reduction.reduce_noise(signal, RATE) == pytest.approx(at_once, abs=1e-6)
