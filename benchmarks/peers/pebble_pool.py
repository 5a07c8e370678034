"""Pebble's pools: threads, and processes that can be killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from multiprocessing import get_context

from pebble import ProcessPool, ThreadPool

from benchmarks import functions as body
from benchmarks.measure import Figure, percentiles, rate, require, until_both_work

NAME = "pebble"
ABOUT = "pools of threads and of processes that can be killed; no order, no results by id, nothing kept"
Submit = Callable[[], Awaitable[object]]


def processes(count: int) -> ProcessPool:
    return ProcessPool(max_workers=count, context=get_context("forkserver"))


async def w2() -> list[Figure]:
    with ThreadPool(max_workers=2) as pool:
        return [rate("no-op, threads", body.TASKS["W2"], await _all(lambda: pool.submit(body.noop), body.TASKS["W2"]))]


async def w2b() -> list[Figure]:
    count = body.TASKS["W2b"]
    with processes(2) as pool:
        return [rate("no-op, processes", count, await _all(lambda: pool.submit(body.noop, None), count))]


async def w3() -> list[Figure]:
    with ThreadPool(max_workers=2) as threads, processes(2) as workers:
        await until_both_work(lambda: asyncio.wrap_future(workers.submit(body.busy_process, None, body.CPU_TASK_S)))
        return [
            *await _one_at_a_time("thread", lambda: threads.submit(body.noop)),
            *await _one_at_a_time("process", lambda: workers.submit(body.noop, None)),
        ]


async def w10() -> list[Figure]:
    late, recovered = [], []
    with processes(1) as pool:
        await asyncio.wrap_future(pool.submit(body.noop, None))
        for _ in range(10):
            hanging = asyncio.wrap_future(pool.submit(body.endless, body.LOOP_TIMEOUT_S))
            after = asyncio.wrap_future(pool.submit(body.noop, None))
            began = time.perf_counter()
            await asyncio.wait((hanging,))
            late.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
            require(isinstance(hanging.exception(), LateError), "the loop timed out")
            await after
            recovered.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
    return [
        *percentiles("endless loop, past its limit until TIMEOUT", late, scale=1e3, unit="ms")[:1],
        *percentiles("endless loop, until the next task is done", recovered, scale=1e3, unit="ms")[:1],
    ]


async def _all(submit: Callable[[], Future[None]], count: int) -> float:
    for _ in range(20):
        await asyncio.wrap_future(submit())
    began = time.perf_counter()
    futures = [asyncio.wrap_future(submit()) for _ in range(count)]
    for future in futures:
        await future
    return time.perf_counter() - began


async def _one_at_a_time(place: str, submit: Callable[[], Future[None]]) -> list[Figure]:
    for _ in range(50):
        await asyncio.wrap_future(submit())
    samples = []
    for _ in range(body.TASKS["W3"]):
        began = time.perf_counter()
        await asyncio.wrap_future(submit())
        samples.append(time.perf_counter() - began)
    return percentiles(f"one at a time, {place}", samples, scale=1e6, unit="us")


WORKLOADS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"W2": w2, "W2b": w2b, "W3": w3, "W10": w10}
