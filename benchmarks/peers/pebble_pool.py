"""Pebble's pools: threads, and processes that can be killed."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import TimeoutError as LateError
from multiprocessing import get_context
from typing import Any, Self

from pebble import ProcessPool, ThreadPool

from benchmarks import functions as body
from benchmarks.system import Adapters, Call, Calls

NAME = "pebble"
PACKAGE = "Pebble"
ABOUT = "pools of threads and of processes that can be killed; no order, no results by id, nothing kept"


class Pebble(Calls):
    """A pool.

    Args:
        make: the pool; one of processes also takes a timeout for each call.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    async def __aenter__(self) -> Self:
        self._pool = self._make()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._pool.close()
        await asyncio.to_thread(self._pool.join)

    async def call(self, call: Call) -> asyncio.Future[Any]:
        timeout = (call.timeout,) if isinstance(self._pool, ProcessPool) else ()
        return asyncio.wrap_future(self._pool.submit(body.PLAIN[call.body], *timeout, *call.arguments))

    async def timed_out(self, handle: asyncio.Future[Any]) -> bool:
        await asyncio.wait((handle,))
        return isinstance(handle.exception(), LateError)


def processes(count: int) -> ProcessPool:
    return ProcessPool(max_workers=count, context=get_context("forkserver"))


_threads = functools.partial(Pebble, functools.partial(ThreadPool, max_workers=2))
_processes = functools.partial(Pebble, functools.partial(processes, 2))

ADAPTERS: Adapters = {
    **dict.fromkeys(("W2", "W3/t"), _threads),
    **dict.fromkeys(("W2b", "W3/p", "W7", "W9"), _processes),
    "W10": functools.partial(Pebble, functools.partial(processes, 1)),
}
