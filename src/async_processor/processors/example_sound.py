"""A short recording made on this machine, to try things on."""

from __future__ import annotations

import asyncio
import io
import math
import struct
import wave
from concurrent.futures import ThreadPoolExecutor

from ..config import SpeechConfig
from ..errors import ProcessorNotAvailableError, ProviderError
from .speech_synthesis import Speaker

SENTENCE = "hello my friend"
_RATE, _SECONDS, _HZ, _PEAK = 16_000, 1.0, 440.0, 8_000


def example_recording() -> bytes:
    """A WAV file: ``SENTENCE`` spoken where a synthesiser is installed, else a tone of one second."""
    # On a loop of its own in a thread: whoever calls this may be on one. By a program here, whatever settings say.
    with ThreadPoolExecutor(1) as thread:
        try:
            speech = thread.submit(lambda: asyncio.run(Speaker(SpeechConfig()).speak(SENTENCE))).result()
        except (ProcessorNotAvailableError, ProviderError):
            speech = None
    return tone() if speech is None else speech.wav


def tone() -> bytes:
    """A WAV file of one second of the concert pitch."""
    levels = [round(_PEAK * math.sin(2 * math.pi * _HZ * step / _RATE)) for step in range(round(_RATE * _SECONDS))]
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE)
        writer.writeframes(struct.pack(f"<{len(levels)}h", *levels))
    return file.getvalue()
