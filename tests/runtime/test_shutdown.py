"""Shutdown: bounded whatever the tasks do, idempotent, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time

import psutil
import pytest
from tests.runtime.support import Gate, ends, hold, register, running_processor, until

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessorConfig,
    ProcessorNotRunningError,
    TaskStatus,
    create_processor,
    create_task,
)
from async_processor.model import LaneName


async def ignores_everything(task: ProcessingTask) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.payload["asked"].set()


def blocks_a_thread(task: ProcessingTask) -> None:
    task.payload["release"].wait(60)


def spins(task: ProcessingTask) -> None:
    while True:
        pass


async def test_an_idle_processor_ends_at_once() -> None:  # D1: <= 100 ms
    took = [await _time_to_end(await _with_workers(await create_processor())) for _ in range(3)]

    assert min(took) <= 0.1, took


async def test_a_processor_whose_workers_still_start_ends_soon() -> None:
    took = [await _time_to_end(await create_processor()) for _ in range(3)]

    # The processes that begin just then are waited for, as long as a lane may take to close.
    assert min(took) <= 0.6, took


async def _with_workers(processor: AdvancedAsyncProcessor) -> AdvancedAsyncProcessor:
    lane = LaneName.PROCESS
    await until(lambda: len(processor._state().lanes[lane].workers) == 2)
    return processor


async def _time_to_end(processor: AdvancedAsyncProcessor) -> float:
    began = time.perf_counter()
    await processor.shutdown()
    return time.perf_counter() - began


async def test_shutdown_is_bounded_whatever_the_tasks_do() -> None:  # D2: timeout + 1 s
    release = threading.Event()
    processor = await create_processor()
    processor.register_processor("async", ignores_everything)
    processor.register_processor("thread", blocks_a_thread)
    processor.register_processor("process", spins, cpu_intensive=True)
    tasks = [
        create_task("async", {"asked": asyncio.Event()}),
        create_task("thread", {"release": release}),
        create_task("process"),
    ]
    for task in tasks:
        await processor.submit_task(task)
    lags: list[float] = []
    ticker = asyncio.create_task(_tick(lags))
    began = time.perf_counter()

    await processor.shutdown(timeout=0.5)

    elapsed = time.perf_counter() - began
    ticker.cancel()
    release.set()
    results = [await processor.get_task_result(task.id) for task in tasks]
    assert [result and result.status for result in results] == [TaskStatus.CANCELLED] * 3
    assert all("shut down" in (result.error or "") for result in results if result)
    assert elapsed <= 1.5 + 1.5  # the figure, and room for a busy machine
    assert sorted(lags)[len(lags) // 2] < 0.05
    assert not [child for child in psutil.Process().children() if _is_worker(child)]


async def _tick(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - began - 0.01)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "async_processor" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_running_tasks_may_end_and_waiting_ones_are_told() -> None:  # D3
    async with running_processor(workers=2) as processor:
        gates = await hold(processor, 2)
        waiting = [create_task("value") for _ in range(100)]
        for task in waiting:
            await processor.submit_task(task)
        waiters = [asyncio.create_task(processor.wait_for_task(task.id)) for task in waiting]
        closing = asyncio.create_task(processor.shutdown(timeout=20))
        results = await asyncio.gather(*waiters)
        assert not closing.done()
        for gate in gates:
            gate.open.set()
        await closing

        assert {result.status for result in results} == {TaskStatus.CANCELLED}
        assert all("shut down before task" in (result.error or "") for result in results)
        assert all(gate.runs == 1 for gate in gates)


async def test_nothing_is_accepted_after_a_shutdown() -> None:
    async with running_processor() as processor:
        await processor.shutdown()

        with pytest.raises(ProcessorNotRunningError, match="shut down"):
            await processor.submit_task(create_task("value"))
        assert not processor.is_running


async def test_shutdown_may_be_called_twice_and_at_the_same_time() -> None:  # D4
    async with running_processor() as processor:
        (gate,) = await hold(processor, 1)
        first, second = (asyncio.create_task(processor.shutdown(timeout=5)) for _ in range(2))
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, second)
        await processor.shutdown()


async def test_a_task_may_shut_its_processor_down() -> None:  # D4
    async with running_processor() as processor:

        async def suicidal(task: ProcessingTask) -> None:
            await processor.shutdown(timeout=20)

        processor.register_processor("suicidal", suicidal)
        began = time.perf_counter()
        task = create_task("suicidal")
        await processor.submit_task(task)
        (result,) = await ends(processor, task)
        await processor.shutdown()

        assert result.status is TaskStatus.CANCELLED
        assert time.perf_counter() - began < 10


async def test_a_shutdown_during_the_start_ends_what_was_started() -> None:  # D4
    processor = AdvancedAsyncProcessor()
    starting = asyncio.create_task(processor.start())
    await asyncio.sleep(0)
    await processor.shutdown()
    await starting

    assert not processor.is_running


async def test_a_processor_can_be_started_again() -> None:
    async with running_processor() as processor:
        await processor.shutdown()
        await processor.start()
        task = create_task("value", {"value": 5})
        await processor.submit_task(task)

        assert (await ends(processor, task))[0].result == 5


# On a machine that has much else to do, a hundred starts of a worker process take longer than a test usually may.
@pytest.mark.timeout(240)
async def test_a_hundred_runs_leave_nothing_behind() -> None:  # D11
    processor = AdvancedAsyncProcessor(max_workers=1, max_thread_workers=1, max_process_workers=1)
    register(processor)

    async def once() -> None:
        await processor.start()
        tasks = [create_task("value"), create_task("value", io_bound=True)]
        for task in tasks:
            await processor.submit_task(task)
        assert all(result.ok for result in await ends(processor, *tasks))
        await processor.shutdown()

    # The first runs start what stays by design: the server that worker processes are forked from.
    for _ in range(5):
        await once()
    before = _figures()
    for _ in range(95):
        await once()
    # Threads that were told to end may take a moment.
    with contextlib.suppress(TimeoutError):
        await until(lambda: _figures() == before, seconds=20)

    assert _figures() == before


def _figures() -> tuple[int, int, int, int]:
    process = psutil.Process()
    descriptors = process.num_fds()
    children = [child for child in process.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return threading.active_count(), len(children), descriptors, len(asyncio.all_tasks())


_NO_SHUTDOWN = """
import asyncio, time
from async_processor import create_processor, create_task

def block(payload): time.sleep(60)

async def main():
    processor = await create_processor()
    for hints in ({}, {"cpu_intensive": True}):
        await processor.submit_task(create_task("custom", {"processor": block}, **hints))
    async def forever(task): await asyncio.Event().wait()
    processor.register_processor("forever", forever)
    for _ in range(50):
        await processor.submit_task(create_task("forever"))
    while not (await processor.get_performance_metrics())["worker_stats"]["process-0"].get("pid"):
        await asyncio.sleep(0.01)
    print("left", flush=True)

# Not in debug mode: that reports every slow step of a busy machine.
asyncio.run(main(), debug=False)
"""


def test_a_program_that_forgets_the_shutdown_still_ends() -> None:  # D9
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", _NO_SHUTDOWN],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "left\n"
    began = time.monotonic()
    _, errors = program.communicate(timeout=30)

    assert program.returncode == 0, errors
    assert time.monotonic() - began < 10
    assert errors == ""


async def test_a_negative_timeout_is_refused() -> None:
    async with running_processor(config=ProcessorConfig()) as processor:
        with pytest.raises(ValueError, match="shutdown timeout"):
            await processor.shutdown(timeout=-1)


async def test_who_waits_for_a_running_task_is_released() -> None:  # D3
    async with running_processor() as processor:
        gate = Gate()
        task = gate.task()
        await processor.submit_task(task)
        waiter = asyncio.create_task(processor.wait_for_task(task.id))
        await gate.entered.wait()

        await processor.shutdown(timeout=0)

        result = await waiter
        assert (result.status, "shut down while attempt 1" in (result.error or "")) == (TaskStatus.CANCELLED, True)
