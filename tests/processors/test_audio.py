"""From bytes to samples: formats, limits, and bytes that lie."""

from __future__ import annotations

import tracemalloc

import numpy as np
import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.processors.recordings import (
    CONFIG,
    RATE,
    SECONDS,
    encode,
    pcm,
    sample,
    sample_payload,
    sample_signal,
    tone,
    wav,
    white_noise,
)

from async_processor.config import SpeechConfig
from async_processor.errors import InvalidPayloadError
from async_processor.processors.audio import SAMPLE_RATE, is_container, read_recording


def read(data, **fields):
    return read_recording({"audio_data": data, **fields}, CONFIG)


@pytest.mark.parametrize("name", SECONDS)
def test_every_sample_decodes_to_its_duration_at_16_khz(name):
    recording = read_recording(sample_payload(name), CONFIG)

    assert recording.duration == pytest.approx(SECONDS[name], abs=0.01)
    assert len(recording.samples) / SAMPLE_RATE == pytest.approx(recording.duration, abs=0.001)
    assert recording.samples.dtype == np.float32
    assert float(np.abs(recording.samples).max()) <= 1.2


FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "MS_ADPCM"), ("FLAC", None),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None), ("AU", None), ("CAF", None), ("W64", None),
    ("RF64", None),
]  # fmt: skip


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_one_sound_in_any_format_has_one_duration(form, subtype):
    signal = tone(1.5)

    recording = read(encode(signal, form=form, subtype=subtype))

    assert recording.duration == pytest.approx(1.5, abs=0.05)
    assert recording.format == form
    assert float(np.abs(recording.samples[4_000:12_000]).max()) == pytest.approx(0.5, abs=0.1)


def test_a_container_says_its_own_rate_whatever_the_payload_says():
    data = encode(np.stack([tone(1.0)] * 2, axis=1), rate=8_000)

    recording = read(data, sample_rate=44_100, channels=1)

    assert (recording.sample_rate, recording.channels) == (8_000, 2)
    assert recording.duration == pytest.approx(2.0)
    assert len(recording.samples) == pytest.approx(2 * SAMPLE_RATE, abs=50)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_headerless_pcm_goes_by_the_payloads_rate_and_channels(kind):
    frames = np.stack([tone(1.0), np.zeros(RATE, np.float32)], axis=1)

    recording = read(kind(pcm(frames.ravel())), sample_rate=RATE, channels=2)

    assert (recording.duration, recording.channels, recording.format) == (1.0, 2, "PCM")
    assert recording.samples == pytest.approx(tone(1.0) / 2, abs=1e-3)


def test_a_long_recording_resamples_the_same_in_blocks_as_in_one():
    signal = white_noise(10.0)

    at_once = read(encode(signal[: 3 * 65_536], rate=48_000))
    in_parts = read(encode(signal, rate=48_000))

    assert in_parts.samples[:60_000] == pytest.approx(at_once.samples[:60_000], abs=1e-4)


def test_flac_that_does_not_tell_its_length_is_read_to_its_end():
    # As written to a pipe: 36 bits of "total samples" are zero.
    data = bytearray(encode(white_noise(10.0), form="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)

    assert read(bytes(data)).duration == pytest.approx(10.0)


def refused(data, field="audio_data", **fields):
    with pytest.raises(InvalidPayloadError) as caught:
        read(data, **fields)
    assert caught.value.field == field
    assert "send" in str(caught.value)
    return str(caught.value)


NAN, INFINITE = np.full(1_600, np.nan, "<f4").tobytes(), np.full(1_600, np.inf, "<f4").tobytes()
SECOND = bytes(3_200)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (wav(bytes(64), size=0xFFFFFFF0, riff=0xFFFFFFFF), "0.002 s"),
        (wav(bytes(64), size=0xFFFFFFF0, channels=65_535, align=2), "cannot be decoded"),
        (wav(SECOND, channels=0), "cannot be decoded"),
        (wav(SECOND, channels=65_535, align=2), "cannot be decoded"),
        (wav(SECOND, channels=64), "64 channels"),
        (wav(SECOND, rate=0), "cannot be decoded"),
        (wav(SECOND, rate=1), "1 Hz"),
        (wav(SECOND, rate=2**32 - 1), "cannot be decoded"),
        (wav(SECOND, bits=0), "cannot be decoded"),
        (wav(SECOND)[:36] + wav(SECOND)[12:], "cannot be decoded"),
        (wav(), "0.000 s"),
        (wav(NAN, kind=3, bits=32), "not finite"),
        (wav(INFINITE, kind=3, bits=32), "not finite"),
        (wav(np.full(1_600, 3e4, "<f4").tobytes(), kind=3, bits=32), "scaled to"),
        (b"RIFF", "cannot be decoded"),
        (b"fLaC" + bytes(100), "cannot be decoded"),
        (b"OggS" + bytes(range(200)), "cannot be decoded"),
        (b"", "is empty"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "m4a"),
        (b"\x1aE\xdf\xa3" + bytes(100), "webm"),
    ],
)
def test_a_header_that_lies_is_refused_or_not_believed(data, says):
    # B5, B7
    assert says in refused(data, sample_rate=RATE)


@pytest.mark.parametrize("align", [0, 7])
def test_a_wrong_block_align_does_not_change_the_length(align):
    # B5
    assert read(wav(SECOND, align=align)).duration == pytest.approx(0.1)


def test_a_header_that_claims_gigabytes_costs_no_memory():
    # B5: at most 10 MB more
    data = wav(pcm(tone(1.0)), size=0xFFFFFFF0, riff=0xFFFFFFFF)
    read(data)
    tracemalloc.start()
    try:
        recording = read(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert recording.duration == pytest.approx(1.0, abs=0.01)
    assert most < 10_000_000


def test_silence_of_hours_is_refused_by_its_header_or_when_the_limit_is_reached():
    # B6
    config = SpeechConfig(max_audio_s=5.0)
    honest = encode(np.zeros(20 * RATE, np.float32), form="FLAC")
    mute = bytearray(honest)
    mute[21] &= 0xF0
    mute[22:26] = bytes(4)

    for data in (honest, bytes(mute)):
        with pytest.raises(InvalidPayloadError, match=r"send at most 5 s"):
            read_recording({"audio_data": data}, config)
    with pytest.raises(InvalidPayloadError, match=r"lasts 20.0 s"):
        read_recording({"audio_data": bytes(40 * RATE), "sample_rate": RATE}, config)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_largest_size_is_a_limit_on_bytes(extra):
    # R3
    size = 2 * RATE
    config = SpeechConfig(max_audio_bytes=size - extra)
    payload = {"audio_data": bytes(size), "sample_rate": RATE}

    if extra <= 0:
        assert read_recording(payload, config).duration == 1.0
    else:
        with pytest.raises(InvalidPayloadError, match=f"has {size} bytes; send at most {size - 1}"):
            read_recording(payload, config)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", ["librispeech-2412-153948-0000.flac", "LJ001-0001.mp3"])
def test_a_cut_off_upload_is_refused(name, part):
    data = sample(name)

    refused(data[: int(len(data) * part)])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "sample_rate"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": -16_000}, "sample_rate"),
        ({"sample_rate": 10**400}, "sample_rate"),
        ({"sample_rate": "16000"}, "sample_rate"),
        ({"sample_rate": True}, "sample_rate"),
        ({"sample_rate": float("nan")}, "sample_rate"),
        ({"sample_rate": RATE, "channels": 0}, "channels"),
        ({"sample_rate": RATE, "channels": 65_535}, "channels"),
        ({"sample_rate": RATE, "channels": 1.5}, "channels"),
        ({"sample_rate": RATE, "channels": 3}, "audio_data"),
    ],
)
def test_headerless_pcm_needs_a_rate_and_channels_that_fit(fields, field):
    with pytest.raises(InvalidPayloadError) as caught:
        read(bytes(3_200), **fields)
    assert caught.value.field == field


def test_an_odd_number_of_bytes_is_no_16_bit_pcm():
    assert "no whole number of 16-bit frames" in refused(bytes(3_201), sample_rate=RATE)


@pytest.mark.parametrize("count", [1, 511])
def test_less_than_one_window_of_speech_detection_is_refused(count):
    # B7: one sample
    refused(bytes(2 * count), sample_rate=RATE)
    assert len(read(bytes(2 * 512), sample_rate=RATE).samples) == 512


def test_denormals_and_constant_and_clipped_samples_are_fine():
    # B7
    for value in (1e-40, 0.5, 1.0, -1.0):
        recording = read(wav(np.full(1_600, value, "<f4").tobytes(), kind=3, bits=32))
        assert np.isfinite(recording.samples).all()


@pytest.mark.parametrize("head", [b"\xff\xfb\x90\x00", b"\xff\xf3\x40\x00", b"\xff\xfa\x10\x00"])
def test_pcm_that_happens_to_begin_like_an_mp3_frame_stays_pcm(head):
    data = head + pcm(tone(1.0))

    assert not is_container(data)
    assert read(data, sample_rate=RATE).format == "PCM"


@given(data=st.binary(max_size=300))
@example(b"\xff\xfb\xf0\x00")
def test_any_bytes_are_decoded_or_refused(data):
    # B5, B21
    try:
        recording = read(data, sample_rate=RATE)
    except InvalidPayloadError:
        return
    assert np.isfinite(recording.samples).all()


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 2**32), form=st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF"]))
def test_mutated_files_are_decoded_or_refused(seed, form):
    # Some of B8; ten thousand of them, and what is made of them, in test_audio_enhancement.py
    random = np.random.default_rng(seed)
    data = np.frombuffer(CLEAN[form], np.uint8).copy()
    places = random.integers(0, len(data), random.integers(1, 20))
    data[places] = random.integers(0, 256, len(places))
    try:
        recording = read(data[: random.integers(1, len(data) + 1)].tobytes(), sample_rate=RATE)
    except InvalidPayloadError:
        return
    assert np.isfinite(recording.samples).all()


CLEAN = {form: encode(tone(0.3), form=form) for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF")}


def test_decoding_leaves_no_descriptors_and_no_files():
    # B22
    before = psutil.Process().num_fds()
    for _ in range(20):
        read(CLEAN["FLAC"])
        refused(CLEAN["FLAC"][:50])

    assert psutil.Process().num_fds() == before


def test_a_sample_decoded_in_blocks_is_what_the_decoder_gives_in_one():
    signal = sample_signal("jfk.flac")

    samples = read(sample("jfk.flac")).samples

    assert len(samples) == len(signal)
    assert float(np.abs(samples - signal).max()) < 1e-3
