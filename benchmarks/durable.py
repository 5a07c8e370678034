"""W6 and W6f: tasks that survive the death of the process, and a power cut. The same driver for every system.

Each of 1, 100 or 1,000 submitters hands in a task that is nothing but ``number + 1``, waits for its result, and hands
in the next, for a while. Every result is looked at when it comes, and afterwards once more where the system keeps it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from benchmarks.measure import Figure, percentiles, rate, require, watched
from benchmarks.sizes import Sizes

SLOTS = 100
SUBMITTERS = (1, 100, 1_000)
LOOK_S = 0.005


class Durable(Protocol):
    """A system with a file, as an async context manager: open within, closed without.

    Args:
        folder: where the file goes.
        power: whether nothing may be lost in a power cut either.
    """

    def __init__(self, folder: Path, *, power: bool) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *raised: object) -> None: ...

    async def successor(self, number: int) -> int:
        """Hand in the task, wait for its result."""

    async def kept(self) -> int:
        """How many tasks the closed file says are done, rightly."""


async def _measure(system: type[Durable], sizes: Sizes, *, submitters: int, power: bool) -> list[Figure]:
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="w6-") as folder:
        opened = system(Path(folder), power=power)
        async with opened:
            await _submit_for(sizes.durable_warm_s, opened, submitters, numbers)
            async with watched(LOOK_S) as late:
                began = time.perf_counter()
                took = await _submit_for(sizes.durable_s, opened, submitters, numbers)
                elapsed = time.perf_counter() - began
        kept, done = await opened.kept(), next(numbers)
        require(kept == done, f"{done} tasks are done, and {kept} are kept as done")
    return [
        rate("durable tasks", len(took), elapsed),
        *percentiles("one durable task", took, scale=1e3, unit="ms"),
        *percentiles("event loop late by", late, scale=1e3, unit="ms"),
        Figure("event loop late by max", max(late) * 1e3, "ms", "lower"),
    ]


async def _submit_for(seconds: float, system: Durable, submitters: int, numbers: Iterator[int]) -> list[float]:
    """How long each task took that was handed in within so many seconds, all waited for."""
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def submit() -> None:
        while (began := time.perf_counter()) < until:
            number = next(numbers)
            require(await system.successor(number) == number + 1, "each task gives the next number")
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(submit() for _ in range(submitters)))
    return took


WORKLOADS: dict[str, Callable[[Any, Sizes], Awaitable[list[Figure]]]] = {
    f"{name}/{submitters}": functools.partial(_measure, submitters=submitters, power=power)
    for name, power in (("W6", False), ("W6f", True))
    for submitters in SUBMITTERS
}


def workloads(system: type[Durable]) -> dict[str, type[Durable]]:
    """W6 and W6f for each number of submitters, on one system."""
    return dict.fromkeys(WORKLOADS, system)
