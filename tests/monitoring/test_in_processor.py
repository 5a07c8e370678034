"""The monitoring of a real processor, with real threads and processes."""

import asyncio
import json
import time

from async_processor import AdvancedAsyncProcessor, TaskStatus, create_task


def squares(task):
    return sum(number * number for number in range(task.payload["count"]))


async def blocking(task):
    time.sleep(task.payload["seconds"])  # noqa: ASYNC251 - this is the fault


async def run_all(processor, tasks):
    for task in tasks:
        await processor.submit_task(task)
    return [await processor.wait_for_task(task.id, timeout=50) for task in tasks]


async def test_profiling_shows_where_the_time_went_in_threads_and_processes():
    async with AdvancedAsyncProcessor(enable_profiling=True, max_process_workers=1) as processor:
        processor.register_processor("in_thread", squares)
        processor.register_processor("in_process", squares, cpu_intensive=True)
        tasks = [create_task(name, {"count": 20_000}) for name in ("in_thread", "in_process")]
        results = await run_all(processor, tasks)
        metrics = await processor.get_performance_metrics()

    assert [result.status for result in results] == [TaskStatus.COMPLETED] * 2
    for task in tasks:
        [slowest] = metrics["slowest"][task.task_type]
        assert slowest["task_id"] == task.id
        assert "squares" in slowest["profile"]
        assert slowest["cpu_time"] > 0.0
    assert metrics["slowest"]["in_process"][0]["peak_memory_mb"] > 1.0
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


async def test_without_profiling_nothing_is_profiled():
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("in_thread", squares)
        await run_all(processor, [create_task("in_thread", {"count": 10})])
        metrics = await processor.get_performance_metrics()

    assert "slowest" not in metrics


# R11
async def test_a_task_that_blocks_the_loop_is_named_and_nothing_starts_twice():
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("blocking", blocking)
        tasks = [create_task("blocking", {"seconds": seconds}) for seconds in (0.0, 0.7, 0.0)]
        results = await run_all(processor, tasks)
        async with asyncio.timeout(20):
            stall = None
            while stall is None or stall["function"] != "blocking":
                await asyncio.sleep(0.01)
                stall = (await processor.get_performance_metrics())["event_loop_lag"]["last_stall"]
        health = await processor.health()

    assert stall["task"] == tasks[1].id
    assert health.status == "warn"
    assert [result.attempts for result in results] == [1, 1, 1]


async def test_with_monitoring_off_the_engines_figures_are_still_there():
    async with AdvancedAsyncProcessor(enable_monitoring=False) as processor:
        processor.register_processor("in_thread", squares)
        await run_all(processor, [create_task("in_thread", {"count": 10})])
        metrics = await processor.get_performance_metrics()
        health = await processor.health()

    assert metrics["tasks_processed"] == 0
    assert metrics["queue_size"] == 0
    assert len(metrics["worker_stats"]) > 0
    assert health.status == "pass"
