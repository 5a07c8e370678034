"""Whom the workloads are run on: ours, the standard library and the peers, each in a module of its own."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

from benchmarks.sizes import Sizes
from benchmarks.workloads import WORKLOADS, run

OURS, STANDARD_LIBRARY = "ours", "stdlib"
UVLOOP = "uvloop"
_PEERS = "benchmarks.peers"
MODULES = {
    OURS: "benchmarks.ours",
    STANDARD_LIBRARY: "benchmarks.standard_library",
    "aiojobs": f"{_PEERS}.aiojobs_scheduler",
    "celery": f"{_PEERS}.celery_redis",
    "dask": f"{_PEERS}.dask_cluster",
    "dbos": f"{_PEERS}.dbos_sqlite",
    "huey": f"{_PEERS}.huey_sqlite",
    "loky": f"{_PEERS}.loky_pool",
    "pebble": f"{_PEERS}.pebble_pool",
    "persist-queue": f"{_PEERS}.persist_queue",
    "procrastinate": f"{_PEERS}.procrastinate_postgresql",
    "ray": f"{_PEERS}.ray_tasks",
    "saq": f"{_PEERS}.saq_valkey",
    "taskiq": f"{_PEERS}.taskiq_memory",
}
# Those that need no server, nor seconds to start.
QUICK = (OURS, STANDARD_LIBRARY, "aiojobs", "loky", "pebble", "taskiq")


class MissingError(Exception):
    """A system cannot be measured here; says what is missing."""


@dataclass(frozen=True)
class Installed:
    """A system that can be measured here."""

    name: str
    module: ModuleType

    @property
    def workloads(self) -> list[str]:
        """Those that it is made for, in the order of the tables."""
        return [name for name in WORKLOADS if name in self.module.ADAPTERS]

    def about(self) -> dict[str, str]:
        """What the report says of it."""
        package = getattr(self.module, "PACKAGE", None)
        version = metadata.version(package) if package else ""
        return {"name": self.module.NAME, "version": version, "about": getattr(self.module, "ABOUT", "")}


def load(name: str) -> Installed:
    """Raises:
    MissingError: what it needs is not installed.
    """
    try:
        module = importlib.import_module(MODULES[name])
    except ModuleNotFoundError as error:
        raise MissingError(f"{error}; `make bench` installs it") from None
    if (problem := getattr(module, "missing", _nothing)()) is not None:
        raise MissingError(problem)
    return Installed(name, module)


def _nothing() -> None:
    return None


def measure_here(name: str, workloads: list[str], loop: str, sizes: Sizes) -> str:
    """Run workloads in this process, each on an event loop of its own; their figures as one line of JSON."""
    adapters = load(name).module.ADAPTERS
    figures: list[dict[str, Any]] = []
    for workload in workloads:
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            measured = runner.run(run(workload, adapters[workload], sizes))
        figures += [{"workload": workload, **asdict(figure)} for figure in measured]
    return json.dumps(figures)


def loop_factory(loop: str) -> Callable[[], Any] | None:
    """What makes the event loop, of asyncio itself or of uvloop."""
    if loop != UVLOOP:
        return None
    import uvloop

    return uvloop.new_event_loop
