"""Dask's distributed scheduler on one machine: threads of this process, or two worker processes."""

from __future__ import annotations

import functools
import logging
from typing import Any, Self

from distributed import Client, Future, LocalCluster, wait

from benchmarks import functions as body
from benchmarks.system import Adapters, Call, Calls

NAME = "dask"
PACKAGE = "distributed"
ABOUT = "a cluster of one machine: graphs and priorities; a call cannot be ended, nothing kept"


class Dask(Calls):
    """A cluster without its dashboard.

    Args:
        processes: whether there are two processes of one thread each, or threads in this process.
        threads: how many, in this process.
    """

    def __init__(self, *, processes: bool = False, threads: int = body.SLOTS, share: float = 0.1) -> None:
        self._processes = processes
        self._threads = threads
        self.share = share

    async def __aenter__(self) -> Self:
        logging.getLogger("distributed").setLevel(logging.ERROR)
        if self._processes:
            where = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1"}
        else:
            where = {"n_workers": 1, "threads_per_worker": self._threads}
        self._cluster = await LocalCluster(
            processes=self._processes, dashboard_address=None, asynchronous=True, memory_limit=0, **where
        )
        self._client = await Client(self._cluster, asynchronous=True)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._client.close()
        await self._cluster.close()

    async def submit(self, task: Call) -> Future:
        # Impure: the same call again is another task, not the result of the first.
        return self._client.submit(
            body.PLAIN[task.body], *task.arguments, *task.after, pure=False, priority=10 if task.urgent else 0
        )

    async def done(self, handles: Any) -> None:
        await wait(list(handles))

    async def result(self, handle: Future) -> Any:
        return await handle.result()


_processes = functools.partial(Dask, processes=True)

ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W5", "W12"), Dask),
    "W2": functools.partial(Dask, threads=2),
    "W4": functools.partial(Dask, share=1.0),
    "W2b": _processes,
    **dict.fromkeys(("W3/p", "W7", "W9"), functools.partial(Dask, processes=True, share=1.0)),
}
