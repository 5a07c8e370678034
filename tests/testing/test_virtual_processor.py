"""The whole processor on virtual time, as users of the library test with it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from async_processor import ProcessorConfig, TaskContext, TaskPriority, TaskStatus, create_task
from async_processor.testing import DeadlockError, RecordingObserver, run_until_idle, run_virtual, virtual_processor


async def nap(task: Any) -> float:
    await asyncio.sleep(task.payload["seconds"])
    return asyncio.get_running_loop().time()


def compute(task: Any) -> int:
    return task.payload["value"] ** 2


def test_a_day_of_work_takes_no_time():
    began = time.monotonic()

    async def main() -> list[float]:
        async with virtual_processor(max_workers=1) as processor:
            processor.register_processor("nap", nap)
            ids = [
                await processor.submit_task(create_task("nap", {"seconds": 3_600.0}, timeout=None)) for _ in range(24)
            ]
            return [(await processor.wait_for_task(item)).unwrap() for item in ids]

    assert run_virtual(main, max_virtual_s=1e6) == [3_600.0 * (hour + 1) for hour in range(24)]
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("hints", [{}, {"io_bound": True}, {"cpu_intensive": True}, {"memory_intensive": True}])
def test_every_lane_runs_in_line(hints: dict[str, bool]):
    async def main() -> Any:
        async with virtual_processor() as processor:
            processor.register_processor("compute", compute)
            return (
                await processor.wait_for_task(
                    await processor.submit_task(create_task("compute", {"value": 12}, **hints))
                )
            ).unwrap()

    assert run_virtual(main) == 144


def test_timeouts_and_backoffs_pass_in_virtual_time_and_replay_with_their_seed():
    async def main() -> tuple[TaskStatus, int, float]:
        async with virtual_processor() as processor:
            processor.register_processor("nap", nap)
            task = create_task("nap", {"seconds": 100.0}, timeout=10.0, max_retries=2)
            result = await processor.wait_for_task(await processor.submit_task(task))
            return result.status, result.attempts, asyncio.get_running_loop().time()

    runs = [run_virtual(main, seed=seed) for seed in (1, 1, 2)]

    assert runs[0] == runs[1]
    assert runs[0][2] != runs[2][2]  # the backoff is drawn
    for status, attempts, took in runs:
        assert (status, attempts) == (TaskStatus.TIMEOUT, 3)
        assert 30.0 <= took <= 31.5


def test_waiting_until_idle_waits_for_everything_also_for_backoffs():
    attempts = []

    async def flaky(task: Any, context: TaskContext) -> str:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError("not yet")
        return "well"

    async def main() -> None:
        observer = RecordingObserver()
        async with virtual_processor() as processor:
            processor.add_observer(observer)
            processor.register_processor("flaky", flaky)
            first = create_task("flaky")
            await processor.submit_task(create_task("flaky", depends_on=[first.id]))
            await processor.submit_task(first)

            await run_until_idle(processor, timeout=100.0)

            observer.assert_one_result_per_task()
            assert {event.status for event in observer.results().values()} == {TaskStatus.COMPLETED}
            assert observer.names(first.id) == [
                "task_submitted",
                *["attempt_started", "attempt_ended", "task_retried"] * 2,
                *["attempt_started", "attempt_ended", "task_finished"],
            ]
        assert observer.names()[-1] == "stopped"

    run_virtual(main)
    assert attempts == [1, 2, 3] * 2


def test_waiting_until_idle_ends_in_time():
    async def main() -> None:
        async with virtual_processor() as processor:
            processor.register_processor("nap", nap)
            await processor.submit_task(create_task("nap", {"seconds": 50.0}))
            with pytest.raises(TimeoutError):
                await run_until_idle(processor, timeout=10.0)
            assert asyncio.get_running_loop().time() == 10.0
            await run_until_idle(processor, timeout=None)

    run_virtual(main)


def test_a_task_that_waits_for_another_while_that_waits_for_its_slot_is_found():
    async def main() -> None:
        async with virtual_processor(max_workers=1) as processor:

            async def outer(task: Any) -> None:
                inner = create_task("inner", timeout=None)
                await processor.submit_task(inner)
                await processor.wait_for_task(inner.id)

            processor.register_processor("outer", outer)
            processor.register_processor("inner", nap)
            await processor.submit_task(create_task("outer", timeout=None))
            await run_until_idle(processor, timeout=None)

    with pytest.raises(DeadlockError, match=r"async-0 .* #1 at .*wait_for_task"):
        run_virtual(main)


def test_the_configuration_is_the_default_one_unless_given(monkeypatch: pytest.MonkeyPatch):
    # The environment is what is tested.
    monkeypatch.setenv("ASYNC_PROCESSOR_MAX_WAIT_S", "1.5")

    async def main() -> list[float]:
        processors = [virtual_processor(), virtual_processor(config=ProcessorConfig(max_wait_s=7.0))]
        return [item.config.max_wait_s for item in processors]

    assert run_virtual(main) == [60.0, 7.0]


async def test_it_belongs_on_a_virtual_loop():
    with pytest.raises(RuntimeError, match="run_virtual"):
        virtual_processor()


def test_strict_order_of_priorities_can_be_asserted_whole():
    order = []

    async def note(task: Any) -> None:
        order.append(task.payload["name"])

    async def main() -> None:
        async with virtual_processor(max_workers=1) as processor:
            processor.register_processor("note", note)
            processor.register_processor("nap", nap)
            await processor.submit_task(create_task("nap", {"seconds": 1.0}))
            for name, priority in (("low", "LOW"), ("first", "HIGH"), ("batch", "BATCH"), ("second", "HIGH")):
                await processor.submit_task(create_task("note", {"name": name}, TaskPriority[priority]))
            await run_until_idle(processor)

    run_virtual(main)
    assert order == ["first", "second", "low", "batch"]
