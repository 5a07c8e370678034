"""Runs tasks while it sets the wall clock of its own process, through libfaketime's file, and says how they went."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from async_processor import AdvancedAsyncProcessor, ProcessingTask, ProcessorConfig, create_task

CHANGES = ("+30d", "-1h", "+0 x100")
TIMEOUT_S = 20.0


def set_wall_clock(change: str) -> None:
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(f"{change}\n", encoding="ascii")


async def changes_the_clock(task: ProcessingTask) -> float:
    """How far the wall clock went more than the monotonic one meanwhile, in seconds."""
    wall, monotonic = time.time(), time.monotonic()
    set_wall_clock(task.payload["change"])
    await asyncio.sleep(0.05)
    return (time.time() - wall) - (time.monotonic() - monotonic)


def changes_the_clock_in_a_thread(task: ProcessingTask) -> float:
    wall, monotonic = time.time(), time.monotonic()
    set_wall_clock(task.payload["change"])
    while time.monotonic() < monotonic + 0.05:
        pass  # a sleep would be as fast as the wall clock
    return (time.time() - wall) - (time.monotonic() - monotonic)


class FailsOnce:
    def __init__(self) -> None:
        self.began: list[float] = []

    async def __call__(self, task: ProcessingTask) -> None:
        self.began.append(time.monotonic())
        set_wall_clock(task.payload["change"])
        if len(self.began) == 1:
            raise LookupError("the first time")


async def tell(change: str) -> dict[str, object]:
    fails_once = FailsOnce()
    config = ProcessorConfig(retry_base_s=0.05, retry_max_s=0.05)
    async with AdvancedAsyncProcessor(2, 1, config=config) as processor:
        processor.register_processor("async", changes_the_clock)
        processor.register_processor("thread", changes_the_clock_in_a_thread)
        processor.register_processor("retried", fails_once)
        names = ("async", "thread", "retried")
        told: dict[str, object] = {}
        for name in names:
            set_wall_clock("+0")
            task = create_task(name, {"change": change}, timeout=TIMEOUT_S)
            await processor.submit_task(task)
            result = await processor.wait_for_task(task.id)
            told[name] = [result.status.value, result.attempts, result.execution_time, result.result]
        metrics = await processor.get_performance_metrics()
    told["retry_after"] = fails_once.began[1] - fails_once.began[0]
    told["uptime"] = metrics["uptime_seconds"]
    told["average"] = metrics["average_execution_time"]
    return told


if __name__ == "__main__":
    json.dump({change: asyncio.run(tell(change)) for change in CHANGES}, sys.stdout)
