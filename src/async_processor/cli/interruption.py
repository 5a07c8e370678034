"""Ctrl-C and SIGTERM end the work, never the clearing up after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedBySignal(Exception):  # noqa: N818 - not an error: somebody wished it
    """The work was cancelled because this process got the signal ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """Runs work that a signal cancels.

    Args:
        on_first: what the first signal does besides that; called even if the loop is blocked, in a signal handler.
        on_second: what each further one does; by default nothing, where clearing up is short.
    """

    def __init__(
        self, on_first: Callable[[int], None] | None = None, on_second: Callable[[int], None] | None = None
    ) -> None:
        self._received: int | None = None
        self._work: asyncio.Task[Any] | None = None
        self._on_first = on_first
        self._on_second = on_second

    def receive(self, number: int) -> None:
        """A signal came. The first one ends the work; clearing up after it is bounded and is not disturbed."""
        if self._received is not None:
            if self._on_second is not None:
                self._on_second(number)
            return
        self._received = number
        if self._on_first is not None:
            self._on_first(number)
        if self._work is not None:
            # This is a signal handler, between any two steps of the loop, which may just have gone to sleep.
            self._work.get_loop().call_soon_threadsafe(self._work.cancel)

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
        finally:
            self._work = None


@contextmanager
def interruptible(
    on_first: Callable[[int], None] | None = None, on_second: Callable[[int], None] | None = None
) -> Iterator[Interruption]:
    """Handle the signals while the block runs, in the main thread; the loop may begin and end in it.

    Not by ``loop.add_signal_handler``: a loop that a task blocks would hear of no signal at all.
    """
    interruption = Interruption(on_first, on_second)

    def receive(number: int, _frame: FrameType | None) -> None:
        interruption.receive(number)

    before = {number: signal.signal(number, receive) for number in _SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
