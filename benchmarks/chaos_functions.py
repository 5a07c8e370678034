"""What the tasks of the chaos run do: append one line to a ledger, in every lane."""

from __future__ import annotations

import asyncio
import os
import time

from async_processor.context import TaskContext
from async_processor.model import ProcessingTask


def answer(number: int) -> int:
    """What task ``number`` gives, in whatever attempt."""
    return number * number + 1


async def on_loop(task: ProcessingTask, context: TaskContext) -> int:
    note(task, context)
    await asyncio.sleep(task.payload["seconds"])
    return answer(task.payload["number"])


def in_thread_or_process(task: ProcessingTask, context: TaskContext) -> int:
    note(task, context)
    time.sleep(task.payload["seconds"])
    return answer(task.payload["number"])


def note(task: ProcessingTask, context: TaskContext) -> None:
    """One write of one line: whole or not at all, whoever else writes."""
    append(task.payload["ledger"], f"{task.id} {context.attempt}")


def append(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode("ascii"))
    finally:
        os.close(descriptor)
