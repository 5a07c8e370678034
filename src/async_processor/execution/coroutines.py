"""Ends coroutines that do not end when they are cancelled, and measures those that do."""

from __future__ import annotations

import asyncio
import logging
import time
import types
from collections import deque
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

from .base import Attempt

logger = logging.getLogger("async_processor.execution")

# A `finally` that awaits needs one more close for each of its awaits.
_CLOSE_TRIES = 20
_MAX_HELD = 100


def put_down(task: asyncio.Task[Any]) -> bool:
    """End a task that swallowed its cancel, by closing its coroutine under it. It must not be running.

    Gives back whether the coroutine has ended. What the task ends with is not reported by asyncio.
    """
    task.add_done_callback(_take_exception)
    ended = close(task.get_coro())
    # The task has not noticed: its next step, which the cancel brings about, finds the coroutine closed.
    task.cancel()
    return ended


def close(coroutine: Any) -> bool:
    """Close a coroutine that may resist. False if it still has not ended: it ignores ``GeneratorExit``."""
    for _ in range(_CLOSE_TRIES):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # "coroutine ignored GeneratorExit": it went on to its next await
        except BaseException:  # noqa: BLE001 - its clean-up failed; it is over, and nobody waits for what it says
            return True
        return True
    return False


class HeldCoroutines:
    """Coroutines that could not be ended. No step of them runs again, but their memory stays.

    They are held because freeing one would run its code once more, at a random moment. At most 100: the oldest goes.
    """

    __slots__ = ("_coroutines",)

    def __init__(self) -> None:
        self._coroutines: deque[object] = deque(maxlen=_MAX_HELD)

    def __len__(self) -> int:
        return len(self._coroutines)

    def cut_off(self, attempt: Attempt, steps: object) -> None:
        """Close the coroutine of an attempt that was given up, or hold it if it resists."""
        if steps is None or close(steps):
            return
        self._coroutines.append(steps)
        logger.warning(
            "task %s, attempt %d: its coroutine ignores being cancelled and being closed; it will not run again, but "
            "its memory cannot be freed. Let CancelledError and GeneratorExit pass in its code.",
            attempt.task.id,
            attempt.number,
        )


def silence(task: asyncio.Task[Any]) -> None:
    """Let a task end with an exception that is known already, without a log entry that nobody looked at it."""
    task.add_done_callback(_take_exception)


def _take_exception(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


class Meter:
    """Adds up the processor time of the steps of one coroutine, in seconds."""

    __slots__ = ("cpu_time",)

    def __init__(self) -> None:
        self.cpu_time = 0.0

    @types.coroutine
    def run(self, awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
        """Await something. Counts what its own steps use, not what tasks do that it starts."""
        coroutine = awaitable if isinstance(awaitable, Coroutine) else _awaiting(awaitable)
        resume: Any = coroutine.send
        argument: Any = None
        while True:
            began = time.thread_time()
            try:
                waits_for = resume(argument)
            except StopIteration as end:
                return end.value
            finally:
                self.cpu_time += time.thread_time() - began
                argument = None  # it may be an exception, whose traceback holds this frame
            try:
                argument = yield waits_for
                resume = coroutine.send
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the coroutine, which decides
                resume, argument = coroutine.throw, error


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
