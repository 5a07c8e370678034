"""The thread lane alone, beside ``ThreadPoolExecutor``: what the engine adds is not in these figures.

    python -m benchmarks.thread_lane [--rounds 9]

Both run in this process, in turn. The smallest figure of each is printed, of processor time too: that of the event loop
and of both threads together holds even where other programs take turns with this one, which a rate does not.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from async_processor.clock import SystemClock
from async_processor.execution.thread_lane import ThreadLane
from benchmarks import functions as body
from benchmarks.lane_functions import noop_sync
from benchmarks.process_lane import LaneUser, pool_many, pool_one

SLOTS, ONE_AT_A_TIME = 2, 2_000
COUNT = 2 * body.TASKS["W2"]
FIGURES = ("one at a time, us", "processor time of it, us", "two slots busy, us", "processor time of it, us each")


async def of_lane() -> list[float]:
    lane = ThreadLane([f"thread-{number}" for number in range(SLOTS)], max_abandoned=1, clock=SystemClock())
    user = LaneUser(lane)
    await lane.start(user)
    try:
        await user.warm()
        return await measured(lambda: user.one(noop_sync), lambda: user.many(noop_sync, COUNT))
    finally:
        await lane.aclose(5.0)


async def of_pool() -> list[float]:
    with ThreadPoolExecutor(SLOTS) as pool:
        for _ in range(20):
            await pool_one(pool, body.noop)
        return await measured(lambda: pool_one(pool, body.noop), lambda: pool_many(pool, COUNT, body.noop))


async def measured(one: Callable[[], Awaitable[object]], many: Callable[[], Awaitable[object]]) -> list[float]:
    """Microseconds per attempt, as in ``FIGURES``."""

    async def one_by_one() -> None:
        for _ in range(ONE_AT_A_TIME):
            await one()

    return [*await per_attempt(one_by_one, ONE_AT_A_TIME), *await per_attempt(many, COUNT)]


async def per_attempt(work: Callable[[], Awaitable[object]], count: int) -> tuple[float, float]:
    began, used = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - began) / count * 1e6, (time.process_time() - used) / count * 1e6


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thread_lane", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    runs = [(asyncio.run(of_lane()), asyncio.run(of_pool())) for _ in range(rounds)]
    lane, pool = ([min(column) for column in zip(*rows, strict=True)] for rows in zip(*runs, strict=True))
    print("| figure | thread lane | ThreadPoolExecutor |")
    print("| --- | ---: | ---: |")
    for name, ours, theirs in zip(FIGURES, lane, pool, strict=True):
        print(f"| {name} | {ours:.1f} | {theirs:.1f} |")


if __name__ == "__main__":
    main()
