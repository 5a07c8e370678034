"""Tasks' callbacks: run after the result is out, apart from everything else, one at a time per task.

A coroutine function runs on the event loop, anything else in a thread of its own, so that one which blocks holds up
nobody. Each has ``timeout`` seconds; what it raises is logged. At most ``MAX_CONCURRENT`` run together, the others
wait their turn; more than ``max_pending`` waiting means that callbacks are too slow for the tasks they belong to,
and the oldest is dropped, with an error in the log. A thread cannot be ended: once ``MAX_HANGING`` of them go on after
their callback was given up, no further one is started until one of these returns.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable
from typing import Any

from ..model import TaskCallback, TaskResult

logger = logging.getLogger("async_processor.callbacks")

MAX_CONCURRENT = 16
MAX_HANGING = 32


class CallbackRunner:
    """Runs callbacks on one event loop."""

    def __init__(self, *, timeout: float, max_pending: int) -> None:
        self._timeout = timeout
        # A task may end within the step, and so in the context variables, of another.
        self._home = contextvars.copy_context()
        self._pending: deque[tuple[TaskCallback, TaskResult]] = deque(maxlen=max(1, max_pending))
        self._running: set[asyncio.Task[None]] = set()
        self._hanging: set[threading.Thread] = set()

    def submit(self, callback: TaskCallback, result: TaskResult) -> None:
        """Have a callback called with a result; returns at once."""
        if len(self._pending) == self._pending.maxlen:
            dropped = self._pending[0][1]
            logger.error(
                "the callback of task %s is dropped: %d others wait before it; make callbacks faster",
                dropped.task_id, len(self._pending),
            )  # fmt: skip
        self._pending.append((callback, result))
        self._start_next()

    async def aclose(self, timeout: float) -> None:
        """Give what runs and waits ``timeout`` seconds, then cancel it."""
        try:
            async with asyncio.timeout(timeout):
                while self._running:
                    await asyncio.wait(set(self._running))
        except TimeoutError:
            logger.warning("%d callbacks did not end in time and were cancelled", len(self._running))
        self._pending.clear()
        for task in self._running:
            task.cancel()

    def _start_next(self) -> None:
        while self._pending and len(self._running) < MAX_CONCURRENT:
            callback, result = self._pending.popleft()
            task = asyncio.get_running_loop().create_task(self._call(callback, result), context=self._home.copy())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start_next()

    async def _call(self, callback: TaskCallback, result: TaskResult) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                if inspect.iscoroutinefunction(callback):
                    await callback(result)
                else:
                    answer = await self._in_thread(callback, result)
                    if inspect.isawaitable(answer):
                        await answer
        except TimeoutError:
            logger.error("the callback of task %s did not end within %g s", result.task_id, self._timeout)
        except BaseException as error:
            # A user's code ends here; nothing it raises may reach the engine. SystemExit would end the event loop.
            if isinstance(error, KeyboardInterrupt | GeneratorExit) or _is_cancelled():
                raise
            logger.exception("the callback of task %s failed", result.task_id)

    async def _in_thread(self, callback: TaskCallback, result: TaskResult) -> Awaitable[None] | None:
        self._hanging = {thread for thread in self._hanging if thread.is_alive()}
        if len(self._hanging) >= MAX_HANGING:
            raise _TooManyHangError(
                f"it is not called: {MAX_HANGING} callbacks that were given up still hold their threads; "
                "give what they wait for a timeout"
            )
        thread, done = _start_thread(callback, result)
        try:
            answer: Awaitable[None] | None = await done
            return answer
        except asyncio.CancelledError:
            self._hanging.add(thread)
            raise


def _is_cancelled() -> bool:
    own = asyncio.current_task()
    return own is not None and own.cancelling() > 0


class _ExitError(Exception):
    """Stands for what a callback raised in its thread and must not raise on the event loop."""


class _TooManyHangError(Exception):
    """A callback cannot be called, because so many others never came back."""


def _start_thread(callback: TaskCallback, result: TaskResult) -> tuple[threading.Thread, asyncio.Future[Any]]:
    """Call in a daemon thread: unlike an executor's, it does not keep the interpreter from ending if it hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def run() -> None:
        value, error = None, None
        try:
            value = callback(result)
        except BaseException as raised:  # noqa: BLE001 - handed to the awaiting side, which logs it; its thread ends anyway
            error = raised if isinstance(raised, Exception) else _ExitError(repr(raised))
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            logger.debug("the callback of task %s ended after its event loop", result.task_id)

    thread = threading.Thread(target=run, name=f"callback-{result.task_id}", daemon=True)
    thread.start()
    return thread, done
