"""The guide, section by section: what it shows is done here, with real recordings and without keys."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from async_processor import (
    AdvancedAsyncProcessor,
    DuplicateTaskError,
    PerformanceMonitor,
    ProcessingTask,
    ProcessingType,
    ProcessorConfig,
    TaskManager,
    TaskPriority,
    TaskStatus,
    create_processor,
    create_task,
)

ROOT = Path(__file__).resolve().parents[2]
# A sentence that the project brings itself, so that the guide's flow runs everywhere.
SPEECH = ROOT / "examples" / "audio" / "hello_teddy.wav"


@pytest.fixture
async def processor() -> AsyncIterator[AdvancedAsyncProcessor]:
    made = await create_processor(max_workers=5, enable_monitoring=True)
    yield made
    await made.shutdown()


@pytest.fixture
def audio_bytes() -> bytes:
    return SPEECH.read_bytes()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples must run without keys, also on a machine that has some."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_enums_have_the_members_and_values_of_the_guide() -> None:
    assert [item.value for item in ProcessingType] == [
        "audio_transcription", "audio_enhancement", "ai_response", "emotion_analysis", "image_generation",
        "image_processing", "text_analysis", "data_analytics", "database_operation", "notification", "custom",
    ]  # fmt: skip
    assert {item.name: item.value for item in TaskPriority} == {
        "CRITICAL": 1, "HIGH": 2, "NORMAL": 3, "LOW": 4, "BATCH": 5,
    }  # fmt: skip
    assert [item.value for item in TaskStatus] == ["pending", "running", "completed", "failed", "cancelled", "timeout"]


# ---- Quick start


async def test_basic_usage_answers_without_a_key(processor: AdvancedAsyncProcessor) -> None:
    task = create_task(
        ProcessingType.AI_RESPONSE, {"prompt": "Hello, how are you?", "model": "gpt-3.5-turbo"}, TaskPriority.HIGH
    )

    result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    assert result.status is TaskStatus.COMPLETED, result.error
    assert result.result["response"]
    assert result.result["generated"] is False
    assert result.result["model"] != "gpt-3.5-turbo"


async def test_task_dependencies_carry_what_was_heard_and_felt(
    processor: AdvancedAsyncProcessor, audio_bytes: bytes
) -> None:
    heard = create_task(ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": audio_bytes}, TaskPriority.HIGH)
    felt = create_task(
        ProcessingType.EMOTION_ANALYSIS, {"audio_data": audio_bytes}, TaskPriority.HIGH, depends_on=[heard.id]
    )
    answer = create_task(
        ProcessingType.AI_RESPONSE,
        {"prompt": "Generate response based on emotion"},
        TaskPriority.NORMAL,
        depends_on=[heard.id, felt.id],
    )
    for task in (heard, felt, answer):
        await processor.submit_task(task)

    final = await processor.wait_for_task(answer.id, timeout=60.0)

    assert final.status is TaskStatus.COMPLETED, final.error
    transcription = (await processor.wait_for_task(heard.id)).result
    assert {"transcription", "confidence", "language", "duration", "segments"} <= transcription.keys()
    assert transcription["transcription"]
    emotion = (await processor.wait_for_task(felt.id)).result
    assert {
        "primary_emotion", "confidence", "secondary_emotions", "arousal", "valence", "analysis_method",
    } <= emotion.keys()  # fmt: skip
    assert {"response", "provider", "model", "tokens_used"} <= final.result.keys()


async def test_what_a_recording_says_of_itself_goes_before_what_the_payload_says(
    processor: AdvancedAsyncProcessor, audio_bytes: bytes
) -> None:
    """The guide passes 44,100 for any recording; that of a file is in the file."""
    answers = []
    for more in ({}, {"sample_rate": 44100, "language": "en"}):
        task = create_task(
            ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": audio_bytes, **more}, TaskPriority.HIGH, timeout=30.0
        )
        answers.append(await processor.wait_for_task(await processor.submit_task(task), timeout=60.0))

    assert answers[0].ok, answers[0].error
    assert answers[1].result == answers[0].result


# ---- Advanced configuration


async def test_the_constructor_takes_every_argument_of_the_guide() -> None:
    processor = AdvancedAsyncProcessor(
        max_workers=10,
        max_thread_workers=5,
        max_process_workers=2,
        queue_size=1000,
        enable_monitoring=True,
        enable_profiling=False,
    )
    assert not processor._running

    await processor.start()
    assert processor._running
    metrics = await processor.get_performance_metrics()
    await processor.shutdown()

    assert not processor._running
    lanes = [name.split("-")[0] for name in metrics["worker_stats"]]
    assert (lanes.count("async"), lanes.count("thread"), lanes.count("process")) == (10, 5, 2)


def test_a_task_takes_every_field_of_the_guide() -> None:
    task = ProcessingTask(
        task_type=ProcessingType.AUDIO_ENHANCEMENT,
        payload={"audio_data": b"\0" * 100, "sample_rate": 44100},
        priority=TaskPriority.HIGH,
        timeout=30.0,
        max_retries=3,
        cpu_intensive=True,
        memory_intensive=False,
        io_bound=False,
        tags={"user_session", "audio"},
        depends_on=["parent_task_id"],
    )

    shown = json.loads(json.dumps(task.to_dict(), indent=2))

    assert shown["task_type"] == "audio_enhancement"
    assert shown["priority"] == "HIGH"
    assert shown["tags"] == ["audio", "user_session"]
    assert shown["depends_on"] == ["parent_task_id"]
    assert shown["payload"]["audio_data"]["bytes"] == 100


async def test_create_task_takes_every_option_of_the_guide() -> None:
    options: dict[str, Any] = {
        "priority": TaskPriority.HIGH, "timeout": 10.0, "max_retries": 3, "cpu_intensive": True,
        "memory_intensive": True, "io_bound": True, "tags": {"debug", "user_session_123", "test_case"},
        "depends_on": ["parent_task_id"],
    }  # fmt: skip
    task = create_task(ProcessingType.AI_RESPONSE, {"prompt": "Hello"}, **options)

    assert task.id
    assert (task.task_type, task.payload) == (ProcessingType.AI_RESPONSE, {"prompt": "Hello"})
    assert {name: getattr(task, name) for name in options} == options | {"depends_on": ("parent_task_id",)}
    assert json.loads(json.dumps(task.to_dict(), indent=2))["tags"] == ["debug", "test_case", "user_session_123"]


async def test_profiling_and_detailed_logging_may_be_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with AdvancedAsyncProcessor(enable_monitoring=True, enable_profiling=True) as processor:
        task = create_task(ProcessingType.CUSTOM, {"processor": lambda payload: payload["input"] * 2, "input": 21})
        result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)
        metrics = await processor.get_performance_metrics()

    assert result.result == 42
    assert [attempt["task_id"] for attempt in metrics["slowest"]["custom"]] == [task.id]
    assert "cpu_time" in result.details


# ---- Performance monitoring


async def test_metrics_have_the_keys_of_the_guide(processor: AdvancedAsyncProcessor) -> None:
    task = create_task(ProcessingType.CUSTOM, {"processor": lambda payload: payload["input"] + 1, "input": 1})
    await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    metrics = await processor.get_performance_metrics()

    assert metrics["tasks_processed"] == 1
    assert metrics["success_rate"] == 100.0
    assert metrics["average_execution_time"] >= 0.0
    assert metrics["current_throughput"] > 0.0
    assert (metrics["queue_size"], metrics["running_tasks"]) == (0, 0)
    assert metrics["peak_memory_usage_mb"] > 1.0
    assert metrics["uptime_seconds"] > 0.0
    for stats in metrics["worker_stats"].values():
        assert stats["status"] == "idle"
        assert stats["total_execution_time"] / metrics["uptime_seconds"] <= 1.0
    assert sum(stats["tasks_processed"] for stats in metrics["worker_stats"].values()) == 1


async def test_hints_choose_the_place(processor: AdvancedAsyncProcessor) -> None:
    def where(payload: dict[str, Any]) -> int:
        return os.getpid()

    async def ran_in(**hints: bool) -> tuple[str, bool]:
        task = create_task(ProcessingType.CUSTOM, {"processor": where}, **hints)
        result = await processor.wait_for_task(await processor.submit_task(task), timeout=60.0)
        assert result.ok, result.error
        return (result.worker_id or "").split("-")[0], result.result == os.getpid()

    assert await ran_in() == ("thread", True)
    assert await ran_in(io_bound=True) == ("thread", True)
    assert await ran_in(cpu_intensive=True) == ("process", False)
    assert await ran_in(memory_intensive=True) == ("process", False)


# ---- Specific processors


async def test_emotion_analysis_takes_sound_and_words(processor: AdvancedAsyncProcessor, audio_bytes: bytes) -> None:
    task = create_task(
        ProcessingType.EMOTION_ANALYSIS,
        {"audio_data": audio_bytes, "text": "I am happy today!", "analysis_type": "comprehensive"},
        TaskPriority.HIGH,
    )

    result = await processor.wait_for_task(await processor.submit_task(task), timeout=60.0)

    assert result.ok, result.error
    assert result.result["valence"] > 0


async def test_a_reply_takes_context_and_a_limit(processor: AdvancedAsyncProcessor) -> None:
    task = create_task(
        ProcessingType.AI_RESPONSE,
        {
            "prompt": 'Child said: "I am happy today!"',
            "context": {"child_age": 5, "emotion": "happy", "session_id": "session_123"},
            "model": "gpt-3.5-turbo",
            "max_tokens": 150,
        },
        TaskPriority.HIGH,
        timeout=10.0,
    )

    result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    assert result.ok, result.error
    assert result.result["response"]


# ---- Custom processors


async def test_a_registered_processor_takes_the_place_of_a_type(processor: AdvancedAsyncProcessor) -> None:
    async def custom_nlp_processor(task: ProcessingTask) -> dict[str, Any]:
        text = task.payload["text"]
        return {"processed_text": text.upper(), "word_count": len(text.split())}

    processor.register_processor(ProcessingType.TEXT_ANALYSIS, custom_nlp_processor)
    task = create_task(ProcessingType.TEXT_ANALYSIS, {"text": "one small bear"})

    result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    assert result.result == {"processed_text": "ONE SMALL BEAR", "word_count": 3}


async def test_a_custom_task_brings_its_function(processor: AdvancedAsyncProcessor) -> None:
    task = create_task(
        ProcessingType.CUSTOM, {"processor": lambda payload: {"custom_result": payload["input"] * 2}, "input": 21}
    )

    result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    assert result.result == {"custom_result": 42}


# ---- Task lifecycle


async def test_status_and_result_can_be_asked_for(processor: AdvancedAsyncProcessor) -> None:
    release = asyncio.Event()

    async def waits(task: ProcessingTask) -> str:
        await release.wait()
        return "waited"

    processor.register_processor("waits", waits)
    task_id = await processor.submit_task(create_task("waits"))
    before = await processor.get_task_status(task_id), await processor.get_task_result(task_id)
    await asyncio.sleep(0.001)  # so that it has run for a time that the guide's three digits show
    release.set()
    await processor.wait_for_task(task_id, timeout=30.0)
    status, result = await processor.get_task_status(task_id), await processor.get_task_result(task_id)

    assert before == (TaskStatus.RUNNING, None)
    assert status is TaskStatus.COMPLETED
    assert status.value == "completed"
    assert result is not None
    assert (result.task_id, result.status, result.result, result.error) == (task_id, status, "waited", None)
    assert f"{result.execution_time:.3f}s" != "0.000s"
    assert result.created_at < result.completed_at
    assert await processor.get_task_status("never submitted") is None
    assert await processor.get_task_result("never submitted") is None
    assert not await processor.cancel_task("never submitted")


async def test_ready_tasks_are_shown(processor: AdvancedAsyncProcessor) -> None:
    assert isinstance(processor.task_manager, TaskManager)
    assert isinstance(processor.monitor, PerformanceMonitor)
    release = asyncio.Event()

    async def waits(task: ProcessingTask) -> None:
        await release.wait()

    processor.register_processor("waits", waits)
    tasks = [create_task("waits") for _ in range(7)]
    blocked = create_task("waits", depends_on=[tasks[0].id])
    for task in [*tasks, blocked]:
        await processor.submit_task(task)

    # Five slots, one of them kept for urgent work: four run, three are ready, one waits for its dependency.
    assert await processor.task_manager.get_ready_tasks() == [task.id for task in tasks[4:]]
    release.set()
    await processor.wait_until_idle(timeout=30.0)


async def test_a_cancel_takes_the_dependents_with_it(processor: AdvancedAsyncProcessor) -> None:
    async def waits(task: ProcessingTask) -> None:
        await asyncio.Event().wait()

    processor.register_processor("waits", waits)
    parent = create_task("waits")
    child = create_task("waits", depends_on=[parent.id])
    grandchild = create_task("waits", depends_on=[child.id])
    for task in (parent, child, grandchild):
        await processor.submit_task(task)

    cancelled = await processor.cancel_task(parent.id)

    assert cancelled == [parent.id, child.id, grandchild.id]
    for task_id in cancelled:
        assert await processor.get_task_status(task_id) is TaskStatus.CANCELLED


async def test_a_batch_is_submitted_at_once_and_waited_for(processor: AdvancedAsyncProcessor) -> None:
    async def doubled(task: ProcessingTask) -> int:
        return int(task.payload["number"]) * 2

    processor.register_processor(ProcessingType.TEXT_ANALYSIS, doubled)
    tasks = []
    for number in range(50):
        task = create_task(ProcessingType.TEXT_ANALYSIS, {"number": number}, TaskPriority.BATCH)
        tasks.append(await processor.submit_task(task))

    results = [await processor.wait_for_task(task_id) for task_id in tasks]

    assert [result.result for result in results] == [2 * number for number in range(50)]


# ---- Error handling


async def test_a_task_is_tried_as_often_as_it_says() -> None:
    async with AdvancedAsyncProcessor(config=ProcessorConfig(retry_base_s=0.01)) as processor:

        async def fails(task: ProcessingTask) -> None:
            raise ConnectionError("nobody answers")

        processor.register_processor(ProcessingType.TEXT_ANALYSIS, fails)
        task = create_task(ProcessingType.TEXT_ANALYSIS, {}, max_retries=3, timeout=10.0)
        result = await processor.wait_for_task(await processor.submit_task(task), timeout=30.0)

    assert (result.status, result.attempts) == (TaskStatus.FAILED, 4)
    assert "nobody answers" in (result.error or "")


async def test_a_wait_that_takes_too_long_leaves_the_task_to_be_cancelled(processor: AdvancedAsyncProcessor) -> None:
    async def waits(task: ProcessingTask) -> None:
        await asyncio.Event().wait()

    processor.register_processor("waits", waits)
    task_id = await processor.submit_task(create_task("waits"))

    # Under the name that the guide uses.
    with pytest.raises(asyncio.TimeoutError):
        await processor.wait_for_task(task_id, timeout=0.01)
    before = await processor.get_task_status(task_id)
    await processor.cancel_task(task_id)

    assert before is TaskStatus.RUNNING
    assert await processor.get_task_status(task_id) is TaskStatus.CANCELLED


async def test_every_end_has_its_status(processor: AdvancedAsyncProcessor) -> None:
    started = asyncio.Event()

    async def behave(task: ProcessingTask) -> str:
        if task.payload["how"] == "fail":
            raise ValueError("asked to fail")
        if task.payload["how"] == "hang":
            started.set()
            await asyncio.Event().wait()
        return "fine"

    processor.register_processor("behave", behave)
    fine = create_task("behave", {"how": "succeed"})
    fails = create_task("behave", {"how": "fail"}, max_retries=0)
    late = create_task("behave", {"how": "hang"}, max_retries=0, timeout=0.05)
    for task in (fine, fails, late):
        await processor.submit_task(task)
    ends = [(await processor.wait_for_task(task.id, timeout=30.0)).status for task in (fine, fails, late)]
    started.clear()
    hangs = await processor.submit_task(create_task("behave", {"how": "hang"}))
    await started.wait()
    await processor.cancel_task(hangs)
    ends.append((await processor.wait_for_task(hangs)).status)

    assert ends == [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.TIMEOUT, TaskStatus.CANCELLED]


async def test_an_id_cannot_be_used_twice(processor: AdvancedAsyncProcessor) -> None:
    task = create_task(ProcessingType.CUSTOM, {"processor": lambda payload: None})
    await processor.submit_task(task)

    with pytest.raises(DuplicateTaskError):
        await processor.submit_task(task)


# ---- Production


async def test_the_health_check_of_a_fresh_processor_is_healthy(processor: AdvancedAsyncProcessor) -> None:
    metrics = await processor.get_performance_metrics()

    assert processor._running
    assert metrics["queue_size"] <= 1000
    assert metrics["success_rate"] >= 95.0
    assert (await processor.health()).status == "pass"


_PROGRAM = """
import asyncio, signal
from async_processor import create_processor

async def main():
    processor = await create_processor()
    def signal_handler(signum, frame):
        print(f"received {signum}", flush=True)
        asyncio.create_task(processor.shutdown())
    signal.signal(signal.SIGTERM, signal_handler)
    print("ready", flush=True)
    try:
        while processor._running:
            await asyncio.sleep(0.05)
    finally:
        await processor.shutdown()
    print("ended", flush=True)

# Not in debug mode: that reports every slow step of a busy machine.
asyncio.run(main(), debug=False)
"""


def test_a_signal_handler_may_begin_the_shutdown() -> None:
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", _PROGRAM],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGTERM)
    output, errors = program.communicate(timeout=30)

    assert (output.splitlines(), program.returncode) == ([f"received {signal.SIGTERM.value}", "ended"], 0), errors
    assert errors == ""


# ---- Integration


async def test_the_teddy_bear_interaction(processor: AdvancedAsyncProcessor, audio_bytes: bytes) -> None:
    heard = create_task(
        ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": audio_bytes, "child_id": "c1"}, TaskPriority.HIGH
    )
    felt = create_task(
        ProcessingType.EMOTION_ANALYSIS, {"audio_data": audio_bytes, "child_id": "c1"}, TaskPriority.HIGH
    )
    answer = create_task(
        ProcessingType.AI_RESPONSE,
        {"child_id": "c1", "prompt_template": "child_interaction"},
        TaskPriority.HIGH,
        depends_on=[heard.id, felt.id],
    )
    for task in (heard, felt, answer):
        await processor.submit_task(task)

    result = await processor.wait_for_task(answer.id, timeout=60.0)

    assert result.status is TaskStatus.COMPLETED, result.error
    assert result.result["response"]


def test_configuration_is_read_from_the_environment() -> None:
    config = ProcessorConfig.from_env({"ASYNC_PROCESSOR_MAX_RESULTS": "7", "ASYNC_PROCESSOR_AI_PROVIDER": "scripted"})

    assert (config.max_results, config.ai.provider) == (7, "scripted")
