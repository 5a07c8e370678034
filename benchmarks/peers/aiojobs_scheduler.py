"""aiojobs: coroutines, so many at once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiojobs import Scheduler

from benchmarks import functions as body
from benchmarks.measure import Figure, percentiles, rate

NAME = "aiojobs"
ABOUT = "coroutines on the event loop, so many at once; no priorities, no results by id, nothing kept"


async def noop() -> None:
    """Nothing."""


async def w1() -> list[Figure]:
    count = body.TASKS["W1"]
    async with Scheduler(limit=body.SLOTS, pending_limit=0) as scheduler:
        began = time.perf_counter()
        jobs = [await scheduler.spawn(noop()) for _ in range(count)]
        for job in jobs:
            await job.wait()
        return [rate("no-op, event loop", count, time.perf_counter() - began)]


async def w3() -> list[Figure]:
    samples = []
    async with Scheduler(limit=body.SLOTS) as scheduler:
        for _ in range(body.TASKS["W3"]):
            began = time.perf_counter()
            await (await scheduler.spawn(noop())).wait()
            samples.append(time.perf_counter() - began)
    return percentiles("one at a time, event loop", samples, scale=1e6, unit="us")


WORKLOADS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"W1": w1, "W3": w3}
