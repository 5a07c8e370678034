"""One of something for each event loop: clients and their connections belong to the loop on which they were opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """What is opened at first use on an event loop, and kept until it is closed there.

    Args:
        make: opens one. What it raises, ``get`` raises, and the next ``get`` tries anew.
        close: closes one.
    """

    __slots__ = ("_close", "_make", "_opened")

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._opened: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The one of this event loop; opened now if there is none."""
        loop = asyncio.get_running_loop()
        if loop not in self._opened:
            self._opened[loop] = self._make()
        return self._opened[loop]

    async def aclose(self) -> None:
        """Close the one of this event loop, if there is one. A later ``get`` opens another."""
        loop = asyncio.get_running_loop()
        if loop in self._opened:
            await self._close(self._opened.pop(loop))
