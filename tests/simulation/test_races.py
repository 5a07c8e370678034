"""Single races, ten thousand schedules each: rounds of one scenario, one after the other, under many seeds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from async_processor import AdvancedAsyncProcessor, ProcessorConfig, TaskStatus, create_task
from async_processor.testing import RecordingObserver, run_virtual, virtual_processor

SEEDS = 500
ROUNDS = 20
# In portions, so that each stays far below the time that a test may take.
PORTIONS = range(5)
CONFIG = ProcessorConfig(retry_base_s=0.1, max_wait_s=5.0)

Round = Callable[[AdvancedAsyncProcessor, int], Awaitable[None]]


def every_schedule(one_round: Round, portion: int, **options: Any) -> None:
    """Run ``ROUNDS`` rounds under each seed of a portion, on one processor each; between them it must be idle."""

    async def rounds() -> None:
        observer = RecordingObserver()
        async with virtual_processor(config=CONFIG, **options) as processor:
            processor.add_observer(observer)
            for number in range(ROUNDS):
                await one_round(processor, number)
                await processor.wait_until_idle(100.0)
                engine = processor._engine
                assert engine is not None
                engine.scheduler.check()
                assert engine.state().faults == 0
                assert all(record is None for record in engine.scheduler.slots().values())
        observer.assert_one_result_per_task()

    for seed in range(portion, SEEDS, len(PORTIONS)):
        try:
            run_virtual(rounds, seed=seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


async def fail_once(task: Any, context: Any) -> str:
    if context.attempt == 1:
        raise ValueError("the first time always fails")
    return "well"


async def nap(task: Any) -> str:
    await asyncio.sleep(task.payload.get("seconds", 1.0))
    return "rested"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_retries_and_released_dependents_never_park_behind_a_full_queue(portion: int):  # E5
    async def one_round(processor: AdvancedAsyncProcessor, number: int) -> None:
        processor.register_processor("fail", fail_once)
        root = create_task("fail", id=f"root-{number}")
        tasks = [root, *(create_task("fail", depends_on=[root.id]) for _ in range(3)), create_task("fail")]
        # A submitter for each, so that dependents and roots wait for room in any order.
        await asyncio.gather(*(processor.submit_task(task) for task in tasks))
        for task in tasks:
            result = await processor.wait_for_task(task.id)
            assert (result.status, result.attempts) == (TaskStatus.COMPLETED, 2)

    every_schedule(one_round, portion, queue_size=1, max_workers=1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_a_task_that_is_cancelled_as_it_completes_is_one_or_the_other(portion: int):  # E11
    seen = set()

    async def one_round(processor: AdvancedAsyncProcessor, number: int) -> None:
        processor.register_processor("nap", nap)
        task_id = await processor.submit_task(create_task("nap"))
        waiting = asyncio.create_task(processor.wait_for_task(task_id))
        await asyncio.sleep(1.0)

        cancelled = await processor.cancel_task(task_id)

        result = await waiting
        assert result.status is (TaskStatus.CANCELLED if cancelled else TaskStatus.COMPLETED)
        assert cancelled in ([], [task_id])
        assert (result.result, result.error is None) == ((None, False) if cancelled else ("rested", True))
        seen.add(result.status)

    every_schedule(one_round, portion, max_workers=1)
    assert seen == {TaskStatus.CANCELLED, TaskStatus.COMPLETED}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_a_submitter_that_is_cancelled_while_it_waits_for_room_takes_nothing_with_it(portion: int):  # E18
    cancelled_after_it_was_let_in = 0

    async def one_round(processor: AdvancedAsyncProcessor, number: int) -> None:
        nonlocal cancelled_after_it_was_let_in
        processor.register_processor("nap", nap)
        # One runs, one waits and fills the queue; four submitters wait for room, which comes after a second.
        first = [await processor.submit_task(create_task("nap")) for _ in range(2)]
        tasks = [create_task("nap", id=f"{number}-{name}") for name in "abcd"]
        submitters = [asyncio.create_task(processor.submit_task(task)) for task in tasks]
        await asyncio.sleep(1.0)
        submitters[0].cancel()
        submitters[2].cancel()
        await asyncio.wait(submitters)

        for task, submitter in zip(tasks, submitters, strict=True):
            if submitter.cancelled():
                result = await settled(processor, task.id)
                assert result is None or result.status is TaskStatus.CANCELLED
                cancelled_after_it_was_let_in += result is not None
            else:
                assert (await processor.wait_for_task(submitter.result())).ok
        assert not submitters[1].cancelled()
        assert not submitters[3].cancelled()
        assert all([(await processor.wait_for_task(item)).ok for item in first])

    every_schedule(one_round, portion, queue_size=1, max_workers=1)
    assert cancelled_after_it_was_let_in > 0, "the race was never run"


async def settled(processor: AdvancedAsyncProcessor, task_id: str) -> Any:
    """The result of a task whose submitter was cancelled; None if it was never taken in."""
    if await processor.get_task_status(task_id) is None:
        return None
    return await processor.wait_for_task(task_id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("portion", PORTIONS)
def test_a_slot_that_becomes_free_as_its_next_task_is_cancelled_goes_to_the_one_after(portion: int):  # E18
    async def one_round(processor: AdvancedAsyncProcessor, number: int) -> None:
        processor.register_processor("nap", nap)
        ids = [await processor.submit_task(create_task("nap")) for _ in range(4)]
        await asyncio.sleep(1.0)
        cancelled = await processor.cancel_task(ids[1])

        results = [await processor.wait_for_task(item) for item in ids]
        assert [item.ok for item in results] == [True, False, True, True]
        assert cancelled == [ids[1]]

    every_schedule(one_round, portion, max_workers=1)
