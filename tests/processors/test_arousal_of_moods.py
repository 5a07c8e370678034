"""Recordings spoken anew as anger and sadness are described: a surrogate for acted ones, see benchmarks/arousal.py."""

from __future__ import annotations

import numpy as np
import parselmouth
import pytest
from benchmarks.arousal import MOODS, RATE, Mood, arousals, in_order, judge, read, render, tilting
from tests.processors.recordings import TRANSCRIPTS, sample


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_what_is_spoken_as_in_anger_is_more_aroused_and_as_in_sadness_less(name: str):
    found = arousals(read(sample(name), name))

    assert in_order(found), found
    # Beside the speaker's own neutral voice it is plain to see.
    (_, angry), (_, neutral), (_, sad) = (found[mood] for mood in MOODS)
    assert angry > neutral + 0.3
    assert sad < neutral - 0.3


@pytest.mark.parametrize(
    ("up", "down"),
    [(Mood(pitch=4.0), Mood(pitch=-4.0)), (Mood(tilt_db=3.0), Mood(tilt_db=-3.0))],
    ids=["pitch", "brightness"],
)
def test_pitch_and_brightness_each_tell_by_themselves(up: Mood, down: Mood):
    signal = read(sample("LJ001-0001.mp3"), "LJ001-0001.mp3")
    baseline = judge(render(signal, Mood()))["features"]

    higher, lower = (judge(render(signal, mood), baseline)["arousal"] for mood in (up, down))

    assert higher > 0.2
    assert lower < -0.2


@pytest.mark.parametrize("mood", [Mood(level_db=-12.0), Mood(tempo=1.25), Mood(pitch_range=1.5)], ids=str)
def test_loudness_tempo_and_range_alone_do_not_pass_for_a_mood(mood: Mood):
    signal = read(sample("LJ001-0001.mp3"), "LJ001-0001.mp3")
    baseline = judge(render(signal, Mood()))["features"]

    assert abs(judge(render(signal, mood), baseline)["arousal"]) < 0.2


# What is rendered is what it says, by other means than the analysis's.


def test_a_rendering_has_the_tempo_level_and_pitch_that_it_was_asked_for():
    signal = read(sample("LJ001-0001.mp3"), "LJ001-0001.mp3")
    neutral = render(signal, Mood())

    changed, softer = render(signal, Mood(pitch=-3.0, tempo=0.8)), render(signal, Mood(level_db=-6.0))

    def pitch(voice: np.ndarray) -> float:
        values = parselmouth.Sound(voice, sampling_frequency=RATE).to_pitch().selected_array["frequency"]
        return float(np.median(values[values > 0]))

    assert len(changed) / len(neutral) == pytest.approx(1.25, rel=0.01)
    assert 12 * np.log2(pitch(changed) / pitch(neutral)) == pytest.approx(-3.0, abs=0.3)
    assert 20 * np.log10(softer.std() / neutral.std()) == pytest.approx(-6.0, abs=0.2)


def test_a_rendering_is_brighter_or_darker_by_so_many_decibels_an_octave():
    noise = np.random.default_rng(3).standard_normal(RATE * 2) * 0.05
    # Praat's part is left out: noise has no pitch to be spoken at.
    spectra = [np.abs(np.fft.rfft(np.convolve(noise, tilting(tilt), mode="same"))) ** 2 for tilt in (0.0, 2.0)]
    frequencies = np.fft.rfftfreq(len(noise), 1 / RATE)

    def gain_db(low: float, high: float) -> float:
        band = (frequencies >= low) & (frequencies < high)
        return float(10 * np.log10(spectra[1][band].sum() / spectra[0][band].sum()))

    assert gain_db(100, 400) == pytest.approx(0.0, abs=0.3)
    assert gain_db(3_900, 4_100) == pytest.approx(6.0, abs=0.3)
