"""The workloads on this library."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessorConfig,
    TaskContext,
    TaskPriority,
    TaskResult,
    TaskStatus,
)
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.task_codec import decode_result
from benchmarks import functions as body
from benchmarks import lane_functions
from benchmarks.durable import SLOTS, workloads
from benchmarks.sizes import FULL
from benchmarks.system import Adapters, System

NAME = "async_processor"
PACKAGE = "advanced-async-processor"


async def noop(task: ProcessingTask) -> None:
    """Nothing, on the event loop."""


async def nap(task: ProcessingTask) -> None:
    await asyncio.sleep(task.payload["seconds"])


async def block(task: ProcessingTask) -> None:
    await body.gate.block()


async def successor(task: ProcessingTask) -> int:
    number: int = task.payload["number"]
    return number + 1


async def total(task: ProcessingTask, context: TaskContext) -> int:
    return sum(result.result for result in context.dependencies.values())


ON_LOOP: dict[str, Callable[..., Awaitable[Any]]] = {
    "noop": noop, "nap": nap, "block": block, "successor": successor, "total": total,
}  # fmt: skip
# How the one argument of a body is called in its payload.
ARGUMENT = {"nap": "seconds", "successor": "number", "echo": "data", "spin": "seconds"}
KEPT_RESULTS = 2 * FULL.growth[-1]
_EMPTY: dict[str, Any] = {}


def processor(functions: dict[str, Any], *, prompt: bool = False, **arguments: Any) -> AdvancedAsyncProcessor:
    """As a user would make it, with monitoring; only the queue and the memory for results are large enough.

    Args:
        prompt: as a user would make it to whom the time of each task matters more than how many there are.
    """
    made = AdvancedAsyncProcessor(
        **{"max_workers": body.SLOTS, "max_thread_workers": 2, "max_process_workers": 2, **arguments},
        queue_size=KEPT_RESULTS,
        config=ProcessorConfig(max_results=KEPT_RESULTS, garbage_collection="when_quiet" if prompt else "automatic"),
    )
    for name, function in functions.items():
        made.register_processor(name, function)
    return made


class Ours(System):
    """A processor.

    Args:
        lane: where its tasks run.
        kept: whether in a store that survives a power cut.
        arguments: for the processor.
    """

    def __init__(
        self, lane: Literal["loop", "thread", "process"] = "loop", *, kept: bool = False, **arguments: Any
    ) -> None:
        self._functions = ON_LOOP if lane == "loop" else lane_functions.PLAIN
        self._cpu_intensive = lane == "process"
        self._kept = kept
        self._arguments = arguments

    async def __aenter__(self) -> Self:
        if self._kept:
            self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
            self._arguments["store"] = f"sqlite:///{self._folder.name}/tasks.db"
        self._running = processor(self._functions, **self._arguments)
        await self._running.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._running.shutdown()
        if self._kept:
            self._folder.cleanup()

    def task(
        self,
        name: str,
        *arguments: Any,
        urgent: bool = False,
        after: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ProcessingTask:
        return ProcessingTask(
            name,
            {ARGUMENT[name]: arguments[0]} if arguments else _EMPTY,
            priority=TaskPriority.HIGH if urgent else TaskPriority.BATCH if name == "nap" else TaskPriority.NORMAL,
            depends_on=tuple(after),
            timeout=timeout or 300.0,
            max_retries=0 if timeout else 3,
            cpu_intensive=self._cpu_intensive,
        )

    async def submit(self, task: ProcessingTask) -> str:
        return await self._running.submit_task(task)

    async def result(self, handle: str) -> Any:
        return (await self._running.wait_for_task(handle)).unwrap()

    async def done(self, handles: Sequence[str]) -> None:
        await self._running.wait_until_idle()

    async def timed_out(self, handle: str) -> bool:
        return (await self._running.wait_for_task(handle)).status is TaskStatus.TIMEOUT


class OursDurable:
    """W6 and W6f: see ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._path = folder / "tasks.db"
        self._durability: Literal["power", "process"] = "power" if power else "process"
        self._numbers: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        store = f"sqlite:///{self._path}"
        self._running = processor(ON_LOOP, prompt=True, max_workers=SLOTS, store=store, durability=self._durability)
        await self._running.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._running.shutdown()

    async def successor(self, number: int) -> int:
        task = ProcessingTask("successor", {"number": number})
        self._numbers[task.id] = number
        done: TaskResult = await self._running.wait_for_task(await self._running.submit_task(task))
        result: int = done.unwrap()
        return result

    async def kept(self) -> int:
        # With room for all: the usual limits would forget the oldest while they are looked at.
        store = SqliteStore(self._path, max_results=KEPT_RESULTS)
        await store.open(lambda _: None)
        stored = await store.find(list(self._numbers))
        await store.aclose(1.0)
        return sum(decode_result(stored[name]).unwrap() == number + 1 for name, number in self._numbers.items())


_threads = functools.partial(Ours, "thread")
_processes = functools.partial(Ours, "process")
_one_slot = functools.partial(Ours, max_workers=1)

ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W3/a", "W5", "W11/growth", "W11/chain", "W11/fan-out"), Ours),
    **dict.fromkeys(("W4", "W12"), functools.partial(Ours, prompt=True)),
    **dict.fromkeys(("W2", "W3/t"), _threads),
    **dict.fromkeys(("W2b", "W3/p", "W7", "W9"), _processes),
    "W4d": functools.partial(Ours, prompt=True, kept=True, durability="power"),
    **workloads(OursDurable),
    "W8": _one_slot,
    "W11/drain": functools.partial(_one_slot, prompt=True),
    "W10": functools.partial(Ours, "process", max_process_workers=1),
}
