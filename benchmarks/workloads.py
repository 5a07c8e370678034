"""What each workload does and what it asks of the results, once for all systems.

Every workload opens the system anew, checks that all results are there and right, and gives its figures.
"""

from __future__ import annotations

import asyncio
import functools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil

from benchmarks import durable
from benchmarks import functions as body
from benchmarks.measure import Figure, efficiency, percentiles, rate, require, until_both_work, watched
from benchmarks.sizes import Sizes
from benchmarks.system import Opener, System

Workload = Callable[[Any, Sizes], Awaitable[list[Figure]]]


async def run(name: str, opener: Any, sizes: Sizes) -> list[Figure]:
    """The figures of one workload.

    Args:
        name: in ``WORKLOADS``.
        opener: makes the system, an ``Opener``, or a ``durable.Durable`` for W6 and W6f.
        sizes: how much to do.
    """
    return await WORKLOADS[name](opener, sizes)


# ---- many at once


async def _w1(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm(system)
        count = _count(sizes.at_once, system)
        return [rate("no-op tasks", count, await _all_at_once(system, count))]


async def _w2(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm(system)
        count = _count(sizes.in_threads, system)
        return [rate("no-op tasks in threads", count, await _all_at_once(system, count))]


async def _w2b(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm_processes(system)
        count = _count(sizes.in_processes, system)
        return [rate("no-op tasks in processes", count, await _all_at_once(system, count))]


async def _all_at_once(system: System, count: int) -> float:
    """Seconds from handing in the first of so many no-ops until the last is done."""
    tasks = [system.task("noop") for _ in range(count)]
    began = time.perf_counter()
    handles = [await system.submit(task) for task in tasks]
    await system.done(handles)
    elapsed = time.perf_counter() - began
    await _require_all(system, handles, None)
    return elapsed


async def _w9(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm_processes(system)
        tasks = [system.task("spin", body.CPU_TASK_S) for _ in range(sizes.computing)]
        began = time.perf_counter()
        handles = [await system.submit(task) for task in tasks]
        await system.done(handles)
        elapsed = time.perf_counter() - began
        await _require_all(system, handles, body.CPU_TASK_S)
    return [efficiency(sizes.computing, elapsed)]


# ---- one at a time


async def _w3(opener: Opener, sizes: Sizes, *, place: str) -> list[Figure]:
    async with opener() as system:
        if place == "process":
            await _warm_processes(system)
        await _warm(system, 50)
        samples = []
        for _ in range(_count(sizes.one_at_a_time, system)):
            began = time.perf_counter()
            value = await system.one("noop")
            samples.append(time.perf_counter() - began)
            require(value is None, "a no-op gives nothing")
    return percentiles(f"one at a time, {place}", samples, scale=1e6, unit="us")


async def _w7(opener: Opener, sizes: Sizes) -> list[Figure]:
    data = bytes(range(256)) * (body.TEN_MB // 256)
    samples = []
    async with opener() as system:
        await _warm_processes(system)
        for number in range(5 + sizes.big):
            began = time.perf_counter()
            back = await system.one("echo", data)
            if number >= 5:
                samples.append(time.perf_counter() - began)
            require(back == data, "the bytes came back")
    return percentiles("10 MB to a process and back", samples, scale=1e3, unit="ms")


# ---- an urgent task amid others


async def _w4(opener: Opener, sizes: Sizes) -> list[Figure]:
    samples: list[float] = []
    dice = random.Random(4)
    async with opener() as system:
        await _warm(system, 3)
        batch = [await system.submit(system.task("nap", body.BATCH_S)) for _ in range(_count(sizes.batch, system))]
        ended = asyncio.create_task(system.done(batch))
        while not ended.done():
            await asyncio.sleep(dice.uniform(0.04, 0.06))
            began = time.perf_counter()
            await system.one("nap", body.URGENT_S, urgent=True)
            samples.append(time.perf_counter() - began)
        await ended
    require(len(samples) > 0, "there were urgent tasks")
    return percentiles("urgent task under load", samples, scale=1e3, unit="ms")


# ---- tasks that wait for others


async def _w5(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm(system)
        count = _count(sizes.diamonds, system)
        joins = []
        began = time.perf_counter()
        for number in range(count):
            sides = [await system.submit(system.task("successor", number)) for _ in range(2)]
            joins.append(await system.submit(system.task("total", after=sides)))
        await system.done(joins)
        elapsed = time.perf_counter() - began
        for number, handle in enumerate(joins):
            require(await system.result(handle) == 2 * (number + 1), "the join saw both results")
    return [rate("diamonds", count, elapsed, "graphs/s")]


async def _w12(opener: Opener, sizes: Sizes) -> list[Figure]:
    samples = []
    async with opener() as system:
        await _warm(system)
        for number in range(_count(sizes.turns, system)):
            began = time.perf_counter()
            heard = await system.submit(system.task("successor", number))
            felt, said = [await system.submit(system.task("total", after=[heard])) for _ in range(2)]
            values = [await system.result(felt), await system.result(said)]
            samples.append(time.perf_counter() - began)
            require(values == [number + 1] * 2, "both saw what was heard")
    return percentiles("voice turn but for its bodies", samples, scale=1e3, unit="ms")


# ---- many that wait


async def _w8(opener: Opener, sizes: Sizes) -> list[Figure]:
    count = sizes.pending
    async with opener() as system:
        await _hold(system)
        tasks = (system.task("noop") for _ in range(count))
        before = psutil.Process().memory_info().rss
        handles = [await system.submit(task) for task in tasks]
        used = psutil.Process().memory_info().rss - before
        body.gate.opened.set()
        await _require_all(system, handles, None)
    return [Figure("memory per pending task", used / count, "bytes", "lower")]


async def _growth(opener: Opener, sizes: Sizes) -> list[Figure]:
    costs = {}
    for count in sizes.growth:
        # The few are soon done: often enough that their figure is as steady as that of the many.
        rounds = max(1, min(10, 200_000 // count))
        costs[count] = statistics.median([await _cost(opener, count) for _ in range(rounds)])
    figures = [Figure(f"cost per task, {count:,} pending", cost, "us", "lower") for count, cost in costs.items()]
    ratio = costs[sizes.growth[-1]] / costs[sizes.growth[0]]
    return [*figures, Figure("cost per task, most to fewest pending", ratio, "times", "lower")]


async def _cost(opener: Opener, count: int) -> float:
    async with opener() as system:
        await _warm(system)
        return await _all_at_once(system, count) / count * 1e6


async def _drain(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _hold(system)
        handles = [await system.submit(system.task("noop")) for _ in range(sizes.drained)]
        async with watched(0.001) as late:
            body.gate.opened.set()
            await system.done(handles)
        await _require_all(system, handles, None)
    name = "event loop late by, while they drain"
    return [*percentiles(name, late, scale=1e3, unit="ms"), Figure(f"{name} max", max(late) * 1e3, "ms", "lower")]


async def _chain(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm(system)
        began = time.perf_counter()
        last = await system.submit(system.task("total"))
        for _ in range(sizes.in_graph - 1):
            last = await system.submit(system.task("total", after=[last]))
        await system.done([last])
        elapsed = time.perf_counter() - began
        require(await system.result(last) == 0, "the last of the chain saw the one before")
    return [Figure("cost per task of a chain", elapsed / sizes.in_graph * 1e6, "us", "lower")]


async def _fan_out(opener: Opener, sizes: Sizes) -> list[Figure]:
    async with opener() as system:
        await _warm(system)
        began = time.perf_counter()
        root = await system.submit(system.task("successor", 1))
        leaves = [await system.submit(system.task("total", after=[root])) for _ in range(sizes.in_graph)]
        await system.done(leaves)
        elapsed = time.perf_counter() - began
        await _require_all(system, leaves, 2)
    return [Figure("cost per task of a fan-out", elapsed / sizes.in_graph * 1e6, "us", "lower")]


# ---- one that does not end


async def _w10(opener: Opener, sizes: Sizes) -> list[Figure]:
    late, recovered = [], []
    async with opener() as system:
        await _warm(system, 3)
        for _ in range(sizes.endless):
            hanging = await system.submit(system.task("endless", timeout=body.LOOP_TIMEOUT_S))
            after = await system.submit(system.task("noop"))
            began = time.perf_counter()
            require(await system.timed_out(hanging), "the loop timed out")
            late.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
            await system.result(after)
            recovered.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
    return [
        *percentiles("endless loop, past its limit until TIMEOUT", late, scale=1e3, unit="ms")[:1],
        *percentiles("endless loop, until the next task is done", recovered, scale=1e3, unit="ms")[:1],
    ]


# ---- what they share


def _count(count: int, system: System) -> int:
    return max(1, int(count * system.share))


async def _warm(system: System, count: int = 20) -> None:
    for _ in range(_count(count, system)):
        await system.one("noop")


async def _warm_processes(system: System) -> None:
    await until_both_work(lambda: system.one("busy_process"))
    await _warm(system)


async def _hold(system: System) -> None:
    """Nothing runs from now on, in a system of one slot, until the gate is opened."""
    body.gate.close()
    await system.submit(system.task("block"))
    await body.gate.entered.wait()


async def _require_all(system: System, handles: Sequence[Any], value: Any) -> None:
    for handle in handles:
        require(await system.result(handle) == value, "every task gave its result")


WORKLOADS: dict[str, Workload] = {
    "W1": _w1,
    "W2": _w2,
    "W2b": _w2b,
    "W3/a": functools.partial(_w3, place="event loop"),
    "W3/t": functools.partial(_w3, place="thread"),
    "W3/p": functools.partial(_w3, place="process"),
    "W4": _w4,
    "W4d": _w4,
    "W5": _w5,
    **durable.WORKLOADS,
    "W7": _w7,
    "W8": _w8,
    "W9": _w9,
    "W10": _w10,
    "W11/growth": _growth,
    "W11/drain": _drain,
    "W11/chain": _chain,
    "W11/fan-out": _fan_out,
    "W12": _w12,
}
"""In the order of the tables."""
