"""The voice processors where they run: in worker processes, beside payloads that are no good."""

from __future__ import annotations

import pytest
from tests.processors.recordings import RATE, sample_payload

from async_processor import ProcessingType, TaskStatus, create_processor, create_task

pytestmark = pytest.mark.timeout(180)  # real processes that load real models
HEAR, FEEL = ProcessingType.AUDIO_TRANSCRIPTION, ProcessingType.EMOTION_ANALYSIS


@pytest.fixture
async def processor():
    processor = await create_processor(max_process_workers=1)
    yield processor
    await processor.shutdown(timeout=1)


async def run(processor, task):
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=150)


async def test_words_that_were_heard_reach_the_emotion_that_waits_for_them(processor):
    payload = {**sample_payload("goforward.raw"), "child_id": "child-1"}
    hear = create_task(HEAR, payload)
    feel = create_task(FEEL, payload, depends_on=[hear.id])

    await processor.submit_task(hear)
    felt = await run(processor, feel)

    assert (await processor.get_task_result(hear.id)).result["transcription"] == "go forward ten meters"
    assert felt.result["basis"] == ["prosody", "text"]
    assert felt.worker_id == "process-0"


async def test_a_bad_payload_fails_at_once_and_the_next_task_works(processor):
    # B5, B6
    bad = await run(processor, create_task(HEAR, {"audio_data": b"RIFF" + bytes(40), "sample_rate": RATE}))

    assert (bad.status, bad.error_type, bad.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)
    assert "cannot be decoded" in bad.error
    good = await run(processor, create_task(HEAR, sample_payload("goforward.raw")))
    assert good.result["transcription"] == "go forward ten meters"


async def test_a_recognition_is_ended_at_its_timeout_and_the_next_task_works(processor):
    # B22; the recogniser cannot be interrupted, so its process is.
    slow = await run(processor, create_task(HEAR, sample_payload("jfk.flac"), timeout=1.0, max_retries=0))

    assert slow.status is TaskStatus.TIMEOUT
    good = await run(processor, create_task(HEAR, sample_payload("goforward.raw")))
    assert good.result["transcription"] == "go forward ten meters"
