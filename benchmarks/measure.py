"""What every workload needs: percentiles, and a result that says its unit."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
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
    return Figure("ideal / actual, 200 x 20 ms on 2 processes", 100 * ideal / seconds, "%", "higher")


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


def require(condition: bool, what: str) -> None:
    """A figure of a run whose results are wrong is worth nothing."""
    if not condition:
        raise SystemExit(f"wrong result: {what}")
