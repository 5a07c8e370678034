"""What happens when the queue is full."""

from __future__ import annotations

import asyncio
import gc

import pytest
from tests.runtime.support import Gate, check, ends, hold, knows, running_processor

from async_processor import (
    AdvancedAsyncProcessor,
    DuplicateTaskError,
    ProcessingTask,
    ProcessorConfig,
    ProcessorNotRunningError,
    QueueFullError,
    TaskPriority,
    TaskStatus,
    create_task,
)
from async_processor.errors import WrongThreadError
from async_processor.testing import run_virtual, virtual_processor


async def test_submit_waits_for_room_and_submit_nowait_raises() -> None:  # R6
    async with running_processor(workers=1, queue_size=1) as processor:
        (running,) = await hold(processor, 1)
        waiting, blocked = create_task("value"), create_task("value")
        await processor.submit_task(waiting)

        with pytest.raises(QueueFullError, match=r"queue_size is 1"):
            processor.submit_task_nowait(create_task("value"))
        submitter = asyncio.create_task(processor.submit_task(blocked))
        await asyncio.sleep(0)
        assert not submitter.done()
        running.open.set()

        assert await submitter == blocked.id
        assert all(result.ok for result in await ends(processor, waiting, blocked))


async def test_the_most_urgent_submitter_is_let_in_first() -> None:
    async with running_processor(workers=1, queue_size=1) as processor:
        (running,) = await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        order: list[str] = []

        async def submit(name: str, priority: TaskPriority) -> None:
            await processor.submit_task(create_task("value", {}, priority))
            order.append(name)

        submitters = [
            asyncio.create_task(submit(name, priority))
            for name, priority in [
                ("batch", TaskPriority.BATCH),
                ("first", TaskPriority.HIGH),
                ("second", TaskPriority.HIGH),
            ]
        ]
        await asyncio.sleep(0)
        running.open.set()
        await asyncio.gather(*submitters)

        assert order == ["first", "second", "batch"]


async def test_a_cancelled_submitter_leaves_nothing() -> None:  # E18, R6
    async with running_processor(workers=1, queue_size=1) as processor:
        (running,) = await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        blocked = create_task("value")
        submitter = asyncio.create_task(processor.submit_task(blocked))
        await asyncio.sleep(0)

        submitter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitter
        running.open.set()
        await processor.wait_until_idle(timeout=30.0)

        assert await processor.get_task_status(blocked.id) is None


async def test_a_submitter_cancelled_as_it_is_let_in_leaves_no_running_task() -> None:  # E18
    async with running_processor(workers=1, queue_size=1) as processor:
        gates = await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        late = Gate()
        blocked = late.task()
        submitter = asyncio.create_task(processor.submit_task(blocked))
        await asyncio.sleep(0)
        gates[0].open.set()
        # Up to the step in which the engine has let it in and the submitter has not been told.
        while not knows(processor, blocked):  # noqa: ASYNC110 - this very step is wanted, not one soon after
            await asyncio.sleep(0)

        if submitter.cancel():
            with pytest.raises(asyncio.CancelledError):
                await submitter
            (result,) = await ends(processor, blocked)
            assert result.status is TaskStatus.CANCELLED
        late.open.set()


async def test_a_task_that_others_wait_for_needs_no_room() -> None:  # E5
    async with running_processor(workers=1, queue_size=1) as processor:
        root = create_task("value", {"value": 7})
        dependent = create_task("value", depends_on=[root.id])
        await processor.submit_task(dependent)

        await processor.submit_task(root)

        assert [result.status for result in await ends(processor, root, dependent)] == [TaskStatus.COMPLETED] * 2


async def test_a_dependency_that_already_waits_for_room_is_let_in_for_its_dependent() -> None:  # E5
    async with running_processor(workers=1, queue_size=2) as processor:
        (running,) = await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        await processor.submit_task(create_task("value"))
        root = create_task("value")
        dependent = create_task("value", {}, TaskPriority.CRITICAL, depends_on=[root.id])
        submitters = [asyncio.create_task(processor.submit_task(task)) for task in (root, dependent)]
        await asyncio.sleep(0)
        running.open.set()
        await asyncio.gather(*submitters)

        assert [result.status for result in await ends(processor, root, dependent)] == [TaskStatus.COMPLETED] * 2


async def test_with_one_place_and_every_task_failing_once_all_finish() -> None:  # E5
    async with running_processor(workers=1, queue_size=1) as processor:
        roots = [create_task("flaky", {"failures": 1}) for _ in range(10)]
        dependents = [create_task("flaky", {"failures": 1}, depends_on=[root.id]) for root in roots for _ in range(3)]
        by_root = [[root, *(item for item in dependents if item.depends_on == (root.id,))] for root in roots]

        async def submit(group: list) -> None:
            for task in group:
                await processor.submit_task(task)

        async with asyncio.timeout(30):
            await asyncio.gather(*map(submit, by_root))
            results = await ends(processor, *roots, *dependents)

        assert [result.attempts for result in results] == [2] * 40


async def test_of_a_hundred_submits_of_one_id_one_is_accepted() -> None:  # E13
    async with running_processor(workers=1, queue_size=1) as processor:
        (running,) = await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        submitters = [asyncio.create_task(processor.submit_task(create_task("value", id="one"))) for _ in range(100)]
        await asyncio.sleep(0)
        running.open.set()

        answers = await asyncio.gather(*submitters, return_exceptions=True)

        assert answers.count("one") == 1
        assert sum(isinstance(answer, DuplicateTaskError) for answer in answers) == 99
        await processor.wait_until_idle(timeout=30.0)


async def test_a_shutdown_sends_away_who_waits_for_room() -> None:
    async with running_processor(workers=1, queue_size=1) as processor:
        await hold(processor, 1)
        await processor.submit_task(create_task("value"))
        submitter = asyncio.create_task(processor.submit_task(create_task("value", id="late")))
        await asyncio.sleep(0)

        await processor.shutdown(timeout=0)

        with pytest.raises(ProcessorNotRunningError, match="late"):
            await submitter


async def test_the_queue_never_grows_beyond_its_size_whoever_submits() -> None:  # R6
    async with running_processor(workers=1, queue_size=10) as processor:
        submitters = [asyncio.create_task(processor.submit_task(create_task("value"))) for _ in range(500)]
        deepest = 0
        while not all(item.done() for item in submitters):
            state = processor._state()
            deepest = max(deepest, state.queue_size)
            check(processor)
            await asyncio.sleep(0)
        await processor.wait_until_idle(timeout=30.0)

        assert deepest == 10


LOAD_S = 60
DONE_PER_S = 100


def test_memory_stays_flat_when_submitting_ten_times_faster_than_working_for_a_minute() -> None:  # R6
    async def main() -> None:
        async with virtual_processor(
            max_workers=10, queue_size=1_000, config=ProcessorConfig(max_results=100, reserved_slots=0)
        ) as processor:
            processor.register_processor("work", work)
            objects: list[int] = []
            refused = 0
            submitters = [asyncio.create_task(keep_submitting(processor)) for _ in range(10)]
            for second in range(LOAD_S):
                await asyncio.sleep(1.0)
                assert processor._state().queue_size <= 1_000
                # From the second on in which the queue is full, nobody finds room but who waits for it.
                if second >= 2:
                    for _ in range(10 * DONE_PER_S - DONE_PER_S):
                        with pytest.raises(QueueFullError):
                            processor.submit_task_nowait(create_task("work"))
                        refused += 1
                if second in (LOAD_S // 4, LOAD_S - 1):
                    gc.collect()
                    objects.append(len(gc.get_objects()))
            for submitter in submitters:
                submitter.cancel()
            counts = await asyncio.gather(*submitters, return_exceptions=True)
            await processor.wait_until_idle(100.0)

            assert all(isinstance(item, asyncio.CancelledError) for item in counts)
            assert refused == (LOAD_S - 2) * 9 * DONE_PER_S
            assert objects[1] - objects[0] <= 1_000
            assert len(list(processor._engine.scheduler.records())) <= 100  # type: ignore[union-attr]

    run_virtual(main)


async def work(task: ProcessingTask) -> None:
    await asyncio.sleep(10 / DONE_PER_S)


async def keep_submitting(processor: AdvancedAsyncProcessor) -> None:
    """As fast as there is room; at first for as many as fit."""
    while True:
        await processor.submit_task(create_task("work"))


# ---- other threads


async def test_another_thread_is_told_to_come_by_way_of_the_loop() -> None:
    async with running_processor() as processor:
        loop = asyncio.get_running_loop()
        told: list[str] = []

        def from_a_thread(_task: ProcessingTask) -> object:
            for call in (
                lambda: processor.submit_task_nowait(create_task("value")),
                lambda: asyncio.run(processor.submit_task(create_task("value"))),
                lambda: asyncio.run(processor.wait_for_task("a")),
                lambda: asyncio.run(processor.cancel_task("a")),
                lambda: asyncio.run(processor.get_task_result("a")),
            ):
                with pytest.raises(WrongThreadError) as refused:
                    call()
                told.append(str(refused.value))
            task = create_task("value", {"value": 5})
            task_id = asyncio.run_coroutine_threadsafe(processor.submit_task(task), loop).result(10)
            return asyncio.run_coroutine_threadsafe(processor.wait_for_task(task_id), loop).result(10).result

        processor.register_processor("from_a_thread", from_a_thread)
        result = await processor.wait_for_task(await processor.submit_task(create_task("from_a_thread", max_retries=0)))

        assert result.result == 5, result.error
        assert len(told) == 5
        assert all("run_coroutine_threadsafe" in text for text in told)
