"""An attempt that has ended is forgotten: nothing of it stays alive in its lane."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest
from tests.execution.lane_kit import LANES, Bench, open_bench

from async_processor.model import ProcessingTask
from async_processor.outcome import Raised

IN_PROCESS = {name: case for name, case in LANES.items() if case.in_process}


@pytest.fixture(params=IN_PROCESS, ids=list(IN_PROCESS))
async def bench(request: pytest.FixtureRequest, no_leaks: None) -> AsyncIterator[Bench]:
    async with open_bench(IN_PROCESS[request.param]) as bench:
        yield bench


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed is freed because nobody holds it, not because somebody looked for it."""
    gc.disable()
    yield
    gc.enable()


class Witness:
    """Something whose end can be seen."""


async def gone(reference: weakref.ref[Any]) -> bool:
    # A thread lets go of an attempt just after it has reported it.
    for _ in range(200):
        if reference() is None:
            return True
        await asyncio.sleep(0.005)
    return False


async def test_an_ended_attempt_keeps_neither_payload_nor_locals_nor_exception(bench: Bench, no_collector: None):  # R2
    witnesses: dict[str, weakref.ref[Any]] = {}

    class WitnessedError(Exception):
        pass

    def fails(task: ProcessingTask) -> None:
        local, error = Witness(), WitnessedError("with a frame")
        witnesses["local"] = weakref.ref(local)
        witnesses["error"] = weakref.ref(error)
        try:
            raise error
        finally:
            del error  # else this function makes a circle of its own

    in_payload = Witness()
    witnesses["payload"] = weakref.ref(in_payload)
    outcome = await bench.outcome_of(bench.form(fails), {"witness": in_payload})
    del in_payload

    assert isinstance(outcome, Raised)
    assert [name for name, reference in witnesses.items() if not await gone(reference)] == []


async def test_failures_with_large_locals_do_not_add_up(bench: Bench, no_collector: None):  # R2
    def fails(task: ProcessingTask) -> None:
        local = bytearray(1_000_000)
        raise ValueError(len(local))

    async def fail(times: int) -> None:
        for _ in range(times):
            await bench.outcome_of(bench.form(fails))
            bench.sink.ended.popitem()
            bench.given.clear()

    await fail(50)
    before = psutil.Process().memory_info().rss
    await fail(500)

    # 20 MB is the figure; kept, these would be 500 MB.
    assert psutil.Process().memory_info().rss - before <= 20_000_000
