"""Event subscribers: each sees everything in order, and one that does not keep up is felt by nobody else."""

from __future__ import annotations

import asyncio
import gc
import time

import psutil
import pytest
from tests.runtime.support import Gate, ends, running_processor

from async_processor import AdvancedAsyncProcessor, ConfigurationError, create_task
from async_processor.errors import SubscriberTooSlowError
from async_processor.model import TaskPriority
from async_processor.monitoring.events import EventStream, subscribed
from async_processor.monitoring.hub import ObserverHub
from async_processor.monitoring.observer import (
    AttemptEnded,
    AttemptStarted,
    TaskFinished,
    TaskRetried,
    TaskSubmitted,
)


def submitted(number: int) -> TaskSubmitted:
    return TaskSubmitted(f"task-{number}", "t", TaskPriority.NORMAL, float(number))


async def test_a_subscriber_sees_every_event_in_order():
    async with running_processor() as processor, processor.subscribe() as events:
        task = create_task("flaky", {"failures": 1})
        await processor.submit_task(task)

        async with asyncio.timeout(30):
            seen = [await anext(events) for _ in range(7)]

    assert [type(event) for event in seen] == [
        TaskSubmitted, AttemptStarted, AttemptEnded, TaskRetried, AttemptStarted, AttemptEnded, TaskFinished,
    ]  # fmt: skip
    assert {event.task_id for event in seen} == {task.id}


async def test_a_subscriber_gets_the_kinds_that_it_asked_for():
    async with running_processor() as processor:
        task = create_task("flaky", {"failures": 1})
        async with processor.subscribe(kinds={TaskRetried, TaskFinished}) as events:
            await processor.submit_task(task)
            await ends(processor, task)

            assert [type(await anext(events)) for _ in range(2)] == [TaskRetried, TaskFinished]


async def test_a_subscriber_that_waits_is_woken():
    async with running_processor() as processor, processor.subscribe(kinds=[TaskFinished]) as events:
        reader = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        assert not reader.done()

        task = create_task("value")
        await processor.submit_task(task)

        async with asyncio.timeout(30):
            assert (await reader).task_id == task.id


async def test_a_reader_that_is_cancelled_loses_no_event():
    hub = ObserverHub()
    async with subscribed(EventStream(), hub) as events:
        for number in range(100):
            reader = asyncio.create_task(anext(events))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            hub.task_submitted(submitted(number))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
            read = reader.result() if not reader.cancelled() else await anext(events)
            assert read == submitted(number)


async def test_a_shutdown_ends_the_iteration_after_the_last_event():
    async with running_processor() as processor, processor.subscribe(kinds={TaskFinished}) as events:
        gates = [Gate(), Gate(), Gate()]
        for gate in gates:
            await processor.submit_task(gate.task())
        reader = asyncio.create_task(_collect(events))
        await gates[1].entered.wait()

        await processor.shutdown(timeout=0.0)

        async with asyncio.timeout(30):
            assert len(await reader) == 3
        assert processor._hub.observers == (processor.monitor,)


async def _collect(events: EventStream) -> list[object]:
    return [event async for event in events]


async def test_leaving_the_block_unsubscribes_and_ends_the_iteration():
    hub = ObserverHub()
    async with subscribed(EventStream(), hub) as events:
        hub.task_submitted(submitted(1))
        waiting = asyncio.create_task(_collect(events))
        await asyncio.sleep(0)

    assert hub.observers == ()
    async with asyncio.timeout(30):
        assert len(await waiting) <= 1
        assert await _collect(events) == []


async def test_an_error_in_the_block_unsubscribes_too():
    hub = ObserverHub()
    with pytest.raises(LookupError):
        async with subscribed(EventStream(), hub):
            raise LookupError

    assert hub.observers == ()


async def test_no_event_is_built_that_no_subscriber_wants():
    processor = AdvancedAsyncProcessor(enable_monitoring=False)
    hub = processor._hub
    assert not hub.task_submitted
    assert not hub.task_finished

    async with processor.subscribe(kinds={TaskFinished}):
        assert hub.task_finished
        assert not hub.task_submitted
        assert not hub.attempt_started

    assert not hub.task_finished
    assert not hub.stopped


async def test_who_subscribed_before_the_start_sees_the_first_task():
    processor = AdvancedAsyncProcessor()
    async with processor.subscribe() as events, processor:
        await processor.submit_task(create_task("custom", {"processor": len}))

        assert isinstance(await anext(events), TaskSubmitted)


@pytest.mark.parametrize("max_pending", [0, -1, 1.5, True, None])
def test_a_bound_that_is_none_is_refused(max_pending):
    with pytest.raises(ConfigurationError, match="max_pending"):
        AdvancedAsyncProcessor().subscribe(max_pending)


@pytest.mark.parametrize("kinds", [(), ["task_finished"], [int]])
def test_kinds_that_do_not_exist_are_refused(kinds):
    with pytest.raises(ConfigurationError, match="TaskFinished"):
        AdvancedAsyncProcessor().subscribe(kinds=kinds)


async def test_a_subscriber_gets_what_it_holds_and_then_the_error(caplog: pytest.LogCaptureFixture):  # R7
    hub = ObserverHub()
    async with subscribed(EventStream(max_pending=3), hub) as events:
        for number in range(3):
            hub.task_submitted(submitted(number))
        assert hub.observers == (events,)
        hub.task_submitted(submitted(3))
        assert hub.observers == ()

        assert [await anext(events) for _ in range(3)] == [submitted(number) for number in range(3)]
        for _ in range(2):
            with pytest.raises(SubscriberTooSlowError, match="3 events"):
                await anext(events)

    assert [record.levelname for record in caplog.records if record.name == "async_processor.monitoring"] == ["WARNING"]


async def test_a_burst_that_fills_the_default_queue_drops_nobody():
    async with AdvancedAsyncProcessor() as processor, processor.subscribe() as events:
        processor.register_processor("value", _value)
        for _ in range(1_000):
            await processor.submit_task(create_task("value"))
        await processor.wait_until_idle(timeout=30)

        async with asyncio.timeout(30):
            assert len([await anext(events) for _ in range(4_000)]) == 4_000


async def _value(task) -> int:
    return 1


async def test_of_64_subscribers_the_one_that_never_reads_is_dropped_and_63_miss_nothing():  # R7: <= 10 MB
    hub = ObserverHub()
    streams = [EventStream(max_pending=1_000) for _ in range(64)]
    for stream in streams:
        stream.open(hub)
    silent, *others = streams
    readers = [asyncio.create_task(_count_in_order(stream, 10_000)) for stream in others]
    gc.collect()
    process = psutil.Process()
    before = peak = process.memory_info().rss
    for number in range(10_000):
        hub.task_submitted(submitted(number))
        if number % 100 == 99:
            await asyncio.sleep(0)
            peak = max(peak, process.memory_info().rss)
    async with asyncio.timeout(60):
        counts = await asyncio.gather(*readers)

    assert counts == [10_000] * 63
    assert silent not in hub.observers
    assert set(others) <= set(hub.observers)
    assert peak - before <= 10e6
    assert [(await anext(silent)).at for _ in range(1_000)] == list(range(1_000))
    with pytest.raises(SubscriberTooSlowError):
        await anext(silent)


async def _count_in_order(stream: EventStream, expected: int) -> int:
    count = 0
    async for event in stream:
        assert event.at == count
        count += 1
        if count == expected:
            break
    return count


async def test_a_subscriber_that_never_reads_is_felt_by_no_task():  # R7
    async with (
        running_processor(workers=4) as processor,
        processor.subscribe(max_pending=50),
        processor.subscribe(kinds={TaskFinished}) as finished,
    ):
        tasks = [create_task("value", {"value": number}) for number in range(500)]
        for task in tasks:
            await processor.submit_task(task)
        results = await ends(processor, *tasks)

        async with asyncio.timeout(30):
            assert {(await anext(finished)).task_id for _ in tasks} == {task.id for task in tasks}
        assert all(result.ok for result in results)
        assert len(processor._hub.observers) == 2


async def test_twenty_open_streams_end_with_the_processor_within_a_second():  # D10
    """Within the program; over HTTP see tests/cli/test_run_http.py."""
    processor = AdvancedAsyncProcessor(max_process_workers=1)
    await processor.start()
    reading = asyncio.Event()
    ended: list[int] = []

    async def read(number: int) -> None:
        async with processor.subscribe() as events:
            reading.set()
            async for _ in events:
                pass
        ended.append(number)

    readers = [asyncio.create_task(read(number)) for number in range(20)]
    await reading.wait()
    began = time.monotonic()
    await processor.shutdown(timeout=5.0)
    await asyncio.gather(*readers)

    assert time.monotonic() - began < 1.0
    assert sorted(ended) == list(range(20))
