"""The recording that `make demo` plays to itself: heard in full, and understood as happy."""

from __future__ import annotations

from pathlib import Path

from tests.processors.recordings import context

from async_processor.config import ProcessorConfig
from async_processor.model import ProcessingTask, ProcessingType
from async_processor.processors import audio_transcription, emotion_analysis

RECORDING = Path(__file__).parents[2] / "examples" / "audio" / "hello_teddy.wav"
CONFIG = ProcessorConfig()


def test_every_word_is_heard_and_the_child_is_happy():
    data = RECORDING.read_bytes()
    hear = ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": data})
    feel = ProcessingTask(ProcessingType.EMOTION_ANALYSIS, {"audio_data": data})

    heard = audio_transcription.processor_spec(CONFIG).func(hear, context(hear))
    felt = emotion_analysis.processor_spec(CONFIG).func(feel, context(feel, heard))

    assert heard["transcription"] == "hello my teddy i am so happy today can you tell me a story"
    assert felt["primary_emotion"] == "happy"
    assert felt["basis"] == ["prosody", "text"]
    assert len(data) < 150_000
