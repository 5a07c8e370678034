"""A bad payload of any built-in type: FAILED, with what to send instead, once, and the slot is free for the next."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.processors.ai.server import LoopbackServer, answers

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskStatus, create_task

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "audio" / "hello_teddy.wav"
# A GIF of one pixel.
PIXEL = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"

BAD: list[tuple[ProcessingType, dict[str, Any], str]] = [
    (ProcessingType.AUDIO_TRANSCRIPTION, {}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b""}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b"RIFF\xf0\xff\xff\xffWAVEjunk"}, "audio_data"),
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": b"\0" * 32_000, "language": "xx"}, "language"),
    (ProcessingType.AUDIO_ENHANCEMENT, {}, "audio_data"),
    (ProcessingType.AUDIO_ENHANCEMENT, {"audio_data": b"fLaC" + bytes(100)}, "audio_data"),
    (
        ProcessingType.AUDIO_ENHANCEMENT,
        {"audio_data": b"\0" * 32_000, "sample_rate": 16_000, "target_lufs": 3},
        "target_lufs",
    ),
    (ProcessingType.EMOTION_ANALYSIS, {}, "audio_data"),
    (ProcessingType.EMOTION_ANALYSIS, {"text": "hello", "analysis_type": "astrology"}, "analysis_type"),
    (ProcessingType.EMOTION_ANALYSIS, {"text": 3}, "text"),
    (ProcessingType.AI_RESPONSE, {}, "prompt"),
    (ProcessingType.AI_RESPONSE, {"prompt": "hi", "max_tokens": 10**9}, "max_tokens"),
    (ProcessingType.AI_RESPONSE, {"prompt_template": "no such"}, "prompt_template"),
    (ProcessingType.IMAGE_GENERATION, {}, "prompt"),
    (ProcessingType.IMAGE_GENERATION, {"prompt": "a bear", "size": "huge"}, "size"),
    (ProcessingType.IMAGE_GENERATION, {"prompt": "a bear", "steps": 10**9}, "steps"),
    (ProcessingType.IMAGE_PROCESSING, {}, "image_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": b"GIF89a"}, "image_data"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": PIXEL, "operation": "face_blur"}, "operation"),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": PIXEL, "operations": [{"operation": "resize"}]}, "operations"),
    (ProcessingType.DATA_ANALYTICS, {}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 10**400}]}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": b"junk", "format": "parquet"}, "data"),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}], "analysis_type": "sql", "query": "DROP VIEW data"}, "query"),
    (ProcessingType.DATABASE_OPERATION, {}, "operation"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "delete", "table": "toys"}, "where"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "sql", "sql": "DROP TABLE toys"}, "sql"),
    (ProcessingType.DATABASE_OPERATION, {"operation": "select", "table": "toys", "connection": "memory"}, "table"),
    (ProcessingType.TEXT_ANALYSIS, {}, "text"),
    (ProcessingType.TEXT_ANALYSIS, {"text": b"bytes"}, "text"),
    (ProcessingType.TEXT_ANALYSIS, {"text": "hello", "analysis_type": "entities"}, "analysis_type"),
    (ProcessingType.NOTIFICATION, {}, "message"),
    (ProcessingType.NOTIFICATION, {"message": "hello", "channel": "nowhere"}, "channel"),
    (ProcessingType.NOTIFICATION, {"message": "hello", "subject": "a\r\nBcc: b@example.org"}, "subject"),
    (ProcessingType.CUSTOM, {}, "processor"),
    (ProcessingType.CUSTOM, {"processor": "os.system"}, "processor"),
]
GOOD: dict[ProcessingType, dict[str, Any]] = {
    ProcessingType.AUDIO_TRANSCRIPTION: {"audio_data": b"\0" * 32_000, "sample_rate": 16_000},
    ProcessingType.AUDIO_ENHANCEMENT: {"audio_data": b"\0" * 32_000, "sample_rate": 16_000},
    ProcessingType.EMOTION_ANALYSIS: {"text": "I am happy"},
    ProcessingType.AI_RESPONSE: {"prompt": "hello"},
    ProcessingType.IMAGE_GENERATION: {"prompt": "a bear", "size": "32x32"},
    ProcessingType.IMAGE_PROCESSING: {"image_data": PIXEL, "operation": "grayscale"},
    ProcessingType.DATA_ANALYTICS: {"data": [{"a": 1}]},
    ProcessingType.DATABASE_OPERATION: {"connection": "memory", "operation": "sql", "sql": "SELECT 1"},
    ProcessingType.TEXT_ANALYSIS: {"text": "I am happy"},
    ProcessingType.NOTIFICATION: {"message": "hello"},
    ProcessingType.CUSTOM: {"processor": len},
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def processor() -> AsyncIterator[AdvancedAsyncProcessor]:
    # One slot each: a slot that stayed taken would keep the good task waiting for ever.
    receiver = LoopbackServer(answers(200, {}))
    await receiver.start()
    config = ProcessorConfig.from_env(
        {
            "ASYNC_PROCESSOR_AI_PROVIDER": "scripted",
            "ASYNC_PROCESSOR_IMAGE_GENERATION_PROVIDER": "procedural",
            "ASYNC_PROCESSOR_NOTIFY_CHANNELS": f'{{"receiver": "json://127.0.0.1:{receiver.port}/"}}',
            "ASYNC_PROCESSOR_NOTIFY_ALLOW_PRIVATE_NETWORKS": "true",
        }
    )
    made = AdvancedAsyncProcessor(1, 1, 1, config=config)
    async with made:
        yield made
    await receiver.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("task_type", "payload", "field"), BAD)
async def test_a_bad_payload_fails_once_and_says_what_to_send(
    processor: AdvancedAsyncProcessor, task_type: ProcessingType, payload: dict[str, Any], field: str
) -> None:
    bad, good = create_task(task_type, payload), create_task(task_type, GOOD[task_type])
    for task in (bad, good):
        await processor.submit_task(task)

    failed = await processor.wait_for_task(bad.id, timeout=50.0)
    after = await processor.wait_for_task(good.id, timeout=50.0)

    assert (failed.status, failed.error_type, failed.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)
    assert field in (failed.error or "")
    assert re.search(r"\b(?:must be|send)\b", failed.error or ""), failed.error
    assert after.status is TaskStatus.COMPLETED, after.error
