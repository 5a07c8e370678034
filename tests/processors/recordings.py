"""Recordings for tests: the public samples, where they are, and sounds made here."""

from __future__ import annotations

import functools
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from async_processor.config import SpeechConfig
from async_processor.context import DependencyResults, TaskContext
from async_processor.model import ProcessingTask, ProcessingType, TaskResult, TaskStatus

RATE = 16_000
CONFIG = SpeechConfig()

# What is said in each, in plain lower-case words.
TRANSCRIPTS = {
    "jfk.flac": (
        "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    ),
    "LJ001-0001.mp3": (
        "printing in the only sense with which we are at present concerned differs from most if not from all the arts"
        " and crafts represented in the exhibition"
    ),
    "sense-0870.wav": (
        "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do"
        " for them"
    ),
    "sense-0880.wav": "he was not an ill disposed young man",
    "librispeech-2412-153948-0000.flac": (
        "if the reader will excuse me i will say nothing of my antecedents nor of the circumstances which led me to"
        " leave my native country the narrative would be tedious to him and painful to myself"
    ),
    "one-two-three.wav": "one two three",
    "cards-005.wav": "eight of spades four of clubs seven of hearts",
    "goforward.raw": "go forward ten meters",
}
SECONDS = {
    "jfk.flac": 11.0, "LJ001-0001.mp3": 9.66, "sense-0870.wav": 7.1, "sense-0880.wav": 2.99,
    "librispeech-2412-153948-0000.flac": 11.66, "one-two-three.wav": 2.74, "cards-005.wav": 3.5, "goforward.raw": 2.79,
}  # fmt: skip
COMMANDS = ("one-two-three.wav", "cards-005.wav", "goforward.raw")


@functools.cache
def _folder() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        folder = parent / "shared" / "samples"
        if folder.is_dir():
            return folder
    return None


def sample(name: str) -> bytes:
    """The bytes of a sample recording; skips the test where there are none."""
    folder = _folder()
    if folder is None:
        pytest.skip("needs the sample recordings: put them into ../shared/samples beside the project")
    return (folder / name).read_bytes()


def sample_payload(name: str) -> dict:
    return {"audio_data": sample(name), "sample_rate": RATE}


def sample_signal(name: str) -> np.ndarray:
    """A sample recording as mono float32 at 16 kHz, decoded without the code under test."""
    data = sample(name)
    if name.endswith(".raw"):
        return np.frombuffer(data, "<i2").astype(np.float32) / 32_768
    signal, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return soxr.resample(signal.mean(axis=1), rate, RATE)


def encode(signal: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, signal, rate, format=form, subtype=subtype)
    return target.getvalue()


def pcm(signal: np.ndarray) -> bytes:
    return (np.clip(signal, -1, 1) * 32_767).astype("<i2").tobytes()


def wav(data: bytes = b"", **header: int) -> bytes:
    """A WAV file whose header says what it is told to, true or not."""
    channels, rate, bits = header.get("channels", 1), header.get("rate", RATE), header.get("bits", 16)
    align = header.get("align", channels * bits // 8)
    form = struct.pack(
        "<HHIIHH", header.get("kind", 1), channels % 65_536, rate, rate * align % 2**32, align % 65_536, bits
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", header.get("size", len(data)))
    return b"RIFF" + struct.pack("<I", header.get("riff", len(body) + len(data))) + body + data


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def white_noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE)).astype(np.float32)


def pink_noise(seconds: float) -> np.ndarray:
    spectrum = np.fft.rfft(white_noise(seconds))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    signal = np.fft.irfft(spectrum)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)


def tone(seconds: float, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def context(task: ProcessingTask, transcription: object = None, progress=None) -> TaskContext:
    """A context in which, if given, a transcription is what the task depended on."""
    heard = TaskResult(
        task_id="heard",
        status=TaskStatus.COMPLETED,
        result=transcription,
        task_type=ProcessingType.AUDIO_TRANSCRIPTION,
    )
    dependencies = DependencyResults({} if transcription is None else {"heard": heard})
    return TaskContext(task_id=task.id, task_type=task.task_type, dependencies=dependencies, progress=progress)
