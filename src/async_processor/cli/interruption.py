"""Ctrl-C and SIGTERM end the work, never the clearing up after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedBySignal(Exception):  # noqa: N818 - not an error: somebody wished it
    """The work was cancelled because this process got the signal ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """Runs work that a signal cancels."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._work: asyncio.Task[Any] | None = None
        self.on_second: Callable[[int], None] | None = None
        """What a second signal does; None for nothing, where clearing up is short."""

    def receive(self, number: int) -> None:
        """A signal came. The first one ends the work; clearing up after it is bounded and is not disturbed."""
        if self._received is None:
            self._received = number
            if self._work is not None:
                self._work.cancel()
        elif self.on_second is not None:
            self.on_second(number)

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``.

        Raises:
            InterruptedBySignal: a signal came before it was done.
        """
        self._work = task = asyncio.create_task(work)
        if self._received is not None:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if self._received is None or not task.cancelled():
                raise
            raise InterruptedBySignal(self._received) from None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle the signals on the running event loop while the block runs."""
    loop = asyncio.get_running_loop()
    interruption = Interruption()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interruption.receive, number)
    try:
        yield interruption
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
