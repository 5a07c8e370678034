"""A bad payload of any built-in type.

What breaks the schema of its type is refused at submit and leaves no trace. What shows only when it is looked into
fails, once, with what to send instead; the slot is free for the next. The error is ``InvalidPayloadError`` either way.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from tests.acceptance.payload_strategies import PAYLOADS
from tests.acceptance.payloads import BREAKS_SCHEMA, BUILT_IN, GOOD, OF_NO_USE, PIXEL, configured
from tests.source_code import ROOT

from async_processor import (
    AdvancedAsyncProcessor,
    InvalidPayloadError,
    ProcessingType,
    ProcessorConfig,
    TaskStatus,
    create_task,
)
from async_processor.config import EmotionConfig, NotifyConfig, SpeechConfig
from async_processor.monitoring.learned_memory import LearnedMemory
from async_processor.processors.builtin import builtin_registry
from async_processor.runtime.job import JobFactory
from async_processor.storage.sqlite_view import StoreView


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def processor() -> AsyncIterator[AdvancedAsyncProcessor]:
    # One slot each: a slot that stayed taken would keep the good task waiting for ever.
    async with configured() as config, AdvancedAsyncProcessor(1, 1, 1, config=config) as made:
        yield made


def test_there_is_a_bad_payload_of_either_kind_and_a_good_one_for_every_type():
    assert set(GOOD) == {task_type for task_type, _, _ in BREAKS_SCHEMA} == set(BUILT_IN)
    # Nothing is inside the payloads of the others that would have to be decoded, or looked up.
    assert {task_type for task_type, _, _ in OF_NO_USE} == {
        ProcessingType.AUDIO_TRANSCRIPTION, ProcessingType.AUDIO_ENHANCEMENT, ProcessingType.EMOTION_ANALYSIS,
        ProcessingType.IMAGE_PROCESSING, ProcessingType.DATA_ANALYTICS, ProcessingType.DATABASE_OPERATION,
    }  # fmt: skip


def _named(value: object) -> str | None:
    return str(value) if isinstance(value, str) else ""


# ---- what breaks the schema


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("task_type", "payload", "field"), BREAKS_SCHEMA, ids=_named)
async def test_a_payload_that_breaks_its_schema_is_refused_at_submit_and_leaves_no_trace(
    processor: AdvancedAsyncProcessor, task_type: ProcessingType, payload: dict[str, Any], field: str
):  # B21
    before = await processor.get_performance_metrics()
    bad = create_task(task_type, payload)

    with pytest.raises(InvalidPayloadError) as caught:
        await processor.submit_task(bad)
    with pytest.raises(InvalidPayloadError):
        processor.submit_task_nowait(bad)

    error = caught.value
    assert (error.task_id, error.field) == (bad.id, field)
    assert error.message.startswith(f"task {bad.id!r} is not accepted: payload['{field.partition('.')[0]}")
    assert re.search(r"\b(?:must|send)\b", error.message), error.message
    after = await processor.get_performance_metrics()
    assert after["submissions_rejected"]["invalid"] == before["submissions_rejected"].get("invalid", 0) + 2
    assert [after[name] for name in ("queue_size", "running_tasks", "tasks_processed")] == [
        before[name] for name in ("queue_size", "running_tasks", "tasks_processed")
    ]
    assert await processor.get_task_status(bad.id) is None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("task_type", BUILT_IN)
async def test_a_refused_task_can_be_mended_and_submitted_again_under_its_id(
    processor: AdvancedAsyncProcessor, task_type: ProcessingType
):
    bad = next(payload for found, payload, _ in BREAKS_SCHEMA if found is task_type)
    task = create_task(task_type, bad)
    with pytest.raises(InvalidPayloadError):
        await processor.submit_task(task)

    # What the caller adds for himself is nobody's business.
    task.payload = {**GOOD[task_type], "child_id": "child-1", "session": {"nested": [1, None]}}
    result = await processor.wait_for_task(await processor.submit_task(task), timeout=50.0)

    assert result.status is TaskStatus.COMPLETED, result.error


async def test_nothing_of_a_refused_task_gets_into_a_store(tmp_path: Path):
    path = tmp_path / "tasks.db"

    async with configured() as config, AdvancedAsyncProcessor(config=config, store=f"sqlite:///{path}") as processor:
        for task_type, payload, _ in BREAKS_SCHEMA:
            with pytest.raises(InvalidPayloadError):
                await processor.submit_task(create_task(task_type, payload, idempotency_key="key"))
        good = create_task(ProcessingType.AI_RESPONSE, {"prompt": "hello"}, idempotency_key="key")
        # Had one of them been remembered by its key, this would be taken for it.
        assert await processor.submit_task(good) == good.id
        await processor.wait_for_task(good.id, timeout=50.0)

    assert [line.id for line in StoreView(str(path)).tasks()] == [good.id]


async def test_a_full_queue_does_not_keep_the_error_back():
    async with AdvancedAsyncProcessor(1, 1, 1, queue_size=1) as processor:
        waiting = create_task(ProcessingType.CUSTOM, {"processor": len}, depends_on=["never"])
        await processor.submit_task(waiting)

        with pytest.raises(InvalidPayloadError):
            await processor.submit_task(create_task(ProcessingType.CUSTOM, {}))
        await processor.cancel_task(waiting.id)


# ---- what is not checked


async def test_a_function_of_ones_own_in_the_place_of_a_built_in_one_gets_any_payload():
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        for task_type in BUILT_IN:
            processor.register_processor(task_type, lambda task: dict(task.payload))
            result = await processor.wait_for_task(
                await processor.submit_task(create_task(task_type, {"anything": 5})), timeout=50.0
            )
            assert result.unwrap() == {"anything": 5}


async def test_a_task_of_an_earlier_run_is_taken_up_and_fails_when_it_runs(tmp_path: Path):
    """It was accepted when another function stood for the type: losing it now would break the promise."""
    store = f"sqlite:///{tmp_path}/tasks.db"
    tasks = [create_task(task_type, {"of": "old"}, max_retries=2) for task_type in BUILT_IN]
    async with AdvancedAsyncProcessor(1, 1, 1, store=store) as processor:
        gate = create_task("gate", {}, depends_on=["never"])
        processor.register_processor("gate", lambda _task: None)
        await processor.submit_task(gate)
        for task in tasks:
            processor.register_processor(task.task_type, lambda _task: None)
            task.depends_on, task.on_dependency_failure = [gate.id], "run"
            await processor.submit_task(task)
        await processor.shutdown(timeout=0)

    async with AdvancedAsyncProcessor(1, 1, 1, store=store) as processor:
        processor.register_processor("gate", lambda _task: None)
        await processor.cancel_task(gate.id)
        results = [await processor.wait_for_task(task.id, timeout=50.0) for task in tasks]

    assert {(item.status, item.error_type, item.attempts) for item in results} == {
        (TaskStatus.FAILED, "InvalidPayloadError", 1)
    }


@pytest.mark.parametrize(
    ("task_type", "payload"),
    [
        (ProcessingType.EMOTION_ANALYSIS, {}),
        (ProcessingType.EMOTION_ANALYSIS, {"analysis_type": "text"}),
        (ProcessingType.AI_RESPONSE, {"prompt_template": "child_interaction"}),
        (ProcessingType.TEXT_ANALYSIS, {}),
    ],
)
async def test_what_a_dependency_may_bring_is_not_missing(task_type: ProcessingType, payload: dict[str, Any]):
    async with configured() as config, AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        processor.register_processor(ProcessingType.AUDIO_TRANSCRIPTION, lambda _task: {"transcription": "I am happy"})
        processor.register_processor("other", lambda _task: {"text": "of no use"})
        heard, other = create_task(ProcessingType.AUDIO_TRANSCRIPTION), create_task("other")
        good = create_task(task_type, payload, depends_on=[other.id, heard.id])
        bad = create_task(task_type, payload, depends_on=[other.id])
        for task in (good, bad, heard, other):
            await processor.submit_task(task)
        with pytest.raises(InvalidPayloadError):
            await processor.submit_task(create_task(task_type, payload))

        done = await processor.wait_for_task(good.id, timeout=50.0)
        failed = await processor.wait_for_task(bad.id, timeout=50.0)

    assert done.status is TaskStatus.COMPLETED, done.error
    # Which type a dependency is of, and what it gives, is known when it has ended.
    assert (failed.status, failed.error_type, failed.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)


@pytest.mark.parametrize(
    ("task_type", "payload"),
    [
        (ProcessingType.AUDIO_TRANSCRIPTION, {}),
        (ProcessingType.EMOTION_ANALYSIS, {"analysis_type": "prosody"}),
        (ProcessingType.EMOTION_ANALYSIS, {"text": 3}),
        (ProcessingType.TEXT_ANALYSIS, {"max_keywords": 0}),
        (ProcessingType.AI_RESPONSE, {}),
        (ProcessingType.IMAGE_PROCESSING, {}),
    ],
)
def test_what_no_dependency_brings_is_missing_all_the_same(task_type: ProcessingType, payload: dict[str, Any]):
    with pytest.raises(InvalidPayloadError):
        jobs(ProcessorConfig()).make(create_task(task_type, payload, depends_on=["another"]))


# ---- what is found to be of no use


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("task_type", "payload", "field"), OF_NO_USE, ids=_named)
async def test_what_is_of_no_use_fails_once_and_says_what_to_send(
    processor: AdvancedAsyncProcessor, task_type: ProcessingType, payload: dict[str, Any], field: str
):
    bad, good = create_task(task_type, payload), create_task(task_type, GOOD[task_type])
    for task in (bad, good):
        await processor.submit_task(task)

    failed = await processor.wait_for_task(bad.id, timeout=50.0)
    after = await processor.wait_for_task(good.id, timeout=50.0)

    assert (failed.status, failed.error_type, failed.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)
    assert field in (failed.error or "")
    assert re.search(r"\b(?:must be|send)\b", failed.error or ""), failed.error
    assert after.status is TaskStatus.COMPLETED, after.error


# ---- what the check costs

LARGE: list[tuple[ProcessingType, dict[str, Any]]] = [
    (ProcessingType.AUDIO_TRANSCRIPTION, {"audio_data": bytearray(20_000_000), "sample_rate": 44_100}),
    (ProcessingType.AUDIO_ENHANCEMENT, {"audio_data": memoryview(b"RIFF" + bytes(20_000_000))}),
    (ProcessingType.EMOTION_ANALYSIS, {"audio_data": bytearray(b"fLaC" + bytes(20_000_000))}),
    (ProcessingType.IMAGE_PROCESSING, {"image_data": bytearray(PIXEL[:-1] + b"!\1\1\0\0" * 4_000_000)}),
    (ProcessingType.DATA_ANALYTICS, {"data": [{"a": 1}] * 500_000}),
    (ProcessingType.DATA_ANALYTICS, {"data": bytearray(b"a,b\n" * 5_000_000), "format": "csv"}),
    (
        ProcessingType.DATABASE_OPERATION,
        {"operation": "insert", "table": "t", "values": [{"a": [1] * 1_000, "b": "x" * 10_000}] * 500},
    ),
    (ProcessingType.DATABASE_OPERATION, {"operation": "insert", "table": "t", "values": [{"a": 1}] * 500_000}),
    (
        ProcessingType.DATABASE_OPERATION,
        {"operation": "select", "table": "t", "where": {"a": {"op": "in", "value": [1] * 500_000}}},
    ),
    (ProcessingType.NOTIFICATION, {"message": "hello", "recipients": ["a@example.org"] * 500_000}),
    (ProcessingType.AI_RESPONSE, {"prompt": "hello", "context": {"a": [{}] * 500_000}}),
    (ProcessingType.TEXT_ANALYSIS, {"text": "hello", "analysis_type": ["all"] * 500_000}),
    (ProcessingType.DATA_ANALYTICS, {"data": [], "analysis_type": "group_by", "by": ["a"] * 500_000}),
    (ProcessingType.DATA_ANALYTICS, {"data": [], "analysis_type": "x" * 20_000_000}),
]


@pytest.mark.parametrize(("task_type", "payload"), LARGE, ids=_named)
def test_a_large_payload_takes_the_check_no_longer_than_a_small_one(task_type: ProcessingType, payload: dict[str, Any]):
    """Counted, not timed: calls into Python and C, and bytes taken; either would grow with what is gone through."""
    registry = builtin_registry(ProcessorConfig())
    spec, task, calls = registry.get(task_type), create_task(task_type, payload), 0
    assert spec is not None

    def check() -> None:
        try:
            if spec.check is not None:
                spec.check(task)
            if spec.resolve is not None:
                spec.resolve(task.payload)
        except InvalidPayloadError:
            pass

    def count(*_event: object) -> None:
        nonlocal calls
        calls += 1

    check()  # what is imported or cached is no part of it
    sys.setprofile(count)
    try:
        check()
    finally:
        sys.setprofile(None)
    tracemalloc.start()
    try:
        check()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert calls <= 50_000
    # A list of its own that holds the caller's items is all that may come of a million of them.
    assert peak <= 5_000_000


WATCH = """
import sys
from async_processor import ProcessorConfig, create_task
from async_processor.monitoring.learned_memory import LearnedMemory
from async_processor.processors.builtin import builtin_registry
from async_processor.runtime.job import JobFactory
from tests.acceptance.payloads import GOOD
from tests.test_architecture import HEAVY

config = ProcessorConfig.from_env({"ASYNC_PROCESSOR_NOTIFY_CHANNELS": '{"receiver": "json://127.0.0.1:9/"}'})
jobs = JobFactory(builtin_registry(config), config, LearnedMemory())
for name in HEAVY:
    sys.modules.pop(name, None)
touched = []
sys.addaudithook(lambda event, _: event.startswith(("open", "socket.", "subprocess.", "os.")) and touched.append(event))
for task_type, payload in GOOD.items():
    jobs.make(create_task(task_type, payload))
print(sorted(set(HEAVY) & set(sys.modules)), touched)
"""


def test_no_library_file_or_address_is_touched_for_it():
    ran = subprocess.run(
        [sys.executable, "-c", WATCH], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )

    assert ran.stdout == "[] []\n"


# ---- whatever a payload holds


def jobs(config: ProcessorConfig) -> JobFactory:
    return JobFactory(builtin_registry(config), config, LearnedMemory())


# Where who does the work decides what it takes, each of them.
SCHEMAS: dict[str, tuple[ProcessingType, ProcessorConfig]] = {
    **{str(item): (item, ProcessorConfig()) for item in BUILT_IN},
    "transcription by a server": (
        ProcessingType.AUDIO_TRANSCRIPTION,
        ProcessorConfig(speech=SpeechConfig(provider="openai", model="m", api_key="k")),
    ),
    **{
        f"emotion by {name}": (ProcessingType.EMOTION_ANALYSIS, ProcessorConfig(emotion=EmotionConfig(provider=name)))
        for name in ("chat", "hume", "another package")
    },
    **{
        f"notification by {name}": (
            ProcessingType.NOTIFICATION, ProcessorConfig(notify=NotifyConfig(channels={"one": url})),
        )
        for name, url in (("mail", "smtp://127.0.0.1:1?from=a@example.org"), ("webhook", "json://127.0.0.1:1/"))
    },
}  # fmt: skip


def check_any_payload_of(name: str, examples: int) -> None:
    task_type, config = SCHEMAS[name]
    factory, taken, refused = jobs(config), 0, 0

    @settings(max_examples=examples)
    @given(PAYLOADS[task_type])
    def check(payload: dict[str, Any]) -> None:
        nonlocal taken, refused
        task = create_task(task_type, payload)
        try:
            factory.make(task)
        except InvalidPayloadError as error:
            caught = error
        else:
            taken += 1
            return
        assert caught.task_id == task.id
        assert caught.field is not None
        assert caught.field.partition(".")[0] in caught.message
        refused += 1

    check()
    # Of a strategy that never makes a good payload, or never a bad one, nothing could be learned.
    assert taken
    assert refused


@pytest.mark.parametrize("name", SCHEMAS)
def test_any_payload_is_taken_or_refused_as_a_payload(name: str):  # B21
    check_any_payload_of(name, 200)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", SCHEMAS)
def test_any_of_20_000_payloads_is_taken_or_refused_as_a_payload(name: str):  # B21
    check_any_payload_of(name, 20_000)
