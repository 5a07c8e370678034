"""Runs what would hold up the event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class InThread(Generic[T]):
    """One call in a daemon thread. The interpreter does not wait for it when it exits, as it would for a pool's.

    Args:
        loop: where to report.
        home: the context variables to report in.
        work: the call.
        done: told on the loop what it returned, or what it raised.
        unclaimed: told in the thread what it returned if the loop is closed by then.

    Raises:
        RuntimeError: the system starts no further thread.
    """

    __slots__ = ("_done", "_home", "_loop", "_unclaimed", "_work")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        home: contextvars.Context,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        unclaimed: Callable[[T], None] | None = None,
    ) -> None:
        self._loop = loop
        self._home = home
        self._work = work
        self._done = done
        self._unclaimed = unclaimed
        threading.Thread(target=self._run, name="process-lane", daemon=True).start()

    def _run(self) -> None:
        result: T | None = None
        problem: BaseException | None = None
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the loop, which decides
            problem = error
        try:
            self._loop.call_soon_threadsafe(self._done, result, problem, context=self._home)
        except RuntimeError:  # the loop is closed
            if result is not None and self._unclaimed is not None:
                self._unclaimed(result)
