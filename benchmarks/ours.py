"""The workloads on this library."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, Self

import psutil

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessorConfig,
    TaskPriority,
    TaskResult,
    TaskStatus,
)
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.task_codec import decode_result
from benchmarks import functions as body
from benchmarks.durable import SLOTS, workloads
from benchmarks.lane_functions import echo, endless, noop_sync, spin
from benchmarks.measure import Figure, efficiency, percentiles, rate, require, until_both_work

NAME = "async_processor"


async def noop(task: ProcessingTask) -> None:
    """Nothing, on the event loop."""


async def nap(task: ProcessingTask) -> None:
    await asyncio.sleep(task.payload["seconds"])


async def join(task: ProcessingTask, context: Any) -> int:
    return len(context.dependencies)


async def successor(task: ProcessingTask) -> int:
    number: int = task.payload["number"]
    return number + 1


FUNCTIONS = (noop, noop_sync, echo, spin, endless, nap, join, successor)


def processor(**arguments: Any) -> AdvancedAsyncProcessor:
    """As a user would make it, with monitoring; only the queue and the memory for results are large enough."""
    made = AdvancedAsyncProcessor(
        **{"max_workers": body.SLOTS, "max_thread_workers": 2, "max_process_workers": 2, **arguments},
        queue_size=1_000_000,
        config=ProcessorConfig(max_results=200_000),
    )
    for function in FUNCTIONS:
        made.register_processor(function.__name__, function)
    return made


async def all_at_once(count: int, name: str, **hints: Any) -> float:
    async with processor() as running:
        await warm(running, name, **hints)
        tasks = [ProcessingTask(name, timeout=300.0, **hints) for _ in range(count)]
        began = time.perf_counter()
        for task in tasks:
            await running.submit_task(task)
        await running.wait_until_idle()
        elapsed = time.perf_counter() - began
        results = [await running.get_task_result(task.id) for task in tasks]
        require(all(result is not None and result.ok for result in results), "every task completed")
    return elapsed


async def warm(running: AdvancedAsyncProcessor, name: str, count: int = 20, **hints: Any) -> None:
    for _ in range(count):
        await one(running, ProcessingTask(name, **hints))


async def one(running: AdvancedAsyncProcessor, task: ProcessingTask) -> TaskResult:
    return await running.wait_for_task(await running.submit_task(task))


async def w1() -> list[Figure]:
    count = body.TASKS["W1"]
    return [rate("no-op, event loop", count, await all_at_once(count, "noop"))]


async def w2() -> list[Figure]:
    count = body.TASKS["W2"]
    return [rate("no-op, threads", count, await all_at_once(count, "noop_sync"))]


async def w2b() -> list[Figure]:
    count = body.TASKS["W2b"]
    return [rate("no-op, processes", count, await all_at_once(count, "noop_sync", cpu_intensive=True))]


async def w3() -> list[Figure]:
    figures: list[Figure] = []
    async with processor() as running:

        async def occupy() -> object:
            return (await one(running, ProcessingTask("spin", cpu_intensive=True))).worker_id

        await until_both_work(occupy)
        lanes: list[tuple[str, str, dict[str, bool]]] = [
            ("event loop", "noop", {}),
            ("thread", "noop_sync", {}),
            ("process", "noop_sync", {"cpu_intensive": True}),
        ]
        for lane, name, hints in lanes:
            await warm(running, name, 50, **hints)
            samples = []
            for _ in range(body.TASKS["W3"]):
                began = time.perf_counter()
                result = await one(running, ProcessingTask(name, **hints))
                samples.append(time.perf_counter() - began)
                require(result.ok, "the task completed")
            figures += percentiles(f"one at a time, {lane}", samples, scale=1e6, unit="us")
    return figures


async def w4() -> list[Figure]:
    samples: list[float] = []
    dice = random.Random(4)
    async with processor() as running:
        await warm(running, "nap", 3, payload={"seconds": 0.001})
        batch = [
            ProcessingTask("nap", {"seconds": body.BATCH_S}, priority=TaskPriority.BATCH)
            for _ in range(body.BATCH_TASKS)
        ]
        for task in batch:
            await running.submit_task(task)
        while (await running.get_task_result(batch[-1].id)) is None:
            await asyncio.sleep(dice.uniform(0.04, 0.06))
            began = time.perf_counter()
            await one(running, ProcessingTask("nap", {"seconds": body.URGENT_S}, priority=TaskPriority.HIGH))
            samples.append(time.perf_counter() - began)
        await running.wait_until_idle()
    require(len(samples) >= 20, "enough urgent tasks")
    return percentiles("urgent task under load", samples, scale=1e3, unit="ms")


async def w5() -> list[Figure]:
    count = body.TASKS["W5"]
    async with processor() as running:
        await warm(running, "noop")
        joins = []
        began = time.perf_counter()
        for _ in range(count):
            first, second = ProcessingTask("noop"), ProcessingTask("noop")
            last = ProcessingTask("join", depends_on=(first.id, second.id))
            for task in (first, second, last):
                await running.submit_task(task)
            joins.append(last)
        await running.wait_until_idle()
        elapsed = time.perf_counter() - began
        for task in joins:
            result = await running.get_task_result(task.id)
            require(result is not None and result.result == 2, "the join saw both results")
    return [rate("diamonds", count, elapsed, "graphs/s")]


async def w7() -> list[Figure]:
    data = bytes(range(256)) * (body.TEN_MB // 256)
    samples = []
    async with processor() as running:
        for number in range(25):
            began = time.perf_counter()
            result = await one(running, ProcessingTask("echo", {"data": data}, cpu_intensive=True))
            if number >= 5:
                samples.append(time.perf_counter() - began)
            require(result.result == data, "the bytes came back")
    return percentiles("10 MB to a process and back", samples, scale=1e3, unit="ms")


async def w8() -> list[Figure]:
    count = body.TASKS["W8"]
    async with processor(max_workers=1) as running:
        release = await _block(running)
        before = psutil.Process().memory_info().rss
        for _ in range(count):
            await running.submit_task(ProcessingTask("noop", _EMPTY))
        used = psutil.Process().memory_info().rss - before
        release()
        await running.wait_until_idle()
    return [Figure("memory per pending task", used / count, "bytes", "lower")]


_EMPTY: dict[str, Any] = {}


async def _block(running: AdvancedAsyncProcessor) -> Callable[[], None]:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def block(task: ProcessingTask) -> None:
        entered.set()
        await gate.wait()

    running.register_processor("block", block)
    await running.submit_task(ProcessingTask("block"))
    await entered.wait()
    return gate.set


async def w9() -> list[Figure]:
    count = body.TASKS["W9"]
    async with processor() as running:
        await warm(running, "spin", 4, cpu_intensive=True)
        tasks = [ProcessingTask("spin", cpu_intensive=True) for _ in range(count)]
        began = time.perf_counter()
        for task in tasks:
            await running.submit_task(task)
        await running.wait_until_idle()
        elapsed = time.perf_counter() - began
    return [efficiency(count, elapsed)]


async def w10() -> list[Figure]:
    late, recovered = [], []
    async with processor(max_process_workers=1) as running:
        await warm(running, "noop_sync", cpu_intensive=True)
        for _ in range(10):
            hanging = ProcessingTask("endless", timeout=body.LOOP_TIMEOUT_S, max_retries=0, cpu_intensive=True)
            after = ProcessingTask("noop_sync", cpu_intensive=True)
            await running.submit_task(hanging)
            await running.submit_task(after)
            began = time.perf_counter()
            result = await running.wait_for_task(hanging.id)
            late.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
            require(result.status is TaskStatus.TIMEOUT, "the loop timed out")
            await running.wait_for_task(after.id)
            recovered.append(time.perf_counter() - began - body.LOOP_TIMEOUT_S)
    return [
        *percentiles("endless loop, past its limit until TIMEOUT", late, scale=1e3, unit="ms")[:1],
        *percentiles("endless loop, until the next task is done", recovered, scale=1e3, unit="ms")[:1],
    ]


class Ours:
    """W6 and W6f: see ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._path = folder / "tasks.db"
        self._durability: Literal["power", "process"] = "power" if power else "process"
        self._numbers: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        store = f"sqlite:///{self._path}"
        self._running = processor(max_workers=SLOTS, store=store, durability=self._durability)
        await self._running.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._running.shutdown()

    async def successor(self, number: int) -> int:
        task = ProcessingTask("successor", {"number": number})
        self._numbers[task.id] = number
        result: int = (await one(self._running, task)).unwrap()
        return result

    async def kept(self) -> int:
        store = SqliteStore(self._path)
        await store.open(lambda _: None)
        stored = await store.find(list(self._numbers))
        await store.aclose(1.0)
        return sum(decode_result(stored[name]).unwrap() == number + 1 for name, number in self._numbers.items())


WORKLOADS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "W1": w1, "W2": w2, "W2b": w2b, "W3": w3, "W4": w4, "W5": w5, **workloads(Ours), "W7": w7, "W8": w8, "W9": w9,
    "W10": w10,
}  # fmt: skip
