"""The processor functions that come with the library."""

from __future__ import annotations

from ..config import ProcessorConfig
from ..model import ProcessingType
from . import (
    ai_response,
    audio_enhancement,
    audio_transcription,
    custom,
    data_analytics,
    database_operation,
    emotion_providers,
    image_generation,
    image_processing,
    notification,
    spoken_answer,
    text_analysis,
)
from .registry import ProcessorRegistry


def builtin_registry(config: ProcessorConfig) -> ProcessorRegistry:
    """A registry that holds every built-in processor there is. Loads no library: each does at its first task."""
    return ProcessorRegistry(
        {
            ProcessingType.AUDIO_TRANSCRIPTION: audio_transcription.processor_spec(config),
            ProcessingType.AUDIO_ENHANCEMENT: audio_enhancement.processor_spec(config),
            ProcessingType.EMOTION_ANALYSIS: emotion_providers.processor_spec(config),
            ProcessingType.AI_RESPONSE: ai_response.processor_spec(config),
            ProcessingType.IMAGE_GENERATION: image_generation.processor_spec(config),
            ProcessingType.IMAGE_PROCESSING: image_processing.processor_spec(config),
            ProcessingType.DATA_ANALYTICS: data_analytics.processor_spec(config),
            ProcessingType.DATABASE_OPERATION: database_operation.processor_spec(config),
            ProcessingType.TEXT_ANALYSIS: text_analysis.processor_spec(config),
            ProcessingType.NOTIFICATION: notification.processor_spec(config),
            ProcessingType.CUSTOM: custom.processor_spec(config),
            spoken_answer.SPOKEN_ANSWER: spoken_answer.processor_spec(config),
        }
    )
