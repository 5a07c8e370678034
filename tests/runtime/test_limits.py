"""Everything that can grow is bounded."""

from __future__ import annotations

import asyncio
import gc
from typing import NamedTuple, Self

import psutil
import pytest
from tests.runtime.support import ends, running_processor

from async_processor import (
    InvalidTaskError,
    ProcessingTask,
    ProcessorConfig,
    TaskResult,
    TaskStatus,
    UnknownTaskError,
    create_task,
)

LIMIT = 100_000
KEPT = 1_000
KINDS = [pytest.param({}, id="async"), pytest.param({"io_bound": True}, id="thread")]


async def pass_through(task: ProcessingTask) -> int:
    return len(task.payload["data"])


async def grow(task: ProcessingTask) -> bytes:
    return b"x" * int(task.payload["size"])


@pytest.mark.parametrize("hints", [*KINDS, pytest.param({"cpu_intensive": True}, id="process")])
async def test_a_payload_over_the_limit_is_refused_at_submit(hints: dict[str, bool]) -> None:  # R3
    async with running_processor(config=ProcessorConfig(max_payload_bytes=LIMIT)) as processor:
        processor.register_processor("pass", pass_through)
        # The key's four characters, and eight bytes for the mapping itself, count too.
        fits, over = LIMIT - 12, LIMIT - 11
        for size in (fits - 1, fits):
            task = create_task("pass", {"data": b"x" * size}, **hints)
            await processor.submit_task(task)
            assert (await ends(processor, task))[0].result == size

        with pytest.raises(InvalidTaskError, match=r"max_payload_bytes \(100,000 bytes\)") as caught:
            await processor.submit_task(create_task("pass", {"data": b"x" * over}, **hints))
        with pytest.raises(InvalidTaskError):
            await processor.submit_task(create_task("pass", {"data": [b"x" * LIMIT] * 2_000}, **hints))

        assert caught.value.field == "payload"


async def test_memory_that_was_released_has_a_size_all_the_same() -> None:
    """Whoever reads it finds out; the submitter is not the one to get a ValueError out of our counting."""
    view = memoryview(b"gone")
    view.release()
    async with running_processor(config=ProcessorConfig(max_payload_bytes=LIMIT)) as processor:
        processor.register_processor("pass", pass_through)
        task = create_task("pass", {"data": view}, max_retries=0)
        await processor.submit_task(task)
        (result,) = await ends(processor, task)

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ValueError")


@pytest.mark.parametrize("hints", [*KINDS, pytest.param({"cpu_intensive": True}, id="process")])
async def test_a_result_over_the_limit_fails_the_task_once(hints: dict[str, bool]) -> None:  # R3
    async with running_processor(config=ProcessorConfig(max_result_bytes=LIMIT)) as processor:
        processor.register_processor("grow", grow)
        fits, over = (create_task("grow", {"size": size}, **hints) for size in (LIMIT, LIMIT + 1))
        under = create_task("grow", {"size": LIMIT - 1}, **hints)
        for task in (under, fits, over):
            await processor.submit_task(task)
        less, good, bad = await ends(processor, under, fits, over)

        assert (less.ok, good.ok) == (True, True), (less.error, good.error)
        assert (bad.status, bad.attempts, bad.error_type) == (TaskStatus.FAILED, 1, "SizeLimitError")
        assert "max_result_bytes" in (bad.error or "")


async def test_a_payload_that_holds_itself_is_counted_and_passed() -> None:
    async with running_processor() as processor:
        ring: list[object] = []
        ring.append(ring)
        task = create_task("value", {"value": 1, "ring": ring})
        await processor.submit_task(task)

        assert (await ends(processor, task))[0].ok


async def test_only_so_many_results_are_kept() -> None:
    async with running_processor(config=ProcessorConfig(max_results=10)) as processor:
        tasks = [create_task("value", {"value": number}) for number in range(25)]
        for task in tasks:
            await processor.submit_task(task)
        await processor.wait_until_idle(timeout=30.0)

        kept = [task for task in tasks if await processor.get_task_result(task.id) is not None]
        assert kept == tasks[-10:]
        with pytest.raises(UnknownTaskError, match="no longer kept"):
            await processor.wait_for_task(tasks[0].id)


async def test_a_waiter_gets_a_result_that_is_not_kept() -> None:
    async with running_processor(config=ProcessorConfig(max_results=0)) as processor:
        task = create_task("value", {"value": 1})
        waiter = asyncio.create_task(_submit_and_wait(processor, task))

        assert (await waiter).result == 1


async def _submit_and_wait(processor, task: ProcessingTask) -> TaskResult:  # type: ignore[no-untyped-def]
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=30.0)


async def test_a_result_does_not_keep_the_payload() -> None:
    async with running_processor() as processor:
        marker = Marked()
        task = create_task("value", {"marker": marker})
        await processor.submit_task(task)
        await ends(processor, task)
        del task
        await asyncio.sleep(0)
        gc.collect()

        assert [item for item in gc.get_referrers(marker) if isinstance(item, dict) and "marker" in item] == [
            item for item in gc.get_referrers(marker) if item is locals()
        ]


class Marked:
    """Something to look for."""


class Heap(NamedTuple):
    """What there is in memory.

    Attributes:
        rss: resident memory in MB.
        objects: how many the garbage collector knows of.
    """

    rss: float
    objects: int

    @classmethod
    def now(cls) -> Self:
        gc.collect()
        return cls(psutil.Process().memory_info().rss / 1e6, len(gc.get_objects()))


async def _run_many(count: int, name: str, **payload: object) -> list[Heap]:
    """The heap once as many results are kept as may be, and at the end."""
    warm_up = max(count // 10, 2 * KEPT)
    heaps: list[Heap] = []
    # In debug mode asyncio keeps the stack of every task's creation, which takes longer than the task.
    asyncio.get_running_loop().set_debug(False)
    async with running_processor(workers=10, config=ProcessorConfig(max_results=KEPT)) as processor:
        processor.register_processor("fail", fail_with_large_locals)
        for number in range(count):
            await processor.submit_task(create_task(name, payload, max_retries=0))
            if number == warm_up:
                await processor.wait_until_idle(timeout=60.0)
                heaps.append(Heap.now())
        await processor.wait_until_idle(timeout=60.0)
        heaps.append(Heap.now())
    return heaps


def assert_flat(warm: Heap, end: Heap) -> None:
    assert end.rss - warm.rss <= 20
    # A single object for each task would be many thousands.
    assert end.objects - warm.objects <= 1_000


async def fail_with_large_locals(task: ProcessingTask) -> None:
    large = bytearray(1_000_000)
    raise RuntimeError(f"failed with {len(large)} bytes at hand")


@pytest.mark.timeout(180)
async def test_a_hundred_thousand_tasks_leave_memory_flat() -> None:  # R1: <= 20 MB
    warm, end = await _run_many(100_000, "value")

    assert_flat(warm, end)


async def test_failures_keep_no_frame() -> None:  # R2: <= 20 MB; kept frames of a tenth of these would be 500 MB
    warm, end = await _run_many(5_000, "fail")

    assert_flat(warm, end)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
async def test_a_million_tasks_leave_memory_flat() -> None:  # R1
    warm, end = await _run_many(1_000_000, "value")

    assert_flat(warm, end)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
async def test_a_hundred_thousand_failures_keep_no_frame() -> None:  # R2
    warm, end = await _run_many(100_000, "fail")

    assert_flat(warm, end)
