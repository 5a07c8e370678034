"""What every workload needs: percentiles, and a result that says its unit."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.functions import CPU_TASK_S


@dataclass(frozen=True)
class Figure:
    """One measured figure. ``better`` is "higher" or "lower"."""

    name: str
    value: float
    unit: str
    better: str


def rate(name: str, count: int, seconds: float, unit: str = "tasks/s") -> Figure:
    return Figure(name, count / seconds, unit, "higher")


def efficiency(count: int, seconds: float) -> Figure:
    """How much of two processors' time went into tasks of ``CPU_TASK_S``."""
    ideal = count * CPU_TASK_S / 2
    return Figure("ideal / actual, tasks of 20 ms on 2 processes", 100 * ideal / seconds, "%", "higher")


def percentiles(name: str, samples: Sequence[float], *, scale: float, unit: str) -> list[Figure]:
    """p50 and p99 of samples in seconds."""
    ordered = sorted(samples)
    return [
        Figure(f"{name} p50", statistics.median(ordered) * scale, unit, "lower"),
        Figure(f"{name} p99", ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * scale, unit, "lower"),
    ]


async def until_both_work(occupy: Callable[[], Awaitable[object]]) -> None:
    """Return when two workers are up: a process that is still starting takes time from the one that is measured.

    Args:
        occupy: keeps one of them busy for a moment, and says which it was.
    """
    seen: set[object] = set()
    while len(seen) < 2:
        seen.update(await asyncio.gather(occupy(), occupy()))


@contextlib.asynccontextmanager
async def watched(every_s: float) -> AsyncIterator[list[float]]:
    """How late the event loop was within, in seconds, looked at every so often."""
    late: list[float] = []

    async def look() -> None:
        while True:
            due = time.perf_counter() + every_s
            try:
                await asyncio.sleep(every_s)
            finally:
                # The last look is often the one that never came.
                late.append(max(0.0, time.perf_counter() - due))

    watch = asyncio.create_task(look())
    await asyncio.sleep(0)
    try:
        yield late
    finally:
        watch.cancel()
        await asyncio.wait([watch])


def require(condition: bool, what: str) -> None:
    """A figure of a run whose results are wrong is worth nothing."""
    if not condition:
        raise SystemExit(f"wrong result: {what}")
