"""Runs one coroutine on an event loop of its own, in a thread, and leaves nothing of it behind.

``asyncio.Runner`` would do, were it not for what user code leaves: it waits without bound for tasks that swallow
their cancel, and for the threads of the default executor. Here every step of the clean-up has its bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

from .coroutines import put_down

T = TypeVar("T")

# How long leftover tasks, async generators and a cancelled coroutine may take to end before they are closed.
GRACE_S = 1.0


class OwnLoop:
    """A loop for one coroutine, which another thread can stop.

    ``stop`` may come at any time: before the coroutine begins, while it runs, after it ended.
    """

    __slots__ = ("_loop", "_stopped", "_task")

    def __init__(self) -> None:
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, T], variables: contextvars.Context) -> T:
        """Run a coroutine to its end; gives back or raises what it does.

        Raises:
            asyncio.CancelledError: it was stopped before it began, or let itself be stopped.
            OSError: the process has too many open files for another loop.
        """
        try:
            loop = asyncio.new_event_loop()
        except OSError:
            coroutine.close()  # else Python warns that it was never awaited
            raise
        try:
            self._task = task = loop.create_task(coroutine, context=variables)
            # Order matters, here and in ``stop``: each leaves its word before it looks for the other's.
            self._loop = loop
            if self._stopped:
                self._cancel()
            return loop.run_until_complete(task)
        finally:
            self._task = None
            try:
                loop.run_until_complete(_tidy())
            finally:
                loop.close()

    def stop(self) -> None:
        """Cancel the coroutine, and close it if it has not ended after a grace. On any thread."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the coroutine has ended
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        task, loop = self._task, self._loop
        if task is not None and loop is not None and not task.done() and not task.cancelling():
            task.cancel()
            loop.call_later(GRACE_S, _put_down_if_left, task)


def _put_down_if_left(task: asyncio.Task[Any]) -> None:
    if not task.done():
        put_down(task)


async def _tidy() -> None:
    """End what the coroutine left on this loop: tasks, async generators, connections."""
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    # A task that is no coroutine is the closing of an async generator that was freed: it is to end in peace.
    await _end_tasks({task for task in asyncio.all_tasks() - {own} if inspect.iscoroutine(task.get_coro())})
    closing = loop.create_task(loop.shutdown_asyncgens())
    until = loop.time() + GRACE_S
    while (others := asyncio.all_tasks() - {own}) and loop.time() < until:
        await asyncio.wait(others, timeout=until - loop.time())
    await _end_tasks({closing, *others})
    # asyncio has no public way to list a loop's connections. Where a loop keeps no such list, they stay the
    # function's own to close.
    transports = list(getattr(loop, "_transports", {}).values())
    for transport in transports:
        transport.abort()
    if transports:
        await asyncio.sleep(0)


async def _end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    left = {task for task in tasks if not task.done()}
    for task in left:
        task.cancel()
    if not left:
        return
    _, stubborn = await asyncio.wait(left, timeout=GRACE_S)
    for task in stubborn:
        put_down(task)
    if stubborn:
        await asyncio.wait(stubborn, timeout=GRACE_S)
