"""The process lane alone, beside ``ProcessPoolExecutor``: what the engine adds is not in these figures.

    python -m benchmarks.process_lane [--rounds 5] [--only "no-op"] [--method forkserver]

Both run in this process, in turn, so that they meet the same load of the machine; medians over the rounds are printed.
Compare ratios, not absolute figures.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from async_processor import ProcessingTask
from async_processor.clock import SystemClock
from async_processor.execution.base import Attempt, Lane
from async_processor.execution.process_lane import ProcessLane
from async_processor.outcome import AttemptOutcome, Returned, Stopped, StopReason
from benchmarks import functions as body
from benchmarks.lane_functions import echo, endless, noop_sync, spin
from benchmarks.measure import Figure, efficiency, percentiles, rate, require
from benchmarks.sizes import FULL

SLOTS = 2
ONE_AT_A_TIME, TEN_MB_ROUNDS, KILLS = 2_000, 20, 10
MAX_BYTES = 256 * 1024 * 1024


class LaneUser:
    """A lane, used as the engine uses it: one attempt per slot, the next one from within the end of the last."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self._tokens = itertools.count()
        self._ended: dict[int, Callable[[AttemptOutcome], None]] = {}
        self._began: dict[int, asyncio.Future[None]] = {}

    def attempt_began(self, token: int) -> None:
        if token in self._began:
            self._began.pop(token).set_result(None)

    def attempt_progress(self, *_: object) -> None:
        raise AssertionError("nothing here reports progress")

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        self._ended.pop(token)(outcome)

    def start(self, func: Any, payload: Any, slot: int, on_end: Callable[[AttemptOutcome], None]) -> int:
        token = next(self._tokens)
        self._ended[token] = on_end
        task = ProcessingTask("bench", payload)
        self.lane.run(
            Attempt(
                token=token, slot=self.lane.slots[slot], task=task, func=func, is_async=False, wants_context=False
            )
        )  # fmt: skip
        return token

    async def one(self, func: Any, payload: Any = None, slot: int = 0) -> Any:
        future: asyncio.Future[AttemptOutcome] = asyncio.get_running_loop().create_future()
        self.start(func, payload or {}, slot, future.set_result)
        outcome = await future
        return value_of(outcome)

    async def many(self, func: Any, count: int) -> float:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left, ended = iter(range(count)), itertools.count(1)

        def run_next(slot: int) -> None:
            if next(left, None) is not None:
                self.start(func, {}, slot, lambda outcome: on_end(slot, outcome))

        def on_end(slot: int, outcome: AttemptOutcome) -> None:
            value_of(outcome)
            if next(ended) == count:
                done.set_result(None)
            run_next(slot)

        began = time.perf_counter()
        for slot in range(SLOTS):
            run_next(slot)
        await done
        return time.perf_counter() - began

    async def warm(self) -> None:
        for slot in range(SLOTS):
            for _ in range(20):
                await self.one(noop_sync, slot=slot)

    async def kill(self) -> tuple[float, float]:
        """Seconds from the stop of an endless loop to its report, and from there to the end of the next attempt."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[AttemptOutcome] = loop.create_future()
        began: asyncio.Future[None] = loop.create_future()
        token = self.start(endless, {}, 0, ended.set_result)
        self._began[token] = began
        await began
        asked = time.perf_counter()
        self.lane.stop(token, StopReason.TIMEOUT)
        require(isinstance(await ended, Stopped), "the attempt was stopped")
        reported = time.perf_counter()
        await self.one(noop_sync)
        return reported - asked, time.perf_counter() - reported


def process_lane(method: Any) -> ProcessLane:
    return ProcessLane(
        [f"process-{number}" for number in range(SLOTS)],
        start_method=method,
        worker_start_timeout=60.0,
        max_tasks_per_worker=0,
        max_worker_memory_mb=0,
        max_payload_bytes=MAX_BYTES,
        max_result_bytes=MAX_BYTES,
        clock=SystemClock(),
    )


def value_of(outcome: AttemptOutcome) -> Any:
    if not isinstance(outcome, Returned):
        raise SystemExit(f"wrong result: {outcome}")
    return outcome.value


async def with_lane(method: str, measure: Callable[[LaneUser], Awaitable[list[Figure]]]) -> list[Figure]:
    user = LaneUser(process_lane(method))
    began = time.perf_counter()
    await user.lane.start(user)
    try:
        await user.one(noop_sync)
        start = Figure("start to first result", (time.perf_counter() - began) * 1e3, "ms", "lower")
        await user.warm()
        return [start, *await measure(user)]
    finally:
        await user.lane.aclose(5.0)


async def with_pool(method: str, measure: Callable[[ProcessPoolExecutor], Awaitable[list[Figure]]]) -> list[Figure]:
    began = time.perf_counter()
    with ProcessPoolExecutor(SLOTS, mp_context=multiprocessing.get_context(method)) as pool:
        await pool_one(pool, body.noop)
        start = Figure("start to first result", (time.perf_counter() - began) * 1e3, "ms", "lower")
        await asyncio.gather(*(pool_one(pool, body.noop) for _ in range(40)))
        return [start, *await measure(pool)]


async def pool_one(pool: ProcessPoolExecutor, func: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(pool, func, *arguments)


async def pool_many(pool: ProcessPoolExecutor, count: int, func: Any, *arguments: Any) -> float:
    """As many in flight as there are workers, as in the lane."""
    began = time.perf_counter()

    async def slot(share: int) -> None:
        for _ in range(share):
            await pool_one(pool, func, *arguments)

    await asyncio.gather(*(slot(count // SLOTS) for _ in range(SLOTS)))
    return time.perf_counter() - began


async def timed(count: int, call: Callable[[], Awaitable[Any]]) -> list[float]:
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        samples.append(time.perf_counter() - began)
    return samples


DATA = bytes(range(256)) * (body.TEN_MB // 256)


async def lane_noop(user: LaneUser) -> list[Figure]:
    samples = await timed(ONE_AT_A_TIME, lambda: user.one(noop_sync))
    return percentiles("W3p no-op, one at a time", samples, scale=1e6, unit="us")


async def pool_noop(pool: ProcessPoolExecutor) -> list[Figure]:
    samples = await timed(ONE_AT_A_TIME, lambda: pool_one(pool, body.noop))
    return percentiles("W3p no-op, one at a time", samples, scale=1e6, unit="us")


async def lane_rate(user: LaneUser) -> list[Figure]:
    count = 2 * FULL.in_processes
    return [rate("W2b no-op, two slots busy", count, await user.many(noop_sync, count))]


async def pool_rate(pool: ProcessPoolExecutor) -> list[Figure]:
    count = 2 * FULL.in_processes
    return [rate("W2b no-op, two slots busy", count, await pool_many(pool, count, body.noop))]


async def lane_bytes(user: LaneUser) -> list[Figure]:
    require(await user.one(echo, {"data": DATA}) == DATA, "the bytes came back")
    samples = await timed(TEN_MB_ROUNDS, lambda: user.one(echo, {"data": DATA}))
    return percentiles("W7 10 MB there and back", samples, scale=1e3, unit="ms")


async def pool_bytes(pool: ProcessPoolExecutor) -> list[Figure]:
    require(await pool_one(pool, body.echo, DATA) == DATA, "the bytes came back")
    samples = await timed(TEN_MB_ROUNDS, lambda: pool_one(pool, body.echo, DATA))
    return percentiles("W7 10 MB there and back", samples, scale=1e3, unit="ms")


async def lane_cpu(user: LaneUser) -> list[Figure]:
    count = FULL.computing
    return [efficiency(count, await user.many(spin, count))]


async def pool_cpu(pool: ProcessPoolExecutor) -> list[Figure]:
    count = FULL.computing
    return [efficiency(count, await pool_many(pool, count, body.spin, body.CPU_TASK_S))]


async def lane_kill(user: LaneUser) -> list[Figure]:
    pairs = [await user.kill() for _ in range(KILLS)]
    return [
        Figure("W10 endless loop, stop to report", statistics.median(pair[0] for pair in pairs) * 1e3, "ms", "lower"),
        Figure("W10 report to end of the next", statistics.median(pair[1] for pair in pairs) * 1e3, "ms", "lower"),
    ]


async def pool_kill(pool: ProcessPoolExecutor) -> list[Figure]:
    return []  # it cannot stop a function that runs


WORKLOADS: dict[str, tuple[Any, Any]] = {
    "no-op": (lane_noop, pool_noop),
    "rate": (lane_rate, pool_rate),
    "bytes": (lane_bytes, pool_bytes),
    "cpu": (lane_cpu, pool_cpu),
    "kill": (lane_kill, pool_kill),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.process_lane", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--method", default="forkserver", choices=["forkserver", "spawn"])
    options = parser.parse_args()
    samples: dict[Figure, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, name in itertools.product(range(options.rounds), options.only):
        print(f"\rround {number + 1}: {name}        ", end="", file=sys.stderr, flush=True)
        measured = {
            "lane": asyncio.run(with_lane(options.method, WORKLOADS[name][0])),
            "pool": asyncio.run(with_pool(options.method, WORKLOADS[name][1])),
        }
        for system, figures in measured.items():
            for figure in figures:
                samples[Figure(figure.name, 0.0, figure.unit, figure.better)][system].append(figure.value)
    print(file=sys.stderr)
    print("| figure | unit | process lane | ProcessPoolExecutor | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    for figure, by_system in samples.items():
        lane, pool = (statistics.median(by_system[name]) if by_system[name] else None for name in ("lane", "pool"))
        rest = f"{pool:,.1f} | {lane / pool:.2f}" if lane is not None and pool is not None else "cannot | "
        print(f"| {figure.name} | {figure.unit}, {figure.better} is better | {lane or 0.0:,.1f} | {rest} |")


if __name__ == "__main__":
    main()
