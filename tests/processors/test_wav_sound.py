"""WAV files that a program or a server made: their sound is found, whatever their headers claim."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tests.processors.recordings import RATE, pcm, tone

from async_processor.processors.samples import to_wav
from async_processor.processors.wav_sound import WavError, read_wav

SOUND = pcm(tone(0.1))
WAV = to_wav(SOUND, RATE)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(content) if size is None else size) + content + bytes(len(content) % 2)


def form(kind: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, extra: bytes = b"") -> bytes:
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, rate & 0xFFFFFFFF, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    return chunk(b"fmt ", head + extra)


def riff(*chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + b"".join(chunks)


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFF000])
def test_the_sound_is_found_whatever_size_the_header_claims(size: int | None):
    found = read_wav(riff(form(), chunk(b"data", SOUND, size)))

    assert (found.pcm, found.sample_rate, found.channels) == (SOUND, RATE, 1)
    assert found.duration == pytest.approx(0.1)
    assert found.file() == WAV, "written anew, with the true sizes"


def test_what_comes_before_and_after_the_sound_is_passed_over():
    tags = chunk(b"LIST", b"INFOISFT\x05\x00\x00\x00bear\x00")

    found = read_wav(riff(tags, form(), chunk(b"fact", bytes(4)), chunk(b"data", SOUND), tags))

    assert found.pcm == SOUND


def test_half_a_frame_at_the_end_is_left_out():
    assert read_wav(riff(form(channels=2), chunk(b"data", SOUND + b"xxx"))).pcm == SOUND


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_files_of_a_library_are_read(channels: int, rate: int):
    signal = np.round(np.random.default_rng(5).uniform(-0.5, 0.5, (480, channels)) * 32_768) / 32_768
    for kind in ("WAV", "WAVEX"):
        file = io.BytesIO()
        soundfile.write(file, signal, rate, format=kind, subtype="PCM_16")

        found = read_wav(file.getvalue())

        assert (found.sample_rate, found.channels, found.duration) == (rate, channels, pytest.approx(480 / rate))
        assert np.array_equal(np.frombuffer(found.pcm, "<i2").reshape(-1, channels) / 32_768, signal)


@pytest.mark.parametrize(
    "data",
    [
        b"ID3\x04" + bytes(100), b"{}" * 50, b"OggS" + bytes(100), WAV.replace(b"WAVE", b"AVI "),
        riff(form(kind=3, bits=32), chunk(b"data", SOUND)), riff(form(bits=8), chunk(b"data", SOUND)),
        riff(form(kind=0xFFFE), chunk(b"data", SOUND)), riff(form(channels=0), chunk(b"data", SOUND)),
        riff(form(channels=65_535), chunk(b"data", SOUND)), riff(form(rate=0), chunk(b"data", SOUND)),
        riff(form(rate=2**32 - 1), chunk(b"data", SOUND)), riff(chunk(b"data", SOUND), form()),
        riff(chunk(b"fmt ", bytes(6)), chunk(b"data", SOUND)),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(data: bytes):  # B5
    with pytest.raises(WavError, match="something else than a WAV file"):
        read_wav(data)


@pytest.mark.parametrize("data", [b"", b"RIFF", WAV[:44], riff(form()), riff(form(), chunk(b"data", b"\0"))])
def test_a_file_without_sound_is_refused(data: bytes):
    with pytest.raises(WavError, match="no sound"):
        read_wav(data)


def test_a_million_empty_chunks_are_not_walked_through():
    data = riff(form(), chunk(b"junk", b"") * 1_000_000, chunk(b"data", SOUND))
    began = time.process_time()

    with pytest.raises(WavError, match="no sound"):
        read_wav(data)

    assert time.process_time() - began < 0.05


@given(st.binary(max_size=200), st.integers(0, len(WAV)), st.integers(0, 60))
def test_whatever_the_bytes_are_there_is_a_sound_or_a_clean_error(noise: bytes, at: int, dropped: int):  # B5
    for data in (noise, WAV[:at] + noise + WAV[at + dropped :], b"RIFFxxxxWAVE" + noise):
        try:
            found = read_wav(data)
        except WavError:
            continue
        assert 0 < len(found.pcm) <= len(data)
        assert read_wav(found.file()) == found
