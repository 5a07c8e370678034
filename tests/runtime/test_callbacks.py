"""A task's callback is honoured, and isolated."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from tests.runtime.support import ends, knows, running_processor, said, until

from async_processor import ProcessorConfig, TaskResult, TaskStatus, create_task
from async_processor.runtime.callbacks import MAX_CONCURRENT, MAX_HANGING

LOGGER = "async_processor.callbacks"


async def test_a_callback_gets_the_result_once_and_can_see_it() -> None:  # E25
    async with running_processor() as processor:
        seen: list[tuple[TaskResult, TaskResult | None]] = []
        called = asyncio.Event()

        async def note(result: TaskResult) -> None:
            seen.append((result, await processor.get_task_result(result.task_id)))
            called.set()

        task = create_task("value", {"value": 3}, callback=note)
        await processor.submit_task(task)
        async with asyncio.timeout(30):
            await called.wait()

        assert [(own.result, own is published) for own, published in seen] == [(3, True)]


async def test_a_callback_hears_of_the_final_end_only() -> None:
    async with running_processor() as processor:
        heard: asyncio.Queue[TaskResult] = asyncio.Queue()
        task = create_task("flaky", {"failures": 2}, callback=heard.put)
        await processor.submit_task(task)

        async with asyncio.timeout(30):
            result = await heard.get()
        await ends(processor, task)

        assert (result.status, result.attempts, heard.qsize()) == (TaskStatus.COMPLETED, 3, 0)


async def test_a_blocking_callback_does_not_hold_up_the_loop() -> None:  # E25: lag <= 50 ms
    ended = threading.Event()

    def block(result: TaskResult) -> None:
        time.sleep(1.0)  # the fault itself
        ended.set()

    async with running_processor() as processor:
        lags = []
        # The best of a few tries, because the machine has other work; a loop that is held up is so in each of them.
        while not lags or (min(lags) > 0.05 and len(lags) < 5):
            ended.clear()
            await processor.submit_task(create_task("value", callback=block))
            others = [create_task("value") for _ in range(50)]
            for task in others:
                await processor.submit_task(task)
            lags.append(await worst_lag_until(ended.is_set))
            assert all(result.ok for result in await ends(processor, *others))

        assert min(lags) <= 0.05, lags


async def worst_lag_until(condition: Callable[[], bool]) -> float:
    """How late the event loop came back from a short sleep, at worst."""
    worst = 0.0
    async with asyncio.timeout(30):
        while not condition():
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            worst = max(worst, time.perf_counter() - began - 0.005)
    return worst


async def test_a_callback_that_raises_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:  # E25
    async with running_processor() as processor:

        async def fail(result: TaskResult) -> None:
            raise LookupError("callback trouble")

        failing, fine = create_task("value", callback=fail), create_task("value")
        for task in (failing, fine):
            await processor.submit_task(task)
        results = await ends(processor, failing, fine)
        await until(lambda: said(caplog, LOGGER))

        assert all(result.ok for result in results)
        assert said(caplog, LOGGER) == [f"the callback of task {failing.id} failed"]


async def test_a_callback_may_submit_and_cancel() -> None:  # E25
    async with running_processor(workers=1) as processor:
        follow_up = create_task("value", {"value": "next"})
        doomed = create_task("value")

        async def go_on(result: TaskResult) -> None:
            await processor.submit_task(doomed)
            await processor.cancel_task(doomed.id)
            await processor.submit_task(follow_up)

        first = create_task("value", callback=go_on)
        await processor.submit_task(first)
        await ends(processor, first)
        await until(lambda: knows(processor, follow_up))
        (result,) = await ends(processor, follow_up)

        assert result.result == "next"


async def test_a_callback_that_hangs_is_given_up_after_its_time(caplog: pytest.LogCaptureFixture) -> None:  # E19
    config = ProcessorConfig(callback_timeout_s=0.05)

    async def hang(result: TaskResult) -> None:
        await asyncio.Event().wait()

    async with running_processor(config=config) as processor:
        hanging, fine = create_task("value", callback=hang), create_task("value")
        for task in (hanging, fine):
            await processor.submit_task(task)
        await ends(processor, hanging, fine)
        await until(lambda: said(caplog, LOGGER))

        assert f"the callback of task {hanging.id} did not end within" in caplog.text


async def test_callbacks_that_hang_in_their_threads_do_not_add_up(caplog: pytest.LogCaptureFixture) -> None:  # E19
    release = threading.Event()

    def hang(result: TaskResult) -> None:
        release.wait(30)

    def threads() -> int:
        return sum(thread.name.startswith("callback-") for thread in threading.enumerate())

    async with running_processor(config=ProcessorConfig(callback_timeout_s=0.02)) as processor:
        tasks = [create_task("value", callback=hang) for _ in range(3 * MAX_HANGING)]
        for task in tasks:
            await processor.submit_task(task)
        await until(lambda: len(said(caplog, LOGGER)) == len(tasks))

        # The last of them may have begun together, before any was given up.
        assert MAX_HANGING <= threads() <= MAX_HANGING + MAX_CONCURRENT
        assert f"{MAX_HANGING} callbacks that were given up still hold their threads" in caplog.text
        release.set()
        await until(lambda: threads() == 0)
        heard: asyncio.Queue[TaskResult] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        await processor.submit_task(
            create_task("value", callback=lambda result: loop.call_soon_threadsafe(heard.put_nowait, result))
        )
        async with asyncio.timeout(30):
            assert (await heard.get()).ok
