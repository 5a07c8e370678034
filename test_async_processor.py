"""The three commands of the guide's section on testing run against this file.

Deeper tests, one directory per package, are in ``tests/``.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessingType,
    TaskPriority,
    TaskResult,
    TaskStatus,
    create_processor,
    create_task,
)


async def double(task: ProcessingTask) -> dict[str, int]:
    return {"doubled": task.payload["input"] * 2}


class TestAdvancedAsyncProcessor:
    """What a caller does first."""

    async def test_submit_and_process_task(self) -> None:
        processor = await create_processor(max_workers=3)
        try:
            processor.register_processor(ProcessingType.TEXT_ANALYSIS, double)
            task_id = await processor.submit_task(create_task(ProcessingType.TEXT_ANALYSIS, {"input": 21}))

            result = await processor.wait_for_task(task_id, timeout=30.0)
        finally:
            await processor.shutdown()

        assert result.status is TaskStatus.COMPLETED
        assert result.result == {"doubled": 42}
        assert result.execution_time >= 0
        assert result.completed_at >= result.created_at

    async def test_dependent_tasks_run_in_order_and_see_results(self) -> None:
        async def add_one(task: ProcessingTask, context) -> int:  # type: ignore[no-untyped-def]
            return sum(item.result["doubled"] for item in context.dependencies.values()) + 1

        async with AdvancedAsyncProcessor(max_workers=2) as processor:
            processor.register_processor("double", double)
            processor.register_processor("add_one", add_one)
            first = create_task("double", {"input": 1})
            second = create_task("double", {"input": 10})
            last = create_task("add_one", {}, depends_on=[first.id, second.id])

            for task in (last, first, second):
                await processor.submit_task(task)

            assert (await processor.wait_for_task(last.id, timeout=30.0)).result == 23

    async def test_cancelling_a_task_cancels_what_waits_for_it(self) -> None:
        started = asyncio.Event()

        async def endless(task: ProcessingTask) -> None:
            started.set()
            await asyncio.Event().wait()

        async with AdvancedAsyncProcessor(max_workers=2) as processor:
            processor.register_processor("endless", endless)
            parent = create_task("endless")
            child = create_task("endless", depends_on=[parent.id])
            await processor.submit_task(parent)
            await processor.submit_task(child)
            await started.wait()

            assert await processor.cancel_task(parent.id) == [parent.id, child.id]
            assert await processor.get_task_status(parent.id) is TaskStatus.CANCELLED
            result = await processor.wait_for_task(child.id, timeout=30.0)

        assert result.status is TaskStatus.CANCELLED
        assert parent.id in (result.error or "")

    async def test_a_failing_task_is_retried_then_fails_with_its_error(self) -> None:
        attempts: list[int] = []

        async def failing(task: ProcessingTask, context) -> None:  # type: ignore[no-untyped-def]
            attempts.append(context.attempt)
            raise RuntimeError("no luck")

        async with AdvancedAsyncProcessor() as processor:
            processor.register_processor("failing", failing)
            task_id = await processor.submit_task(create_task("failing", max_retries=1))
            result = await processor.wait_for_task(task_id, timeout=30.0)

        assert attempts == [1, 2]
        assert (result.status, result.error, result.error_type) == (TaskStatus.FAILED, "no luck", "RuntimeError")

    async def test_waiting_too_long_raises_and_leaves_the_task_alone(self) -> None:
        release = asyncio.Event()

        async def patient(task: ProcessingTask) -> str:
            await release.wait()
            return "done"

        async with AdvancedAsyncProcessor() as processor:
            processor.register_processor("patient", patient)
            task_id = await processor.submit_task(create_task("patient"))

            with pytest.raises(asyncio.TimeoutError):
                await processor.wait_for_task(task_id, timeout=0.05)
            release.set()

            assert (await processor.wait_for_task(task_id, timeout=30.0)).result == "done"


class TestPerformance:
    """Many tasks at once: all of them end, and the figures add up. Speed itself is a matter of ``benchmarks/``."""

    async def test_a_thousand_tasks_all_complete_and_are_counted(self) -> None:
        async with AdvancedAsyncProcessor(max_workers=10, queue_size=5_000) as processor:
            processor.register_processor("double", double)
            tasks = [create_task("double", {"input": number}, TaskPriority.BATCH) for number in range(1_000)]
            for task in tasks:
                await processor.submit_task(task)
            results = [await processor.wait_for_task(task.id, timeout=60.0) for task in tasks]
            metrics = await processor.get_performance_metrics()

        assert [item.result["doubled"] for item in results] == [2 * number for number in range(1_000)]
        assert metrics["tasks_processed"] == 1_000
        assert metrics["success_rate"] == 100.0
        assert sum(stats["tasks_processed"] for stats in metrics["worker_stats"].values()) == 1_000

    async def test_an_urgent_task_passes_a_thousand_that_wait(self) -> None:
        order: list[str] = []

        async def note(task: ProcessingTask) -> None:
            order.append(task.payload["name"])

        async with AdvancedAsyncProcessor(max_workers=1, queue_size=5_000) as processor:
            processor.register_processor("note", note)
            for number in range(1_000):
                await processor.submit_task(create_task("note", {"name": f"batch {number}"}, TaskPriority.BATCH))
            urgent = await processor.submit_task(create_task("note", {"name": "urgent"}, TaskPriority.CRITICAL))
            await processor.wait_for_task(urgent, timeout=60.0)

        # One had its slot already; everything else waited behind the urgent one.
        assert order.index("urgent") <= 1

    async def test_tasks_that_wait_overlap(self) -> None:
        async def pause(task: ProcessingTask) -> None:
            await asyncio.sleep(0.2)

        began = time.perf_counter()
        async with AdvancedAsyncProcessor(max_workers=50) as processor:
            processor.register_processor("pause", pause)
            ids = [await processor.submit_task(create_task("pause")) for _ in range(50)]
            results: list[TaskResult] = [await processor.wait_for_task(item, timeout=60.0) for item in ids]
        elapsed = time.perf_counter() - began

        assert all(item.ok for item in results)
        # One after the other they would take 10 s.
        assert elapsed < 5.0
