"""Programs for ``async-processor run``, as its users would write them."""

from __future__ import annotations

import asyncio
import os
import subprocess
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


async def block(task: ProcessingTask) -> None:
    """What no function should do: block the event loop."""
    note(task, "began")
    time.sleep(task.payload["seconds"])  # noqa: ASYNC251 - that is the fault


async def linger(task: ProcessingTask) -> None:
    """Leave a thread behind that the interpreter waits for."""
    note(task, "began")
    await asyncio.to_thread(time.sleep, task.payload["seconds"])


async def hold(task: ProcessingTask) -> None:
    """Hold a slot until the test lets go."""
    note(task, "began")
    let_go = Path(os.environ["PROGRAM_FOLDER"], "let-go")
    while not let_go.exists():  # noqa: ASYNC110, ASYNC240 - the test is another process, and the file is on this machine
        await asyncio.sleep(0.01)
    note(task, "left")


def bereave(task: ProcessingTask) -> None:
    """Leave an orphan behind: the shell ends at once, what it started half a second later."""
    subprocess.run(["sh", "-c", "setsid sleep 0.5 &"], check=True)
    note(task, "left")


def setup(processor: AdvancedAsyncProcessor) -> None:
    """Register functions; the store holds their tasks."""
    processor.register_processor("block", block)
    processor.register_processor("linger", linger)
    processor.register_processor("hold", hold)
    processor.register_processor("bereave", bereave, cpu_intensive=True)
    processor.register_processor("nap", nap)
    processor.register_processor("doze", doze)
    processor.register_processor("crunch", doze, cpu_intensive=True)


def idle(processor: AdvancedAsyncProcessor) -> None:
    """Register nothing: what the store holds goes on waiting."""


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


async def _one(processor: AdvancedAsyncProcessor, kind: str) -> None:
    setup(processor)
    await processor.submit_task(create_task(kind, {"seconds": 600.0}, timeout=None))


async def blocking(processor: AdvancedAsyncProcessor) -> None:
    await _one(processor, "block")


async def lingering(processor: AdvancedAsyncProcessor) -> None:
    await _one(processor, "linger")


async def holding(processor: AdvancedAsyncProcessor) -> None:
    await _one(processor, "hold")


async def bereaving(processor: AdvancedAsyncProcessor) -> None:
    await _one(processor, "bereave")


async def stubborn(processor: AdvancedAsyncProcessor) -> None:
    """Run what ignores everything, in every lane."""
    setup(processor)
    folder = Path(os.environ["PROGRAM_FOLDER"])
    for kind in ("nap", "doze", "crunch"):
        await processor.submit_task(create_task(kind, {"seconds": 600.0}, id=f"long-{kind}", timeout=None))
    (folder / "submitted").touch()


broken = "not a function"


async def slip(processor: AdvancedAsyncProcessor) -> None:
    """Submit what a built-in type cannot use."""
    await processor.submit_task(create_task("text_analysis", {"txt": "hello"}, id="slip"))
