"""The results of the built-in task types as dataclasses: the one place that says which keys each has.

A task results in a plain dict, which goes through stores, processes and JSON as it is. ``of`` reads it as the class
of its type: ``AudioTranscriptionResult.of(result).segments[0].words[0].start``. CUSTOM has no class: what its
function returns is the caller's own. See docs/modules/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InvalidResultError
from ..model import ProcessingType, TaskResult
from .ai_response import AIResponseResult
from .audio_enhancement import AudioEnhancementResult
from .audio_transcription import AudioTranscriptionResult
from .base import Record, Result
from .data_analytics import (
    CorrelationResult,
    DataAnalyticsResult,
    GroupByResult,
    OutliersResult,
    SqlResult,
    SummaryResult,
    TimeSeriesResult,
)
from .database_operation import DatabaseOperationResult, RowsResult, TransactionResult
from .emotion_analysis import ChatEmotionResult, EmotionAnalysisResult
from .image_generation import ImageGenerationResult
from .image_processing import ImageProcessingResult
from .notification import NotificationResult
from .spoken_answer import SpokenAnswerResult
from .text_analysis import TextAnalysisResult

__all__ = [
    "RESULT_CLASSES",
    "AIResponseResult",
    "AudioEnhancementResult",
    "AudioTranscriptionResult",
    "ChatEmotionResult",
    "CorrelationResult",
    "DataAnalyticsResult",
    "DatabaseOperationResult",
    "EmotionAnalysisResult",
    "GroupByResult",
    "ImageGenerationResult",
    "ImageProcessingResult",
    "NotificationResult",
    "OutliersResult",
    "Record",
    "Result",
    "RowsResult",
    "SpokenAnswerResult",
    "SqlResult",
    "SummaryResult",
    "TextAnalysisResult",
    "TimeSeriesResult",
    "TransactionResult",
    "read_result",
]

RESULT_CLASSES: Mapping[str, type[Result]] = {
    ProcessingType.AUDIO_TRANSCRIPTION: AudioTranscriptionResult,
    ProcessingType.AUDIO_ENHANCEMENT: AudioEnhancementResult,
    ProcessingType.EMOTION_ANALYSIS: EmotionAnalysisResult,
    ProcessingType.AI_RESPONSE: AIResponseResult,
    ProcessingType.IMAGE_GENERATION: ImageGenerationResult,
    ProcessingType.IMAGE_PROCESSING: ImageProcessingResult,
    ProcessingType.TEXT_ANALYSIS: TextAnalysisResult,
    ProcessingType.DATA_ANALYTICS: DataAnalyticsResult,
    ProcessingType.DATABASE_OPERATION: DatabaseOperationResult,
    ProcessingType.NOTIFICATION: NotificationResult,
    "spoken_answer": SpokenAnswerResult,
}
"""The class of each built-in type that has one."""


def read_result(result: TaskResult) -> Result:
    """Read how a task of any built-in type ended, by its type. Who knows the type asks its class: ``Class.of``.

    Raises:
        TaskFailedError, TaskTimeoutError, TaskCancelledError: it did not complete.
        InvalidResultError: its type has no class, or the result is not of its form.
    """
    kind = RESULT_CLASSES.get(result.task_type)
    if kind is None:
        raise InvalidResultError(
            f"tasks of type {str(result.task_type)!r} have no class for their results; use result.unwrap()",
            task_id=result.task_id,
        )
    return kind.of(result)
