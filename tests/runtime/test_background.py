"""Whatever works in the background may fail once: it is restarted or told of, and the tasks of others go on."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.runtime.support import ends, hold, running_processor, said, until, value

from async_processor import AdvancedAsyncProcessor, ProcessingTask, ProcessorConfig, TaskStatus, create_task
from async_processor.clock import Clock, SystemClock
from async_processor.execution.base import Lane
from async_processor.execution.process_lane import ProcessLane
from async_processor.execution.process_slot import SlotAttempt
from async_processor.model import LaneName
from async_processor.monitoring.histogram import Histogram
from async_processor.monitoring.loop_watch import LoopWatch, Stall
from async_processor.monitoring.memory import MemoryReader
from async_processor.monitoring.tree_memory import TreeMemory
from async_processor.runtime.lanes import LaneSizes, make_lanes
from async_processor.runtime.memory_gate import MemoryGate
from async_processor.testing import run_virtual, virtual_processor

QUICK = ProcessorConfig(retry_base_s=0.01, retry_max_s=0.05, cancel_grace_s=0.05)


class FailsOnce:
    """Stands before a part and is it, but for one method that raises the first time."""

    def __init__(self, part: Any, method: str) -> None:
        self._part = part
        self._method = method
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._method and not self.failed else getattr(self._part, name)

    def __bool__(self) -> bool:
        return True

    def _fail(self, *_: object, **__: object) -> None:
        self.failed += 1
        raise LookupError(f"{self._method} failed")


LaneFactory = Callable[[LaneSizes, ProcessorConfig, Clock], Mapping[LaneName, Lane]]


def lanes_with(name: LaneName, change: Callable[[Any], Any]) -> LaneFactory:
    """The real lanes, one of them changed."""

    def make(sizes: LaneSizes, config: ProcessorConfig, clock: Clock) -> dict[LaneName, Lane]:
        lanes = make_lanes(sizes, config, clock)
        return {**lanes, name: change(lanes[name])}

    return make


async def assert_told_and_working(processor: AdvancedAsyncProcessor) -> None:
    """The figures and the health tell of one fault, and another task runs."""
    report = await processor.health()
    metrics = await processor.get_performance_metrics()
    assert metrics["engine_faults"] == 1
    assert report.word == "degraded"
    assert report.reasons == ("the engine survived 1 errors of its own; they are in the log, please report them",)
    await assert_working(processor)


async def assert_working(processor: AdvancedAsyncProcessor, **hints: Any) -> None:
    task = create_task("value", {"value": "well"}, **hints)
    await processor.submit_task(task)
    assert (await ends(processor, task))[0].result == "well"


# ---- the engine


@pytest.mark.interpreted
async def test_the_timer_goes_on_after_the_scheduler_failed_on_it(caplog: pytest.LogCaptureFixture) -> None:  # E20
    async with running_processor(config=QUICK) as processor:
        assert processor._engine is not None
        broken = FailsOnce(processor._engine.scheduler, "wake")
        processor._engine.scheduler = broken  # type: ignore[assignment]
        task = create_task("flaky", {"failures": 2})
        await processor.submit_task(task)
        (result,) = await ends(processor, task)

        assert (broken.failed, result.result) == (1, 3)
        assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == [
            "the engine goes on after an error in the scheduler's timer; please report this"
        ]
        await assert_told_and_working(processor)


@pytest.mark.interpreted
async def test_a_scheduler_that_fails_on_the_timer_again_and_again_takes_no_processor() -> None:  # E20
    async with running_processor(config=QUICK) as processor:
        assert processor._engine is not None
        scheduler = processor._engine.scheduler
        broken = FailsOnce(scheduler, "wake")
        processor._engine.scheduler = broken  # type: ignore[assignment]
        task = create_task("flaky", {"failures": 1})
        await processor.submit_task(task)
        await until(lambda: broken.failed)
        broken.failed = 0
        turns = 0
        while not broken.failed:
            turns += 1
            await asyncio.sleep(0.001)

        # A tenth of a second between two tries; with no pause the second follows the first within a turn or two.
        assert turns > 10
        await ends(processor, task)


async def test_a_lane_that_fails_to_stop_an_attempt_does_not_keep_the_task() -> None:  # E20
    lanes = lanes_with(LaneName.ASYNC, lambda lane: FailsOnce(lane, "stop"))
    async with running_processor(config=QUICK, lanes=lanes) as processor:
        (gate,) = await hold(processor, 1)
        assert processor._engine is not None
        (task_id,) = processor._engine.running_ids()
        others = [create_task("value") for _ in range(3)]
        for task in others:
            await processor.submit_task(task)

        await processor.cancel_task(task_id)

        assert await processor.get_task_status(task_id) is TaskStatus.CANCELLED
        assert all(result.ok for result in await ends(processor, *others))
        assert gate.runs == 1
        await assert_told_and_working(processor)


@pytest.mark.parametrize("hints", [{}, {"io_bound": True}], ids=["async", "thread"])
async def test_a_result_that_cannot_be_looked_at_ends_the_attempt_and_frees_the_slot(  # E20
    hints: dict[str, bool],
) -> None:
    async with running_processor(workers=1, max_thread_workers=1) as processor:
        processor.register_processor("odd", gives_odd)
        task = create_task("odd", max_retries=0, **hints)
        await processor.submit_task(task)
        (result,) = await ends(processor, task)

        assert (result.status, result.error_type) == (TaskStatus.FAILED, "TypeError")
        await assert_working(processor, **hints)


NAP_S = 10.0


async def nap(task: ProcessingTask) -> None:
    await asyncio.sleep(NAP_S)


class Odd:
    nbytes = "many"


async def gives_odd(task: ProcessingTask) -> Odd:
    return Odd()


class Reader(MemoryReader):
    """Memory is short at first, cannot be read then, and is there at last."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def limit_bytes(self) -> int:
        return 1_000

    def used_bytes(self) -> int:
        self.looks += 1
        if self.looks == 2:
            raise OSError("no descriptor is left")
        return 999 if self.looks == 1 else 0


def test_memory_that_cannot_be_read_is_read_again() -> None:  # E20
    async def main() -> None:
        # One may run whatever memory says; it runs for long enough that the second look, which fails, is taken.
        async with virtual_processor(config=QUICK, max_process_workers=2) as processor:
            processor.register_processor("value", value)
            processor.register_processor("nap", nap)
            assert processor._engine is not None
            reader = Reader()
            processor._engine._memory.gate = MemoryGate(0.8, reader, processor._clock)
            first, second = (create_task("nap", memory_intensive=True, memory_mb=1.0) for _ in range(2))
            for task in (first, second):
                await processor.submit_task(task)
            results = await ends(processor, first, second)

            assert all(result.ok for result in results)
            assert reader.looks >= 3
            # The second started as soon as memory was there, and did not wait for the end of the first.
            assert results[1].wait_time < NAP_S
            await assert_told_and_working(processor)

    run_virtual(main)


async def test_memory_that_cannot_be_read_as_a_task_comes_does_not_refuse_the_task() -> None:  # E20
    async with running_processor(config=QUICK) as processor:
        assert processor._engine is not None
        processor._engine._memory.gate = FailsOnce(processor._engine._memory.gate, "refresh")  # type: ignore[assignment]
        task = create_task("value", {"value": 1}, memory_intensive=True, memory_mb=1.0)
        await processor.submit_task(task)

        assert (await ends(processor, task))[0].result == 1
        await assert_told_and_working(processor)


@pytest.mark.parametrize(
    ("error", "sync"),
    [
        (SystemExit, False),
        (SystemExit, True),
        (asyncio.CancelledError, False),
        (asyncio.CancelledError, True),
        (GeneratorExit, True),
    ],
)
async def test_a_callback_that_raises_what_ends_a_program_ends_nothing(  # E20, E25
    error: type[BaseException], sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave(result: Any) -> None:
        raise error

    def leave_thread(result: Any) -> None:
        raise error

    async with running_processor() as processor:
        heard = asyncio.Event()

        async def hear(result: Any) -> None:
            heard.set()

        first = create_task("value", callback=leave_thread if sync else leave)
        await processor.submit_task(first)
        await until(lambda: said(caplog, "async_processor.callbacks"))
        await processor.submit_task(create_task("value", callback=hear))
        async with asyncio.timeout(30):
            await heard.wait()

        assert said(caplog, "async_processor.callbacks") == [f"the callback of task {first.id} failed"]


class FailsToClose(FailsOnce):
    def __init__(self, part: Any) -> None:
        super().__init__(part, "aclose")

    async def _fail(self, *_: object, **__: object) -> None:  # type: ignore[override]
        super()._fail()


async def test_a_lane_that_fails_to_close_keeps_no_shutdown(caplog: pytest.LogCaptureFixture) -> None:  # E20
    lanes = lanes_with(LaneName.ASYNC, FailsToClose)
    async with running_processor(config=QUICK, lanes=lanes) as processor:
        await processor.submit_task(create_task("value"))

    assert "closing the async lane failed" in caplog.text
    assert not processor.is_running


# ---- monitoring


async def test_the_heartbeat_goes_on_after_it_failed() -> None:  # E20
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with running_processor(config=QUICK) as processor:
        lag = FailsOnce(Histogram(), "record")
        processor._watch.lag = lag  # type: ignore[assignment]
        await until(lambda: lag.failed and lag.count >= 3)

        assert [type(context["exception"]) for context in told] == [LookupError]
        await assert_working(processor)


class ForgetfulWatch(LoopWatch):
    """Fails to note the first stall that it sees."""

    failed = 0

    def _stalled(self, stall: Stall) -> None:
        if stall.stack and not self.failed:
            self.failed += 1
            raise LookupError("the first stall")
        super()._stalled(stall)


async def test_the_thread_that_watches_the_loop_goes_on_after_it_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:  # E20
    processor = AdvancedAsyncProcessor(config=QUICK)
    processor._watch = watch = ForgetfulWatch(0.05)
    async with processor:
        async with asyncio.timeout(30):
            while not (watch.failed and watch.last_stall and watch.last_stall.stack):
                time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
                await asyncio.sleep(0.05)

        assert "the watch over the event loop failed, and goes on" in caplog.text
        assert (await processor.health()).word == "degraded"


class ForgetfulMemory(TreeMemory):
    """Fails at its first look."""

    looks = 0

    def find(self) -> None:
        self.looks += 1
        if self.looks == 1:
            raise LookupError("the first look")
        super().find()


async def test_the_thread_that_reads_memory_goes_on_after_it_failed(caplog: pytest.LogCaptureFixture) -> None:  # E20
    processor = AdvancedAsyncProcessor()
    processor.monitor._memory = memory = ForgetfulMemory(SystemClock())
    async with processor:
        await until(lambda: memory.looks >= 2)

    assert "the memory of the processes could not be read" in caplog.text


# ---- lanes


async def test_a_worker_thread_that_dies_costs_one_attempt(caplog: pytest.LogCaptureFixture) -> None:  # E20
    async with running_processor(config=QUICK, max_thread_workers=1) as processor:
        processor.register_processor("thread_id", thread_id)
        first, second = create_task("thread_id"), create_task("thread_id")
        await processor.submit_task(first)
        (before,) = await ends(processor, first)
        # It takes effect when the thread runs again: with the next attempt in hand, its function not yet called.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(before.result), ctypes.py_object(SystemExit))
        await processor.submit_task(second)
        (after,) = await ends(processor, second)

        assert (after.status, after.attempts) == (TaskStatus.COMPLETED, 2)
        assert "a worker thread died of SystemExit and is replaced" in caplog.text
        await assert_working(processor, io_bound=True)


def thread_id(task: ProcessingTask) -> int:
    return threading.get_ident()


class DeafLane(ProcessLane):
    """Fails when it is first told that an attempt began."""

    failed = 0

    def slot_attempt_began(self, item: SlotAttempt) -> None:
        if not self.failed:
            self.failed += 1
            raise LookupError("the first report")
        super().slot_attempt_began(item)


def process_lane(kind: type[ProcessLane]) -> LaneFactory:
    def make(sizes: LaneSizes, config: ProcessorConfig, clock: Clock) -> dict[LaneName, Lane]:
        lanes = make_lanes(sizes, config, clock)
        lane = kind(
            [f"process-{number}" for number in range(sizes.process_workers)],
            start_method=config.start_method,
            worker_start_timeout=config.worker_start_timeout_s,
            max_tasks_per_worker=0,
            max_worker_memory_mb=0,
            max_payload_bytes=config.max_payload_bytes,
            max_result_bytes=config.max_result_bytes,
            clock=clock,
        )
        return {**lanes, LaneName.PROCESS: lane}

    return make


async def test_a_report_of_a_worker_that_cannot_be_taken_costs_one_attempt(no_leaks: None) -> None:  # E20
    async with running_processor(config=QUICK, lanes=process_lane(DeafLane), max_process_workers=1) as processor:
        task = create_task("value", {"value": 1}, cpu_intensive=True)
        errors: list[str] = []
        async with processor.subscribe() as events:
            await processor.submit_task(task)
            (result,) = await ends(processor, task)
            async with asyncio.timeout(30):
                async for event in events:
                    errors += [event.error_type] if hasattr(event, "error_type") else []
                    if errors:
                        break

        assert (result.result, result.attempts, errors) == (1, 2, ["WorkerDiedError"])
        await assert_working(processor, cpu_intensive=True)


class Unwatchable:
    """Starts processes; of the first of them it does not say how to see when it ends."""

    def __init__(self, launcher: Any) -> None:
        self._launcher = launcher
        self.launched = 0

    def launch(self, *arguments: Any) -> Any:
        self.launched += 1
        new = self._launcher.launch(*arguments)
        return new._replace(process=FailsOnceWithOSError(new.process)) if self.launched == 1 else new

    def close(self) -> None:
        self._launcher.close()


class FailsOnceWithOSError(FailsOnce):
    def __init__(self, part: Any) -> None:
        super().__init__(part, "descriptors")

    def _fail(self, *_: object, **__: object) -> None:
        self.failed += 1
        raise OSError("no more can be watched")


async def test_a_worker_that_cannot_be_watched_is_started_again(  # E20, P14
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_processor(config=QUICK, max_process_workers=1) as processor:
        processor.register_processor("leave", leaves_once)
        await assert_working(processor, cpu_intensive=True)
        assert processor._engine is not None
        starts: Any = processor._engine.lanes[LaneName.PROCESS]._starts  # type: ignore[attr-defined]
        starts.launcher = launcher = Unwatchable(starts.launcher)
        task = create_task("leave", cpu_intensive=True)
        await processor.submit_task(task)
        (result,) = await ends(processor, task)

        assert (result.result, result.attempts, launcher.launched) == (2, 2, 2)
        assert "it cannot be watched: no more can be watched" in caplog.text
        await assert_working(processor, cpu_intensive=True)


def leaves_once(task: ProcessingTask, context: Any) -> int:
    if context.attempt == 1:
        os._exit(3)
    return int(context.attempt)
