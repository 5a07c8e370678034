"""The program whose files lose their power: tasks through a store, each noted when the store said that it is kept."""

from __future__ import annotations

import asyncio
import os
import random
import sys

from async_processor.model import TaskStatus
from async_processor.storage import sqlite_schema
from async_processor.storage.base import AttemptStarted, Done, EncodedTask, TaskAccepted, TaskFinished
from async_processor.storage.sqlite_store import SqliteStore

TASKS = 120
LARGE = 3_000


def task(number: int) -> EncodedTask:
    before = (f"t{number - 1}",) if number % 3 == 1 else ()
    return EncodedTask(f"t{number}", "noop", 3, 1.0, 1.0, f"k{number}", before, bytes([number]) * (number * 7))


def value(number: int) -> bytes:
    """Some are large enough for a file of their own."""
    return bytes([number]) * (LARGE + number if number % 8 == 0 else number)


def finished(row: int, number: int) -> TaskFinished:
    return TaskFinished(row, TaskStatus.COMPLETED, 3.0, None, b"outcome", value(number))


def store_of(path: str, durability: str = "power") -> SqliteStore:
    """A store that forgets nothing, for these tasks ended long ago."""
    return SqliteStore(path, durability=durability, result_file_bytes=LARGE, result_ttl_s=1e12)  # type: ignore[arg-type]


async def work(path: str, durability: str, notes: str) -> None:
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    rng = random.Random(1)

    def noted(what: str, number: int) -> Done:
        def note(error: object) -> None:
            if error is None:
                os.write(descriptor, f"{what} {number}\n".encode("ascii"))

        return note

    store = store_of(path, durability)
    await store.open(lambda _: None)
    for number in range(TASKS):
        row = store.new_row()
        store.write(TaskAccepted(row, task(number)), noted("accepted", number))
        store.write(AttemptStarted(row, 1, 2.0))
        if number % 5:
            store.write(finished(row, number), noted("finished", number))
        if rng.random() < 0.4:
            await store.flush()
    await store.flush()
    await store.aclose(10.0)


if __name__ == "__main__":
    # So that cuts come in the middle of checkpoints too, and not only of what is written between them.
    sqlite_schema.CHECKPOINT_PAGES = 25
    asyncio.run(work(*sys.argv[1:]))
