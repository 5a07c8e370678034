"""Futures that are done as soon as something holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Conditions:
    """What somebody waits for to become true; looked at whenever something has changed.

    Attributes:
        awaited: the conditions, each with the future of whoever waits for it.
    """

    __slots__ = ("_loop", "awaited")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.awaited: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def until(self, condition: Callable[[], bool]) -> asyncio.Future[None]:
        """A future that is done as soon as a look finds the condition true; perhaps at once."""
        future: asyncio.Future[None] = self._loop.create_future()
        self.awaited.append((condition, future))
        self.look()
        return future

    def look(self) -> None:
        """Wake whoever waits for something that holds now; drop whoever has gone."""
        changed = False
        for condition, future in self.awaited:
            if not future.done() and condition():
                future.set_result(None)
            changed = changed or future.done()
        if changed:
            self.awaited = [item for item in self.awaited if not item[1].done()]
