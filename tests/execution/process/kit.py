"""A process lane on a bench, and what is needed to look at real processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import psutil
from tests.execution.lane_kit import Bench, LaneCase, RecordingSink

from async_processor.clock import SystemClock
from async_processor.execution.process_lane import ProcessLane
from async_processor.outcome import AttemptOutcome, Raised, Returned

MIB = 1024 * 1024
# Real processes on a machine that may be busy with other things: how long to wait before calling it a failure.
PATIENCE_S = 20.0

DEFAULTS: dict[str, Any] = {
    "start_method": "forkserver",
    "worker_start_timeout": 40.0,
    "max_tasks_per_worker": 0,
    "max_worker_memory_mb": 0,
    "max_payload_bytes": 64 * MIB,
    "max_result_bytes": 64 * MIB,
    "clock": SystemClock(),
}


def make_lane(slots: int = 1, **options: Any) -> ProcessLane:
    return ProcessLane([f"process-{number}" for number in range(slots)], **{**DEFAULTS, **options})


@asynccontextmanager
async def open_lane(slots: int = 1, **options: Any) -> AsyncIterator[Bench]:
    """A process lane, started; closed and checked at the end."""
    lane, sink = make_lane(slots, **options), RecordingSink()
    await lane.start(sink)
    bench = Bench(LaneCase(make=lambda _: lane, is_async=False, in_process=False), lane, sink)
    try:
        yield bench
    finally:
        await lane.aclose(PATIENCE_S)
    bench.check()


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Look at the outside world until it is as it should be."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells when a process of the outside world has changed
            await asyncio.sleep(0.005)


async def has_begun(bench: Bench, token: int) -> None:
    await bench.sink.wait_until(lambda: token in bench.sink.began)


async def pid_of(bench: Bench, slot: int = 0) -> int:
    """The process of a slot, as soon as there is one."""
    name = bench.lane.slots[slot]
    await until(lambda: name in bench.lane.statistics().workers)
    return bench.lane.statistics().workers[name]


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and waits to be reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def value_of(outcome: AttemptOutcome) -> Any:
    assert isinstance(outcome, Returned), outcome
    return outcome.value


def error_of(outcome: AttemptOutcome, type_name: str) -> str:
    """The message of a failure of that type."""
    assert isinstance(outcome, Raised), outcome
    assert outcome.error.type_name == type_name, outcome.error
    return outcome.error.message


class LagMeter:
    """The longest time for which the event loop was held up while this was open."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._measure())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _measure(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.worst = max(self.worst, time.perf_counter() - began - 0.001)
