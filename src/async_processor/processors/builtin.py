"""The processor functions that come with the library."""

from __future__ import annotations

from ..config import ProcessorConfig
from ..model import ProcessingType
from . import ai_response, audio_transcription, custom, emotion_analysis, notification
from .registry import ProcessorRegistry


def builtin_registry(config: ProcessorConfig) -> ProcessorRegistry:
    """A registry that holds every built-in processor there is. Loads no library: each does at its first task."""
    return ProcessorRegistry(
        {
            ProcessingType.AUDIO_TRANSCRIPTION: audio_transcription.processor_spec(config),
            ProcessingType.EMOTION_ANALYSIS: emotion_analysis.processor_spec(config),
            ProcessingType.AI_RESPONSE: ai_response.processor_spec(config),
            ProcessingType.NOTIFICATION: notification.processor_spec(config),
            ProcessingType.CUSTOM: custom.processor_spec(config),
        }
    )
