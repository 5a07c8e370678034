"""Examples of tasks, done ahead: what a worker process loads at its first task of a type it has then loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import ConfigurationError
from ..model import LaneName, ProcessingTask, TaskPriority, TaskResult, create_task
from ..processors.registry import ProcessorRegistry, ProcessorSpec

Do = Callable[[ProcessingTask], Awaitable[TaskResult]]
"""Submits a task and gives its result."""


async def types_to_warm(registry: ProcessorRegistry) -> list[str]:
    """The types whose examples run in worker processes and could be done now."""
    found = []
    for task_type in registry.types():
        spec = registry.get(task_type)
        if spec is None or spec.example is None or _lane_of(spec) is not LaneName.PROCESS:
            continue
        if spec.readiness is None or (await spec.readiness()).problem is None:
            found.append(task_type)
    return found


async def warm_type(do: Do, task_type: str, spec: ProcessorSpec | None, workers: int) -> float:
    """Do the example of one type in each worker process that is free; gives the seconds that the slowest ran.

    Args:
        workers: how many there are.

    Raises:
        ConfigurationError: the type has no function, or its function no example.
        InvalidPayloadError: the settings allow less than the example asks for.
        TaskFailedError: an example failed.
    """
    if spec is None or spec.example is None:
        raise ConfigurationError(f"{task_type!r} has no example to warm up with: submit a task of your own instead")
    # In a thread: an example may be a sentence that a program has to speak first.
    payload = await asyncio.to_thread(spec.example)
    # Urgent, so that reserved slots take them too; all at once, so that each takes one.
    count = workers if _lane_of(spec) is LaneName.PROCESS else 1
    tasks = [create_task(task_type, payload, TaskPriority.HIGH, max_retries=0) for _ in range(count)]
    results = await asyncio.gather(*map(do, tasks))
    for result in results:
        result.unwrap()
    return max(result.execution_time for result in results)


def _lane_of(spec: ProcessorSpec) -> LaneName | None:
    if spec.resolve is not None and spec.example is not None:
        return spec.resolve(spec.example()).lane
    return spec.lane
