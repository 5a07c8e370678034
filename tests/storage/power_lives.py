"""A program that is killed and started again: it accepts tasks if there are none, and does the work that is left.

A function that is run again gives the same result, so the values of all lives are the same.
"""

from __future__ import annotations

import asyncio
import os
import sys

from tests.storage.power_program import finished, store_of, task

from async_processor.storage.base import AttemptStarted, Done, TaskAccepted

TASKS = 40


async def live(path: str, durability: str, notes: str) -> None:
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(what: str, number: int) -> None:
        os.write(descriptor, f"{what} {number}\n".encode("ascii"))

    def noted(what: str, number: int) -> Done:
        return lambda error: note(what, number) if error is None else None

    store = store_of(path, durability)
    keys = await store.open(lambda _: None)
    for key in keys:
        # Whoever submits with this key now is told that the task is in the store.
        note("accepted", int(key[1:]))
    for number in range(len(keys), TASKS):
        store.write(TaskAccepted(store.new_row(), task(number)), noted("accepted", number))
        if number % 4 == 3:
            await store.flush()
    left = [stored async for chunk in store.unfinished() for stored in chunk]
    for stored in left:
        number = int(stored.task.id[1:])
        store.write(AttemptStarted(stored.row, stored.attempt + 1, 2.0))
        store.write(finished(stored.row, number), noted("finished", number))
        await store.flush()
    await store.aclose(10.0)


if __name__ == "__main__":
    asyncio.run(live(*sys.argv[1:]))
