"""A payload that works for each built-in type, and bad ones: for tests that bind all types together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.processors.ai.server import LoopbackServer, answers

from async_processor import ProcessingType, ProcessorConfig
from async_processor.processors.builtin import builtin_registry
from async_processor.processors.spoken_answer import SPOKEN_ANSWER

# A GIF of one pixel.
PIXEL = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
PCM = {"audio_data": b"\0" * 32_000, "sample_rate": 16_000}


def count_fields(payload: dict[str, Any]) -> int:
    return len(payload)


GOOD: dict[str, dict[str, Any]] = {
    ProcessingType.AUDIO_TRANSCRIPTION: PCM,
    ProcessingType.AUDIO_ENHANCEMENT: PCM,
    ProcessingType.EMOTION_ANALYSIS: {"text": "I am happy"},
    ProcessingType.AI_RESPONSE: {"prompt": "hello"},
    ProcessingType.IMAGE_GENERATION: {"prompt": "a bear", "size": "32x32"},
    ProcessingType.IMAGE_PROCESSING: {"image_data": PIXEL, "operation": "grayscale"},
    ProcessingType.DATA_ANALYTICS: {"data": [{"a": 1}]},
    ProcessingType.DATABASE_OPERATION: {"connection": "memory", "operation": "sql", "sql": "SELECT 1"},
    ProcessingType.TEXT_ANALYSIS: {"text": "I am happy"},
    ProcessingType.NOTIFICATION: {"message": "hello"},
    ProcessingType.CUSTOM: {"processor": count_fields},
    SPOKEN_ANSWER: {"text": "hello"},
}
BUILT_IN = list(builtin_registry(ProcessorConfig()).types())


@asynccontextmanager
async def configured() -> AsyncIterator[ProcessorConfig]:
    """Settings under which every good payload is done on this machine, with a receiver for notifications."""
    receiver = LoopbackServer(answers(200, {}))
    await receiver.start()
    try:
        yield ProcessorConfig.from_env(
            {
                "ASYNC_PROCESSOR_AI_PROVIDER": "scripted",
                "ASYNC_PROCESSOR_IMAGE_GENERATION_PROVIDER": "procedural",
                "ASYNC_PROCESSOR_NOTIFY_CHANNELS": f'{{"receiver": "json://127.0.0.1:{receiver.port}/"}}',
                "ASYNC_PROCESSOR_NOTIFY_ALLOW_PRIVATE_NETWORKS": "true",
            }
        )
    finally:
        await receiver.aclose()


# ---- what breaks the schema of its type: type, payload, the field that the error names

BREAKS_SCHEMA: list[tuple[str, dict[str, Any], str]] = [
    (ProcessingType.AUDIO_TRANSCRIPTION, {}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": "UklGRg=="}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b""}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": bytes(50_000_001)}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b"\0\0\0\x20ftypM4A "}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": bytes(32_000)}, "sample_rate"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {**PCM, "sample_rate": "16000"}, "sample_rate"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {**PCM, "language": "xx"}, "language"),
    (ProcessingType.AUDIO_ENHANCEMENT, {}, "audio_data"),
    (ProcessingType.AUDIO_ENHANCEMENT, {**PCM, "target_lufs": 3}, "target_lufs"),
    (ProcessingType.AUDIO_ENHANCEMENT, {**PCM, "noise_reduction": "yes"}, "noise_reduction"),
    (ProcessingType.EMOTION_ANALYSIS, {}, "audio_data"),
    (ProcessingType.EMOTION_ANALYSIS, {"analysis_type": "text"}, "text"),
    (ProcessingType.EMOTION_ANALYSIS, {"text": "hello", "analysis_type": "astrology"}, "analysis_type"),
    (ProcessingType.EMOTION_ANALYSIS, {"text": 3}, "text"),
    (ProcessingType.EMOTION_ANALYSIS, {"audio_data": 3}, "audio_data"),
    (ProcessingType.EMOTION_ANALYSIS, {"text": "hello", "baseline": {"pitch_hz": -1}}, "baseline.pitch_hz"),
    (ProcessingType.AI_RESPONSE, {}, "prompt"),
    (ProcessingType.AI_RESPONSE, {"prompt": "hi", "max_tokens": 10**9}, "max_tokens"),
    (ProcessingType.AI_RESPONSE, {"prompt_template": "no such"}, "prompt_template"),
    (ProcessingType.AI_RESPONSE, {"prompt_template": "child_interaction"}, "prompt_template"),
    (ProcessingType.AI_RESPONSE, {"prompt": "hi", "context": []}, "context"),
    (ProcessingType.IMAGE_GENERATION, {}, "prompt"),
    (ProcessingType.IMAGE_GENERATION, {"prompt": "a bear", "size": "huge"}, "size"),
    (ProcessingType.IMAGE_GENERATION, {"prompt": "a bear", "steps": 10**9}, "steps"),
    (ProcessingType.IMAGE_PROCESSING, {}, "image_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": "R0lGODlh"}, "image_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": PIXEL, "operation": "face_blur"}, "operation"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": PIXEL, "operations": [{"operation": "resize"}]}, "operations"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": PIXEL, "output_format": "BMP"}, "output_format"),
    (ProcessingType.DATA_ANALYTICS, {}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [1, 2]}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": b"a\n1\n"}, "format"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}], "analysis_type": "group_by"}, "by"),
    (ProcessingType.DATABASE_OPERATION, {}, "operation"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "delete", "table": "toys"}, "where"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "sql", "sql": "DROP TABLE toys"}, "sql"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "insert", "table": "t", "values": {"a": object}}, "values"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "insert", "table": "t", "values": [{"a": 1}] * 10_001}, "values"),
    (ProcessingType.TEXT_ANALYSIS, {}, "text"),
    (ProcessingType.TEXT_ANALYSIS, {"text": b"bytes"}, "text"),
    (ProcessingType.TEXT_ANALYSIS, {"text": "hello", "analysis_type": "entities"}, "analysis_type"),
    (ProcessingType.NOTIFICATION, {}, "message"),
    (ProcessingType.NOTIFICATION, {"message": "hello", "channel": "nowhere"}, "channel"),
    (ProcessingType.NOTIFICATION, {"message": "hello", "subject": "a\r\nBcc: b@example.org"}, "subject"),
    (ProcessingType.CUSTOM, {}, "processor"),
    (ProcessingType.CUSTOM, {"processor": "os.system"}, "processor"),
    (ProcessingType.CUSTOM, {"processor": lambda: None}, "processor"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}], "chart": "bar"}, "chart"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}], "chart": {"kind": "pie"}}, "chart"),
    (SPOKEN_ANSWER, {}, "text"),
    (SPOKEN_ANSWER, {"text": "x" * 1_001}, "text"),
]

# ---- what is of the right form, and is found to be of no use when it is looked into

OF_NO_USE: list[tuple[str, dict[str, Any], str]] = [
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b"RIFF\xf0\xff\xff\xffWAVEjunk"}, "audio_data"),
    (ProcessingType.AUDIO_ENHANCEMENT, {"audio_data": b"fLaC" + bytes(100)}, "audio_data"),
    (ProcessingType.EMOTION_ANALYSIS, {"audio_data": b"OggS" + bytes(100)}, "audio_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": b"GIF89a"}, "image_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": random.Random(21).randbytes(1_000)}, "image_data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 10**400}]}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}] * 2_000 + [3]}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": b"junk", "format": "parquet"}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}], "analysis_type": "sql", "query": "DROP VIEW data"}, "query"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "select", "table": "toys", "connection": "memory"}, "table"),
    (
        ProcessingType.DATABASE_OPERATION,
        {
            "operation": "insert",
            "table": "toys",
            "connection": "memory",
            "values": [{"a": 1}] * 2_000 + [{"a": object}],
        },
        "values",
    ),
]
