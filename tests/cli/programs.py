"""Programs for ``async-processor run``, as its users would write them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from async_processor import AdvancedAsyncProcessor, ProcessingTask, TaskContext, create_task


def note(task: ProcessingTask, what: str) -> None:
    with Path(os.environ["PROGRAM_FOLDER"], "ledger").open("a", encoding="ascii") as ledger:
        ledger.write(f"{what} {task.id}\n")


async def nap(task: ProcessingTask) -> int:
    note(task, "began")
    try:
        await asyncio.sleep(task.payload["seconds"])
    finally:
        note(task, "left")
    return os.getpid()


def doze(task: ProcessingTask, context: TaskContext) -> int:
    """As ``nap``, in a thread or a process; in a thread it stops when it is told to."""
    note(task, "began")
    ends = time.monotonic() + task.payload["seconds"]
    while time.monotonic() < ends and not context.cancelled:
        time.sleep(0.01)
    note(task, "left")
    return os.getpid()


def setup(processor: AdvancedAsyncProcessor) -> None:
    """Register functions; the store holds their tasks."""
    processor.register_processor("nap", nap)
    processor.register_processor("doze", doze)
    processor.register_processor("crunch", doze, cpu_intensive=True)


async def busy(processor: AdvancedAsyncProcessor) -> None:
    """Submit without an end, into all lanes; each id is noted once it is accepted."""
    setup(processor)
    folder = Path(os.environ["PROGRAM_FOLDER"])
    number = 0
    with (folder / "accepted").open("a", encoding="ascii") as accepted:
        while True:
            kind = ("nap", "doze", "crunch")[number % 3]
            task = create_task(kind, {"seconds": 0.02}, max_retries=1_000)
            accepted.write(f"{await processor.submit_task(task)}\n")
            accepted.flush()
            number += 1


async def few(processor: AdvancedAsyncProcessor) -> None:
    """Submit a few tasks and end."""
    setup(processor)
    for number in range(5):
        await processor.submit_task(create_task("nap", {"seconds": 0.01}, id=f"few-{number}"))


async def stubborn(processor: AdvancedAsyncProcessor) -> None:
    """Run what ignores everything, in every lane."""
    setup(processor)
    folder = Path(os.environ["PROGRAM_FOLDER"])
    for kind in ("nap", "doze", "crunch"):
        await processor.submit_task(create_task(kind, {"seconds": 600.0}, id=f"long-{kind}", timeout=None))
    (folder / "submitted").touch()


broken = "not a function"
