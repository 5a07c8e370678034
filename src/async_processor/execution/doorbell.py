"""Calls the event loop from other threads at half the price of ``call_soon_threadsafe``.

That writes to a socket, which the loop then reads twice (the second time to learn that it is empty), and makes a
callback each time. Here a ring is one write to an event descriptor, and its answer one read by a callback made once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections.abc import Callable


class Doorbell:
    """Has a function called on the event loop soon after any thread rings; several rings may be answered by one call.

    Where there are no event descriptors, or the loop watches none, it is ``call_soon_threadsafe``.

    Args:
        loop: where to call; this is made on its thread.
        home: the context variables to call in.
        answer: the function.
    """

    __slots__ = ("_answer", "_fd", "_home", "_lock", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, home: contextvars.Context, answer: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._home = home
        self._answer = answer
        # A descriptor that is closed may be somebody else's a moment later: nobody must be about to write to it then.
        self._lock = threading.Lock()
        self._fd = _event_descriptor()
        if self._fd is not None:
            try:
                home.copy().run(loop.add_reader, self._fd, self._on_ring)
            except (NotImplementedError, RuntimeError, OSError):
                os.close(self._fd)
                self._fd = None

    def ring(self) -> None:
        """Call the function soon; on any thread. Nothing happens once the loop is closed."""
        with self._lock:
            if self._fd is not None:
                os.eventfd_write(self._fd, 1)
                return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._answer, context=self._home)

    def close(self) -> None:
        """Let go of the descriptor; rings still are answered, at the usual price. On the loop's thread."""
        with self._lock:
            descriptor, self._fd = self._fd, None
        if descriptor is None:
            return
        with contextlib.suppress(RuntimeError):  # as above
            self._loop.remove_reader(descriptor)
            # Somebody may have rung just before.
            self._loop.call_soon(self._answer, context=self._home)
        os.close(descriptor)

    def __del__(self) -> None:
        if self._fd is not None:  # the loop was closed first, or thrown away
            os.close(self._fd)

    def _on_ring(self) -> None:
        if self._fd is None:
            return  # closed by a callback that ran just before this one
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return  # told of once already
        self._answer()


def _event_descriptor() -> int | None:
    if not hasattr(os, "eventfd"):
        return None
    try:
        return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    except OSError:
        return None  # this process has as many descriptors as it may
