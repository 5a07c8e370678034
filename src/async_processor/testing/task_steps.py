"""Telling the steps of tasks from other callbacks in an event loop's queue.

asyncio has no public way to ask. What is relied on is checked against the running interpreter before it is used.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

# The first step of a C task is an object of this type; the steps that follow a wait are built-in or bound methods.
_STEP_TYPES = frozenset({"TaskStepMethWrapper"})
_METHOD_TYPES = frozenset({"builtin_function_or_method", "method"})
_STEP_NAMES = frozenset({"task_wakeup", "TaskWakeupMethWrapper", "__step", "__wakeup"})


def is_task_step(callback: Any) -> bool:
    """Whether running this callback runs a task up to its next wait."""
    kind = type(callback).__name__
    if kind in _STEP_TYPES:
        return True
    # Methods of a task that do not run it (``task.cancel``) are callbacks like any other.
    if kind not in _METHOD_TYPES or callback.__name__ not in _STEP_NAMES:
        return False
    return asyncio.isfuture(callback.__self__)


@cache
def check_recognition() -> None:
    """Try it on this interpreter.

    Raises:
        RuntimeError: a step goes unrecognised, or something else is taken for one.
    """
    loop = asyncio.SelectorEventLoop()
    try:
        kinds = loop.run_until_complete(_observe(loop))
    finally:
        loop.close()
    if kinds != [[True], [False, True, False]]:
        raise RuntimeError(
            "seeded schedules need to recognise the steps of asyncio tasks, and on this version of Python that "
            f"fails ({kinds}); leave the seed out to run in the usual order"
        )


async def _observe(loop: asyncio.AbstractEventLoop) -> list[list[bool]]:
    """What is seen of a task that starts, and of one that wakes up between two other callbacks."""

    def ready() -> list[bool]:
        return [is_task_step(handle._callback) for handle in loop._ready]  # type: ignore[attr-defined]

    gate = loop.create_future()

    async def wait() -> None:
        await gate

    task = loop.create_task(wait())
    first = ready()
    await asyncio.sleep(0)
    loop.call_soon(gate.done)
    gate.set_result(None)
    loop.call_soon(task.get_name)
    second = ready()
    await task
    return [first, second]
