"""What the tests of the engine share: a processor with few slots, and functions that end when they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from async_processor import AdvancedAsyncProcessor, ProcessingTask, ProcessorConfig, TaskResult, create_task


@asynccontextmanager
async def running_processor(
    *, workers: int = 2, config: ProcessorConfig | None = None, **arguments: Any
) -> AsyncIterator[AdvancedAsyncProcessor]:
    """A processor with the functions below; every test ends with the scheduler's own check."""
    settings = config or ProcessorConfig(retry_base_s=0.01, retry_max_s=0.05)
    processor = AdvancedAsyncProcessor(max_workers=workers, config=settings, **arguments)
    register(processor)
    await processor.start()
    try:
        yield processor
        check(processor)
    finally:
        await processor.shutdown(timeout=1.0)


def check(processor: AdvancedAsyncProcessor) -> None:
    """Assert the invariants of the scheduler behind a processor."""
    assert processor._engine is not None
    processor._engine.scheduler.check()


def register(processor: AdvancedAsyncProcessor) -> None:
    processor.register_processor("value", value)
    processor.register_processor("gate", gate)
    processor.register_processor("flaky", flaky)


async def value(task: ProcessingTask) -> Any:
    """Return what the payload says."""
    return task.payload.get("value")


async def gate(task: ProcessingTask) -> Any:
    """Say that it runs, then wait to be let go."""
    gates: Gate = task.payload["gate"]
    gates.entered.set()
    gates.runs += 1
    await gates.open.wait()
    return gates.runs


async def flaky(task: ProcessingTask, context: Any) -> int:
    """Fail for as many attempts as the payload says."""
    if context.attempt <= task.payload["failures"]:
        raise RuntimeError(f"attempt {context.attempt}")
    return int(context.attempt)


class Gate:
    """Holds a task in its slot until the test opens it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.runs = 0

    def task(self, **options: Any) -> ProcessingTask:
        return create_task("gate", {"gate": self}, **options)


async def hold(processor: AdvancedAsyncProcessor, count: int) -> list[Gate]:
    """Fill ``count`` slots."""
    gates = [Gate() for _ in range(count)]
    for item in gates:
        await processor.submit_task(item.task())
        await item.entered.wait()
    return gates


async def ends(processor: AdvancedAsyncProcessor, *tasks: ProcessingTask) -> list[TaskResult]:
    """The results of tasks, within a time that no healthy run needs."""
    return [await processor.wait_for_task(task.id, timeout=30.0) for task in tasks]


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Come back as soon as a condition holds: for what threads, processes and log records do in their own time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def said(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """What one logger said: a machine that stalls makes asyncio and the watch of the event loop speak up as well."""
    return [record.getMessage() for record in caplog.records if record.name == logger]


def knows(processor: AdvancedAsyncProcessor, task: ProcessingTask) -> bool:
    """Whether a task was taken in."""
    assert processor._engine is not None
    return processor._engine.scheduler.find(task.id) is not None
