"""The workloads on what Python brings: queues, executors, processes. Without ids, results by id, retries, metrics."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Self

from benchmarks import functions as body
from benchmarks.durable import workloads
from benchmarks.group_commit import GroupCommit
from benchmarks.system import Adapters, Call, Calls

NAME = "standard library"


class Coroutines(Calls):
    """A priority queue, workers, and a future for each task."""

    def __init__(self, slots: int = body.SLOTS) -> None:
        self._slots = slots
        self._queue: asyncio.PriorityQueue[Any] = asyncio.PriorityQueue()
        self._order = 0

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._slots)]
        return self

    async def __aexit__(self, *raised: object) -> None:
        for worker in self._workers:
            worker.cancel()

    async def call(self, call: Call) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        self._order += 1
        self._queue.put_nowait((not call.urgent, self._order, call, done))
        return done

    async def _work(self) -> None:
        while True:
            _, _, call, done = await self._queue.get()
            done.set_result(await body.COROUTINES[call.body](*call.arguments))


class Bare(Calls):
    """A task of asyncio each, and nothing else."""

    async def call(self, call: Call) -> asyncio.Task[Any]:
        return asyncio.ensure_future(body.COROUTINES[call.body](*call.arguments))


class Pool(Calls):
    """An executor, with what it makes reached through the event loop.

    Args:
        make: the executor.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make

    async def __aenter__(self) -> Self:
        self._executor = self._make()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    async def call(self, call: Call) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._executor, body.PLAIN[call.body], *call.arguments)


class Killed(Calls):
    """By hand, because no executor can end what it runs: a process for each task, one after the other, and a kill."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._slot = asyncio.Lock()

    async def call(self, call: Call) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._run(call))
        # So far that it stands in line for the slot, if it has not got it.
        await asyncio.sleep(0)
        return task

    async def result(self, handle: asyncio.Task[bool]) -> None:
        await handle

    async def timed_out(self, handle: asyncio.Task[bool]) -> bool:
        return await handle

    async def _run(self, call: Call) -> bool:
        """Whether it had to be killed."""
        async with self._slot:
            process = self._context.Process(target=body.PLAIN[call.body], args=call.arguments)
            process.start()
            await asyncio.to_thread(process.join, call.timeout)
            late = process.is_alive()
            process.kill()
            process.join()
            return late


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver"))


_threads = functools.partial(Pool, functools.partial(ThreadPoolExecutor, 2))
_processes = functools.partial(Pool, processes)

ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W4", "W5", "W11/growth", "W11/chain", "W11/fan-out", "W12"), Coroutines),
    "W3/a": Bare,
    **dict.fromkeys(("W2", "W3/t"), _threads),
    **dict.fromkeys(("W2b", "W3/p", "W7", "W9"), _processes),
    **workloads(GroupCommit),
    **dict.fromkeys(("W8", "W11/drain"), functools.partial(Coroutines, 1)),
    "W10": Killed,
}
