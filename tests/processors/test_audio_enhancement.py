"""AUDIO_ENHANCEMENT on real speech with noise mixed in, on what has no loudness, and on payloads that are no good."""

from __future__ import annotations

import functools
import io
import json
import math
import pickle
import sys

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from tests.processors.recordings import (
    RATE,
    TRANSCRIPTS,
    context,
    encode,
    pcm,
    sample_payload,
    sample_signal,
    silence,
    tone,
    wav,
    white_noise,
)
from tests.results.kit import typed

from async_processor import ProcessingType, TaskStatus, create_processor, create_task
from async_processor.config import ProcessorConfig, SpeechConfig
from async_processor.errors import InvalidPayloadError, MissingExtraError
from async_processor.model import LaneName, ProcessingTask
from async_processor.processors.audio_enhancement import example, processor_spec, read_request
from async_processor.processors.providers.pyloudnorm_meter import loudness

SPEC = processor_spec(ProcessorConfig())
SPEECH = ("cards-005.wav", "sense-0870.wav", "librispeech-2412-153948-0000.flac")


def enhance(payload, config=None, progress=None):
    task = ProcessingTask(ProcessingType.AUDIO_ENHANCEMENT, payload)
    func = SPEC.func if config is None else processor_spec(ProcessorConfig(speech=config)).func
    result = func(task, context(task, progress=progress))
    rest = {key: value for key, value in result.items() if key != "audio_data"}
    assert json.loads(json.dumps(rest, allow_nan=False)) == rest
    return typed(task.task_type, result)


def enhance_signal(signal, rate=RATE, **fields):
    """The enhanced signal, decoded without the code under test, and the result."""
    result = enhance({"audio_data": encode(signal, rate=rate, subtype="FLOAT"), **fields})
    return decoded(result), result


def decoded(result):
    signal, rate = soundfile.read(io.BytesIO(result["audio_data"]), dtype="float64", always_2d=True)
    assert (rate, signal.shape[1]) == (result["sample_rate"], 1)
    return signal[:, 0]


def babble(count):
    """Several voices at once, none louder than another."""
    voices = [np.resize(sample_signal(name), count) for name in TRANSCRIPTS]
    return sum(np.roll(voice / voice.std(), 7_919 * number) for number, voice in enumerate(voices))


def pink(count, rng):
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, count)


NOISES = {
    "white": lambda count: np.random.default_rng(7).normal(0, 1, count),
    "pink": lambda count: pink(count, np.random.default_rng(7)),
    "babble": babble,
}


@functools.cache
def noisy(name, kind, snr_db):
    """A sample with a second of pause at both ends, noise added at a ratio to its speech, and where the pauses are."""
    speech = sample_signal(name).astype(np.float64)
    clean = np.concatenate([np.zeros(RATE), speech, np.zeros(RATE)])
    noise = NOISES[kind](len(clean))
    noise *= speech.std() / noise.std() * 10 ** (-snr_db / 20)
    pause = np.ones(len(clean), bool)
    pause[RATE - 1_600 : -RATE + 1_600] = False
    return clean, (clean + noise).astype(np.float32), pause


@functools.cache
def denoised(name, kind, snr_db):
    """What becomes of ``noisy`` without a change of its loudness."""
    return enhance_signal(noisy(name, kind, snr_db)[1], normalization=False)[0]


def power_db(signal):
    return 10 * math.log10(float(np.mean(signal**2)))


def si_sdr(clean, signal):
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""
    target = clean * (signal @ clean) / (clean @ clean)
    return 10 * math.log10(float(target @ target) / float((signal - target) @ (signal - target)))


def test_it_runs_in_the_process_lane_and_travels_there():
    assert SPEC.lane is LaneName.PROCESS
    assert not SPEC.is_async
    again = pickle.loads(pickle.dumps(SPEC.func))  # noqa: S301 - our own bytes
    assert (again.func, again.keywords) == (SPEC.func.func, SPEC.func.keywords)


@pytest.mark.parametrize(("kind", "less_db"), [("white", 8.0), ("pink", 11.5), ("babble", 2.5)])
@pytest.mark.parametrize("name", SPEECH)
def test_noise_in_the_pauses_falls_against_the_speech(name, kind, less_db):
    for snr_db in (5, 10, 20):
        _, mixed, pause = noisy(name, kind, snr_db)

        out, _ = enhance_signal(mixed)

        before, after = (power_db(item[~pause]) - power_db(item[pause]) for item in (mixed, out))
        assert after - before > less_db, snr_db


@pytest.mark.parametrize(("kind", "snr_db", "gain_db"), [("white", 5, 4.0), ("white", 10, 2.0), ("pink", 5, 4.5)])
def test_speech_in_steady_noise_comes_nearer_to_the_clean_recording(kind, snr_db, gain_db):
    gains = []
    for name in SPEECH:
        clean, mixed, _ = noisy(name, kind, snr_db)
        out = denoised(name, kind, snr_db)
        gains.append(si_sdr(clean, out) - si_sdr(clean, mixed))

    assert min(gains) > 0.4
    assert sum(gains) / len(gains) > gain_db


@pytest.mark.parametrize("kind", NOISES)
def test_speech_in_noise_still_follows_the_clean_one(kind):
    for name in SPEECH:
        clean, _, _ = noisy(name, kind, 10)

        out = denoised(name, kind, 10)

        assert np.corrcoef(clean, out)[0, 1] > 0.85
        # In time with it to the sample; the suppressor itself is 96 late.
        lags = (-96, *range(-4, 5), 96)
        assert max(lags, key=lambda lag: clean[100:-100] @ out[100 + lag : len(out) - 100 + lag]) == 0


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_clean_recording_is_changed_little(name):
    signal = sample_signal(name)

    out, _ = enhance_signal(signal, normalization=False)

    # Of the voice itself: below 150 Hz there are hum and breath, which are taken away.
    assert np.corrcoef(above_150_hz(signal), above_150_hz(out))[0, 1] > 0.985
    assert np.corrcoef(signal, out)[0, 1] > 0.93
    assert abs(power_db(out) - power_db(signal)) < 1.6


def above_150_hz(signal):
    spectrum = np.fft.rfft(signal)
    spectrum[: round(150 * len(signal) / RATE)] = 0
    return np.fft.irfft(spectrum, len(signal))


def test_speech_of_full_band_keeps_what_is_above_8_khz_and_loses_noise_there():
    rate, rng = 44_100, np.random.default_rng(2)
    speech = soxr.resample(sample_signal("cards-005.wav"), RATE, rate).astype(np.float64)
    time = np.arange(len(speech)) / rate
    envelope = np.convolve(np.abs(speech), np.ones(2_000) / 2_000, "same")
    above = envelope * np.sin(2 * np.pi * 12_000 * time)
    pad = np.zeros(rate)
    clean = np.concatenate([pad, speech + above, pad])
    mixed = clean + rng.normal(0, 0.01, len(clean))

    out, result = enhance_signal(mixed, rate=rate, normalization=False)

    def band_db(signal, low, high):
        spectrum = np.abs(np.fft.rfft(signal)) ** 2 / len(signal) ** 2
        hertz = np.fft.rfftfreq(len(signal), 1 / rate)
        return 10 * math.log10(float(spectrum[(hertz > low) & (hertz < high)].sum()))

    inside, pause = slice(rate, -rate), slice(2_000, rate - 2_000)
    assert band_db(out[inside], 11_000, 13_000) - band_db(mixed[inside], 11_000, 13_000) > -3
    assert band_db(out[pause], 9_000, 20_000) - band_db(mixed[pause], 9_000, 20_000) < -8
    assert "noise is judged below 8000 Hz" in " ".join(result["remarks"])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_the_rate_and_the_length_are_kept_at_any_rate(rate):
    signal = soxr.resample(sample_signal("goforward.raw"), RATE, rate)

    out, result = enhance_signal(signal, rate=rate)

    assert (result["sample_rate"], len(out)) == (rate, len(signal))
    assert result["duration"] == pytest.approx(len(signal) / rate, abs=0.001)
    assert np.corrcoef(signal, out)[0, 1] > 0.93


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_another_rate_is_given_when_asked_for(rate):
    result = enhance({**sample_payload("one-two-three.wav"), "output_sample_rate": rate})

    assert result["sample_rate"] == rate
    assert len(decoded(result)) == pytest.approx(2.7448 * rate, abs=0.001 * rate)


# Loudness


@pytest.mark.parametrize("target", [-23.0, -19.0, -16.0])
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_speech_reaches_its_target_loudness_without_clipping(name, target):
    result = enhance({**sample_payload(name), "target_lufs": target})

    out = decoded(result)
    assert loudness_by_the_book(out, result["sample_rate"]) == pytest.approx(target, abs=0.5)
    assert result["loudness_lufs"]["after"] == pytest.approx(target, abs=0.5)
    assert float(np.abs(out).max()) <= 10 ** (-1 / 20)
    assert not [remark for remark in result["remarks"] if "missed" in remark]


def loudness_by_the_book(signal, rate):
    """ITU-R BS.1770-4 with the coefficients printed there for 48 kHz."""
    signal = soxr.resample(signal, rate, 48_000)
    shelf = ([1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585])
    high_pass = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])
    weighted = lfilter(*high_pass, lfilter(*shelf, signal))
    blocks = np.array([np.mean(weighted[at : at + 19_200] ** 2) for at in range(0, len(weighted) - 19_199, 4_800)])
    levels = -0.691 + 10 * np.log10(blocks + 1e-30)
    relative = -0.691 + 10 * math.log10(float(blocks[levels > -70].mean())) - 10
    return -0.691 + 10 * math.log10(float(blocks[(levels > -70) & (levels > relative)].mean()))


@pytest.mark.parametrize(("rate", "within"), [(8_000, 0.3), (16_000, 0.15), (44_100, 0.05), (48_000, 0.01)])
def test_the_meter_keeps_to_the_standard(rate, within):
    full_scale = np.sin(2 * np.pi * 997 * np.arange(5 * rate) / rate).astype(np.float32)
    speech = soxr.resample(sample_signal("cards-005.wav"), RATE, rate)

    assert loudness(full_scale, rate) == pytest.approx(-3.01, abs=within)
    assert loudness(speech, rate) == pytest.approx(loudness_by_the_book(speech, rate), abs=within + 0.02)


def test_a_target_out_of_reach_is_missed_and_said_so():
    clicks = silence(2)
    clicks[:: RATE // 4] = 0.9

    out, result = enhance_signal(clicks, noise_reduction=False)

    assert result["loudness_lufs"]["after"] < -19.5
    assert float(np.abs(out).max()) <= 10 ** (-1 / 20)
    assert 0 < result["limiting_db"] <= 12.0
    assert [remark for remark in result["remarks"] if "the target of -19 LUFS was missed by" in remark]


def test_hiss_is_not_blown_up_to_the_target():
    _, result = enhance_signal(white_noise(2, 1e-3), noise_reduction=False)

    assert result["gain_db"] == 30.0
    assert [remark for remark in result["remarks"] if "gain is at most 30 dB" in remark]


@pytest.mark.parametrize(("seconds", "says"), [(0.399, "shorter than 0.4 s"), (2.0, "silent by the standard's gate")])
def test_what_has_no_loudness_is_not_normalized_and_says_why(seconds, says):
    for signal in (silence(seconds), white_noise(seconds, 1e-5)):
        _, result = enhance_signal(signal)

        assert result["loudness_lufs"] == {"before": None, "after": None}
        assert result["gain_db"] == 0.0
        assert says in result["remarks"][0]
    _, result = enhance_signal(silence(seconds))
    assert result["noise_floor_db"] == result["peak_db"] == {"before": None, "after": None}
    assert "nothing but zeros" in " ".join(result["remarks"])


# What is measured


def test_the_measures_are_those_of_the_recordings_themselves():
    signal = np.concatenate([0.001 * tone(0.5), tone(4.5)])

    out, result = enhance_signal(signal, noise_reduction=False)

    assert result["peak_db"]["before"] == pytest.approx(20 * math.log10(0.5), abs=0.02)
    assert result["peak_db"]["after"] == pytest.approx(20 * math.log10(np.abs(out).max()), abs=0.02)
    # The tenth percentile lies just between the quiet tone and the loud one.
    floors = [power_db(item[: RATE // 2]) for item in (signal, out)]
    for when, floor in zip(("before", "after"), floors, strict=True):
        assert floor <= result["noise_floor_db"][when] < floor + 70
    assert result["gain_db"] == pytest.approx(result["peak_db"]["after"] - result["peak_db"]["before"], abs=0.05)
    assert (result["provider"], result["model"], result["offline"]) == ("pyloudnorm", None, True)


def test_the_noise_floor_is_the_level_of_the_pauses():
    signal = np.concatenate([white_noise(1, 0.01), tone(1), white_noise(1, 0.01)])

    _, result = enhance_signal(signal, noise_reduction=False, normalization=False)

    assert result["noise_floor_db"]["before"] == pytest.approx(-40, abs=0.5)
    assert result["noise_floor_db"]["after"] == pytest.approx(-40, abs=0.5)


def test_nothing_asked_for_leaves_a_recording_as_it_is():
    data = pcm(sample_signal("goforward.raw"))

    result = enhance({"audio_data": data, "sample_rate": RATE, "noise_reduction": False, "normalization": False})

    step = 1 / 32_768
    assert np.abs(decoded(result) - np.frombuffer(data, "<i2") / 32_768).max() <= 2 * step
    assert (result["gain_db"], result["limiting_db"], result["remarks"]) == (0.0, 0.0, [])


def test_channels_are_mixed_to_one_and_it_says_so():
    signal = np.stack([tone(1.0), np.zeros(RATE, np.float32)], axis=1)

    out, result = enhance_signal(signal, noise_reduction=False, normalization=False)

    assert (result["channels"], result["remarks"]) == (1, ["2 channels were mixed to one"])
    assert out == pytest.approx(tone(1.0) / 2, abs=1e-3)


@pytest.mark.parametrize(("form", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("AIFF", None)])
def test_any_format_that_can_be_decoded_becomes_wav(form, subtype):
    result = enhance({"audio_data": encode(sample_signal("goforward.raw"), form=form, subtype=subtype)})

    info = soundfile.info(io.BytesIO(result["audio_data"]))
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("WAV", "PCM_16", RATE, 1)


def test_a_recording_is_enhanced_the_same_whatever_came_before():
    first = enhance(sample_payload("goforward.raw"))
    enhance_signal(white_noise(1.0))

    assert enhance(sample_payload("goforward.raw")) == first


def test_progress_only_grows():
    seen = []
    enhance(sample_payload("goforward.raw"), progress=lambda fraction, message: seen.append(fraction))

    assert seen == sorted(seen)
    assert len(seen) == 3


# Hostile sound, bytes and payloads

EXTREMES = {
    "denormals": np.full(RATE, 1e-40, "<f4"),
    "a constant": np.full(RATE, 0.5, "<f4"),
    "full scale": np.full(RATE, -1.0, "<f4"),
    "twelve dB above full scale": (4 * np.sin(np.arange(RATE) / 7)).astype("<f4"),
    "clipped": np.sign(np.sin(np.arange(RATE) / 50)).astype("<f4"),
    "one click": np.eye(1, RATE, 500, dtype="<f4")[0],
    "the shortest": np.full(1_412, 0.1, "<f4"),
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_any_sound_comes_out_finite_in_range_and_as_long(name, rate):  # B7
    signal = EXTREMES[name]
    for wished in ({}, {"noise_reduction": False}, {"normalization": False}):
        result = enhance({"audio_data": wav(signal.tobytes(), kind=3, bits=32, rate=rate), **wished})

        out = decoded(result)
        assert len(out) == len(signal)
        assert float(np.abs(out).max()) <= 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sound_that_is_not_finite_is_refused(value):  # B7
    signal = tone(1.0).astype("<f4")
    signal[5_000] = value

    with pytest.raises(InvalidPayloadError, match="not finite") as caught:
        enhance({"audio_data": wav(signal.tobytes(), kind=3, bits=32)})
    assert caught.value.field == "audio_data"


def test_a_small_file_that_stands_for_much_sound_is_refused_early():  # B6
    config = SpeechConfig(max_audio_bytes=1_000_000)
    data = encode(np.zeros(20 * 96_000, np.float32), rate=96_000, form="FLAC")
    mute = bytearray(data)  # as written to a pipe: the header does not tell the length
    mute[21] &= 0xF0
    mute[22:26] = bytes(4)

    for item in (data, bytes(mute)):
        assert len(item) < 100_000
        with pytest.raises(
            InvalidPayloadError, match=r"at most 5\.2\d+ s \(SpeechConfig.max_audio_bytes when decoded\)"
        ):
            enhance({"audio_data": item}, config)


def test_an_output_that_would_be_too_large_is_refused():
    config = SpeechConfig(max_audio_bytes=100_000)
    payload = {"audio_data": pcm(silence(1)), "sample_rate": RATE, "output_sample_rate": 96_000}

    with pytest.raises(InvalidPayloadError, match="192000 bytes") as caught:
        enhance(payload, config)
    assert caught.value.field == "output_sample_rate"


BAD_FIELDS = {
    "noise_reduction": [1, 0, "yes", [], float("nan")],
    "normalization": ["true", b"1", 2],
    "target_lufs": ["loud", 0, -51, float("nan"), True, 10**400],
    "output_sample_rate": [0, 7_999, 192_001, 16_000.5, "16000", True],
    "audio_data": [None, "text", b"", 5, b"\0\0\0\x20ftypM4A "],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD_FIELDS.items() for value in values]
)
def test_a_bad_field_is_refused_by_name(field, value):
    payload = {"audio_data": pcm(silence(0.1)), "sample_rate": RATE, field: value}

    with pytest.raises(InvalidPayloadError) as caught:
        read_request(payload, SpeechConfig())
    assert caught.value.field == field


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=40)
SOUND = st.sampled_from(
    [pcm(silence(0.04)), encode(white_noise(0.5)), encode(tone(0.4), form="FLAC"), b"RIFF", b"fLaC"]
)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "audio_data": SOUND | JUNK,
        "sample_rate": st.sampled_from([8_000, RATE, 44_100.0, 0, -1]) | JUNK,
        "channels": st.sampled_from([1, 2, 0]) | JUNK,
        "noise_reduction": JUNK,
        "normalization": JUNK,
        "target_lufs": st.sampled_from([-16, -50, -5]) | JUNK,
        "output_sample_rate": st.sampled_from([8_000, 48_000]) | JUNK,
        "child_id": JUNK,
    },
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(PAYLOADS)
def test_any_payload_is_enhanced_or_refused(payload):  # B21
    try:
        result = enhance(payload)
    except InvalidPayloadError as error:
        refusal = error
    else:
        assert decoded(result).size
        return
    assert refusal.field in payload.keys() | {"audio_data", "sample_rate"}


def check_mutated(seed, form):
    random = np.random.default_rng(seed)
    data = np.frombuffer(CLEAN[form], np.uint8).copy()
    places = random.integers(0, len(data), random.integers(1, 20))
    data[places] = random.integers(0, 256, len(places))
    try:
        result = enhance({"audio_data": data[: random.integers(1, len(data) + 1)].tobytes(), "sample_rate": RATE})
    except InvalidPayloadError:
        return
    assert float(np.abs(decoded(result)).max()) <= 1.0


CLEAN = {form: encode(tone(0.3), form=form) for form in ("WAV", "FLAC", "MP3")}


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), form=st.sampled_from(sorted(CLEAN)))
def test_mutated_files_are_enhanced_or_refused(seed, form):
    # Some of B8; the 10,000 are below.
    check_mutated(seed, form)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", CLEAN)
def test_ten_thousand_mutated_files_are_enhanced_or_refused(form):  # B8
    for seed in range(10_000 // len(CLEAN) + 1):
        check_mutated(seed, form)


# Where it runs


@pytest.fixture
async def processor():
    processor = await create_processor(max_process_workers=1)
    yield processor
    await processor.shutdown(timeout=1)


async def run(processor, payload, **options):
    task = create_task(ProcessingType.AUDIO_ENHANCEMENT, payload, **options)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=50)


@pytest.mark.timeout(120)
async def test_hostile_bytes_fail_once_and_the_slot_is_free_for_a_good_recording(processor):  # B5, B6, B7
    nan = wav(np.full(1_600, np.nan, "<f4").tobytes(), kind=3, bits=32)
    bombs = [wav(bytes(64), size=0xFFFFFFF0, riff=0xFFFFFFFF), wav(bytes(3_200), channels=65_535, align=2), nan]

    for data in bombs:
        bad = await run(processor, {"audio_data": data})
        assert (bad.status, bad.error_type, bad.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)

    good = await run(processor, {**sample_payload("goforward.raw"), "child_id": "child-1"}, cpu_intensive=True)
    assert good.result["loudness_lufs"]["after"] == pytest.approx(-19, abs=0.5)
    assert good.worker_id == "process-0"


async def test_the_example_works_and_the_libraries_are_there():
    readiness = await SPEC.readiness()

    assert (readiness.offline, readiness.problem) == (True, None)
    assert enhance(example())["loudness_lufs"]["after"] is not None


@pytest.mark.parametrize("library", ["webrtc_noise_gain", "pyloudnorm"])
async def test_a_missing_library_is_named_with_the_line_that_installs_it(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtraError, match=r"pip install 'advanced-async-processor\[voice\]'") as caught:
        enhance(example())
    assert caught.value.permanent
    assert "[voice]" in (await SPEC.readiness()).problem
