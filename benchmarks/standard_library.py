"""The workloads on what Python brings: queues, executors, processes. Without ids, results by id, retries, metrics."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import psutil

from benchmarks import functions as body
from benchmarks.durable import workloads
from benchmarks.group_commit import GroupCommit
from benchmarks.measure import Figure, efficiency, percentiles, rate, require, until_both_work

NAME = "standard library"


async def noop() -> None:
    """Nothing."""


async def _workers(queue: asyncio.PriorityQueue[Any], count: int) -> list[asyncio.Task[None]]:
    async def work() -> None:
        while True:
            _, _, function, done = await queue.get()
            done.set_result(await function())

    return [asyncio.create_task(work()) for _ in range(count)]


class Pool:
    """A priority queue, workers, and a future per job."""

    def __init__(self) -> None:
        self._queue: asyncio.PriorityQueue[Any] = asyncio.PriorityQueue()
        self._order = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, slots: int) -> None:
        self._tasks = await _workers(self._queue, slots)

    def submit(self, function: Callable[[], Awaitable[Any]], priority: int = 3) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        self._order += 1
        self._queue.put_nowait((priority, self._order, function, done))
        return done

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


async def w1() -> list[Figure]:
    count, pool = body.TASKS["W1"], Pool()
    await pool.start(body.SLOTS)
    began = time.perf_counter()
    futures = [pool.submit(noop) for _ in range(count)]
    for future in futures:
        await future
    elapsed = time.perf_counter() - began
    pool.close()
    return [rate("no-op, event loop", count, elapsed)]


async def _through(executor: Executor, count: int) -> float:
    loop = asyncio.get_running_loop()
    for _ in range(20):
        await loop.run_in_executor(executor, body.noop)
    began = time.perf_counter()
    futures = [loop.run_in_executor(executor, body.noop) for _ in range(count)]
    for future in futures:
        await future
    return time.perf_counter() - began


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver"))


async def w2() -> list[Figure]:
    count = body.TASKS["W2"]
    with ThreadPoolExecutor(2) as executor:
        return [rate("no-op, threads", count, await _through(executor, count))]


async def w2b() -> list[Figure]:
    count = body.TASKS["W2b"]
    with _processes(2) as executor:
        return [rate("no-op, processes", count, await _through(executor, count))]


async def w3() -> list[Figure]:
    loop = asyncio.get_running_loop()
    figures: list[Figure] = []
    with ThreadPoolExecutor(2) as threads, _processes(2) as processes:
        await until_both_work(lambda: loop.run_in_executor(processes, body.busy_process, body.CPU_TASK_S))
        places: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
            ("event loop", lambda: asyncio.create_task(noop())),
            ("thread", lambda: loop.run_in_executor(threads, body.noop)),
            ("process", lambda: loop.run_in_executor(processes, body.noop)),
        ]
        for place, submit in places:
            for _ in range(50):
                await submit()
            samples = []
            for _ in range(body.TASKS["W3"]):
                began = time.perf_counter()
                await submit()
                samples.append(time.perf_counter() - began)
            figures += percentiles(f"one at a time, {place}", samples, scale=1e6, unit="us")
    return figures


async def w4() -> list[Figure]:
    async def batch() -> None:
        await asyncio.sleep(body.BATCH_S)

    async def urgent() -> None:
        await asyncio.sleep(body.URGENT_S)

    dice, pool, samples = random.Random(4), Pool(), []
    await pool.start(body.SLOTS)
    futures = [pool.submit(batch, 5) for _ in range(body.BATCH_TASKS)]
    while not futures[-1].done():
        await asyncio.sleep(dice.uniform(0.04, 0.06))
        began = time.perf_counter()
        await pool.submit(urgent, 2)
        samples.append(time.perf_counter() - began)
    pool.close()
    return percentiles("urgent task under load", samples, scale=1e3, unit="ms")


async def w5() -> list[Figure]:
    count, pool = body.TASKS["W5"], Pool()
    await pool.start(body.SLOTS)

    async def graph() -> None:
        await asyncio.gather(pool.submit(noop), pool.submit(noop))
        await pool.submit(noop)

    began = time.perf_counter()
    await asyncio.gather(*(graph() for _ in range(count)))
    elapsed = time.perf_counter() - began
    pool.close()
    return [rate("diamonds", count, elapsed, "graphs/s")]


async def w7() -> list[Figure]:
    data = bytes(range(256)) * (body.TEN_MB // 256)
    loop, samples = asyncio.get_running_loop(), []
    with _processes(2) as executor:
        for number in range(25):
            began = time.perf_counter()
            back = await loop.run_in_executor(executor, body.echo, data)
            if number >= 5:
                samples.append(time.perf_counter() - began)
            require(back == data, "the bytes came back")
    return percentiles("10 MB to a process and back", samples, scale=1e3, unit="ms")


async def w8() -> list[Figure]:
    count, pool = body.TASKS["W8"], Pool()
    before = psutil.Process().memory_info().rss
    futures = [pool.submit(noop) for _ in range(count)]
    used = psutil.Process().memory_info().rss - before
    require(len(futures) == count, "all wait")
    return [Figure("memory per pending task", used / count, "bytes", "lower")]


async def w9() -> list[Figure]:
    count, loop = body.TASKS["W9"], asyncio.get_running_loop()
    with _processes(2) as executor:
        await asyncio.gather(*(loop.run_in_executor(executor, body.spin, 0.02) for _ in range(4)))
        began = time.perf_counter()
        await asyncio.gather(*(loop.run_in_executor(executor, body.spin, body.CPU_TASK_S) for _ in range(count)))
        elapsed = time.perf_counter() - began
    return [efficiency(count, elapsed)]


async def w10() -> list[Figure]:
    """By hand, because no executor can end what it runs: a process, a join with a timeout, a kill."""
    context = multiprocessing.get_context("forkserver")
    late, recovered = [], []
    for _ in range(10):
        process = context.Process(target=body.endless)
        process.start()
        began = time.perf_counter()
        await asyncio.to_thread(process.join, body.LOOP_TIMEOUT_S)
        process.kill()
        process.join()
        late.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
        after = context.Process(target=body.noop)
        after.start()
        await asyncio.to_thread(after.join)
        recovered.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
    return [
        *percentiles("endless loop, past its limit until TIMEOUT", late, scale=1e3, unit="ms")[:1],
        *percentiles("endless loop, until the next task is done", recovered, scale=1e3, unit="ms")[:1],
    ]


WORKLOADS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "W1": w1, "W2": w2, "W2b": w2b, "W3": w3, "W4": w4, "W5": w5, **workloads(GroupCommit), "W7": w7, "W8": w8,
    "W9": w9, "W10": w10,
}  # fmt: skip
