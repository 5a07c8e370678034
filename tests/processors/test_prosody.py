from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.errors import InvalidPayloadError
from async_processor.processors.prosody import (
    CENTROID_HZ,
    GROUP_PITCH_HZ,
    TILT_DB,
    Baseline,
    arousal,
    read_baseline,
)
from async_processor.processors.samples import VoiceMeasures

PLAIN = VoiceMeasures(
    pitch_hz=270.0, spectral_tilt_db=TILT_DB, spectral_centroid_hz=CENTROID_HZ, level_db=-20.0, voiced_s=2.0
)
UNKNOWN = Baseline()
OWN = Baseline(pitch_hz=270.0, spectral_tilt_db=TILT_DB, spectral_centroid_hz=CENTROID_HZ)
VOICES = st.builds(
    VoiceMeasures,
    pitch_hz=st.floats(60, 800),
    spectral_tilt_db=st.floats(-60, 40),
    spectral_centroid_hz=st.floats(50, 5_000),
    level_db=st.floats(-100, 0),
    voiced_s=st.floats(0.2, 600),
)


def test_the_speakers_own_neutral_voice_is_neutral():
    assert arousal(PLAIN, OWN) == 0.0


@pytest.mark.parametrize("pitch", GROUP_PITCH_HZ)
def test_a_typical_man_woman_or_child_is_about_neutral(pitch):
    assert abs(arousal(replace(PLAIN, pitch_hz=pitch), UNKNOWN)) < 0.1


@given(voice=VOICES, baseline=st.sampled_from([UNKNOWN, OWN]))
def test_arousal_is_bounded_and_grows_with_each_measure(voice, baseline):
    value = arousal(voice, baseline)

    assert -1 <= value <= 1
    assert arousal(replace(voice, spectral_tilt_db=voice.spectral_tilt_db + 3), baseline) >= value
    assert arousal(replace(voice, spectral_centroid_hz=voice.spectral_centroid_hz * 1.3), baseline) >= value
    if baseline is OWN:
        assert arousal(replace(voice, pitch_hz=voice.pitch_hz * 1.3), baseline) >= value


@given(voice=VOICES, level=st.floats(-100, 0), baseline=st.sampled_from([UNKNOWN, OWN]))
def test_loudness_does_not_count(voice, level, baseline):
    assert arousal(replace(voice, level_db=level), baseline) == arousal(voice, baseline)


def test_the_same_deviation_says_more_when_the_speaker_is_known():
    excited = replace(PLAIN, pitch_hz=380.0, spectral_tilt_db=TILT_DB + 5, spectral_centroid_hz=CENTROID_HZ * 1.4)

    assert arousal(excited, OWN) > arousal(excited, UNKNOWN) > 0.1


def test_a_baseline_may_hold_part_of_the_measures():
    partial = read_baseline({"baseline": {"pitch_hz": 300, "level_db": -20, "voiced_s": 3.0}})

    assert partial == Baseline(pitch_hz=300.0)
    assert partial.given
    assert not partial.complete
    assert not read_baseline({}).given


@pytest.mark.parametrize(
    ("baseline", "field"),
    [
        ({"pitch_hz": 0}, "baseline.pitch_hz"),
        ({"pitch_hz": "high"}, "baseline.pitch_hz"),
        ({"spectral_tilt_db": float("nan")}, "baseline.spectral_tilt_db"),
        ({"spectral_centroid_hz": 1e9}, "baseline.spectral_centroid_hz"),
        ([270.0], "baseline"),
    ],
)
def test_a_baseline_that_no_voice_has_is_refused(baseline, field):
    with pytest.raises(InvalidPayloadError) as caught:
        read_baseline({"baseline": baseline})
    assert caught.value.field == field
