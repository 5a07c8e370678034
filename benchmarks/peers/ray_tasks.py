"""Ray on one machine: two worker processes, and an object store in shared memory."""

from __future__ import annotations

import functools
import logging
from typing import Any, Self

import ray

from benchmarks import functions as body
from benchmarks.measure import until_both_work
from benchmarks.system import Adapters, Call, Calls

NAME = "ray"
PACKAGE = "ray"
ABOUT = "a cluster of one machine: tasks in processes, graphs by references; no priorities, nothing kept"


class Ray(Calls):
    """A cluster of its own, for this process; tasks order themselves by the references that they are given."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    async def __aenter__(self) -> Self:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1", object_store_memory=256 * 1024 * 1024,
        )  # fmt: skip
        self._remote = {name: ray.remote(max_retries=0)(function) for name, function in body.PLAIN.items()}
        await until_both_work(lambda: self.one("busy_process"))
        return self

    async def __aexit__(self, *raised: object) -> None:
        ray.shutdown()

    async def submit(self, task: Call) -> ray.ObjectRef[Any]:
        return self._remote[task.body].remote(*task.arguments, *task.after)

    async def done(self, handles: Any) -> None:
        # One call for all, as its documentation says; it blocks, and nothing else is to be done here meanwhile.
        ray.wait(list(handles), num_returns=len(handles), fetch_local=False)

    async def result(self, handle: Any) -> Any:
        return await handle


ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W2b", "W5", "W12"), Ray),
    **dict.fromkeys(("W3/p", "W7", "W9"), functools.partial(Ray, 1.0)),
}
