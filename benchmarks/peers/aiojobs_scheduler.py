"""aiojobs: coroutines, so many at once."""

from __future__ import annotations

import functools
from typing import Any, Self

from aiojobs import Job, Scheduler

from benchmarks import functions as body
from benchmarks.system import Adapters, Call, Calls

NAME = "aiojobs"
PACKAGE = "aiojobs"
ABOUT = "coroutines on the event loop, so many at once; no priorities, no order of graphs, no results by id"


class Aiojobs(Calls):
    """A scheduler; its jobs give their results as often as one asks."""

    def __init__(self, slots: int = body.SLOTS) -> None:
        self._slots = slots

    async def __aenter__(self) -> Self:
        self._scheduler = Scheduler(limit=self._slots, pending_limit=0)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._scheduler.close()

    async def call(self, call: Call) -> Job[Any]:
        return await self._scheduler.spawn(body.COROUTINES[call.body](*call.arguments))

    async def called(self, handle: Job[Any]) -> Any:
        return await handle.wait()


ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W3/a", "W5", "W11/growth", "W12"), Aiojobs),
    **dict.fromkeys(("W8", "W11/drain"), functools.partial(Aiojobs, 1)),
}
