"""Long runs, for the night."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.execution.lane_kit import Bench
from tests.execution.process import jobs
from tests.execution.process.kit import open_lane, value_of

from async_processor.outcome import Returned

pytestmark = pytest.mark.nightly


@contextmanager
def logging_threads(path: Path, threads: int = 8, lines_per_second: int = 1_000) -> Iterator[None]:
    """So many threads log together so many lines a second: at any moment one of them holds the lock of the handler."""
    handler = logging.FileHandler(path)
    logger = logging.getLogger("tests.noise")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    done = threading.Event()

    def log() -> None:
        while not done.wait(threads / lines_per_second):
            logger.info("a line")

    noise = [threading.Thread(target=log) for _ in range(threads)]
    for thread in noise:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in noise:
            thread.join()
        logger.removeHandler(handler)
        handler.close()


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_500_workers_start_while_8_threads_log(no_leaks: None, tmp_path: Path, method: str):  # P8
    assert multiprocessing.get_context(method).get_start_method() != "fork"
    with logging_threads(tmp_path / "log"):
        async with open_lane(2, start_method=method, max_tasks_per_worker=1) as bench:
            for number in range(500):
                assert value_of(await bench.outcome_of(jobs.log_a_line, slot=number % 2)) != os.getpid()


@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_50000_tiny_tasks_on_8_workers_finish_20_times(no_leaks: None, method: str):  # P10
    for _ in range(20):
        async with open_lane(8, start_method=method) as bench:
            await run_many(bench, 50_000)


async def run_many(bench: Bench, count: int) -> None:
    left, slot_of = itertools.count(), {}
    began = time.monotonic()

    def run_next(slot: int) -> None:
        if next(left) < count:
            slot_of[bench.run(jobs.nothing, slot=slot)] = slot

    bench.sink.on_end = lambda token: run_next(slot_of.pop(token))
    for slot in range(8):
        run_next(slot)
    for mark in range(1_000, count + 1, 1_000):
        await bench.sink.wait_until(lambda: len(bench.sink.ended) >= mark)  # noqa: B023 - called in this round only

    assert set(bench.sink.ended.values()) == {Returned(None)}
    assert time.monotonic() - began < 300
