"""What is kept, when, and what becomes of it after a crash: the whole engine on virtual time and a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from async_processor import (
    AdvancedAsyncProcessor,
    DuplicateTaskError,
    InvalidTaskError,
    ProcessingTask,
    ProcessorConfig,
    ProcessorNotRunningError,
    TaskContext,
    TaskPriority,
    TaskResult,
    TaskStatus,
    UnknownTaskError,
    create_task,
)
from async_processor.errors import StoreError, StoreLockedError, UnserializableError
from async_processor.storage.memory import MemoryStore
from async_processor.testing import RecordingObserver, run_virtual, virtual_processor

CONFIG = ProcessorConfig(retry_base_s=4.0, retry_max_s=4.0, cancel_grace_s=0.5, registration_timeout_s=60.0)


class Bodies:
    """The processor functions, and what they did."""

    def __init__(self) -> None:
        self.began: list[tuple[str, int]] = []

    async def value(self, task: ProcessingTask, context: TaskContext) -> Any:
        self.began.append((task.id, context.attempt))
        return task.payload.get("value")

    async def nap(self, task: ProcessingTask, context: TaskContext) -> str:
        self.began.append((task.id, context.attempt))
        await asyncio.sleep(task.payload["seconds"])
        return "rested"

    async def fail(self, task: ProcessingTask, context: TaskContext) -> None:
        self.began.append((task.id, context.attempt))
        raise ValueError("it went wrong")

    async def total(self, task: ProcessingTask, context: TaskContext) -> Any:
        self.began.append((task.id, context.attempt))
        return sum(result.result for result in context.dependencies.values())

    async def odd(self, task: ProcessingTask, context: TaskContext) -> Any:
        self.began.append((task.id, context.attempt))
        return lambda: None

    def register(self, processor: AdvancedAsyncProcessor) -> None:
        for name in ("value", "nap", "fail", "total", "odd"):
            processor.register_processor(name, getattr(self, name))


class Lives:
    """One store, and the processors that have it one after the other."""

    def __init__(self, **limits: Any) -> None:
        self.store = MemoryStore(wall=lambda: asyncio.get_running_loop().clock.wall().timestamp(), **limits)  # type: ignore[attr-defined]
        self.bodies = Bodies()

    def processor(self, **options: Any) -> AdvancedAsyncProcessor:
        processor = virtual_processor(store=self.store, **{"config": CONFIG, "max_workers": 2, **options})
        self.bodies.register(processor)
        return processor

    async def begin(self, **options: Any) -> AdvancedAsyncProcessor:
        processor = self.processor(**options)
        await processor.start()
        return processor

    async def crash(self, processor: AdvancedAsyncProcessor) -> None:
        """End a processor so that the store sees nothing of its end."""
        self.store.crash()
        await processor.shutdown(timeout=0)

    async def end(self, processor: AdvancedAsyncProcessor, timeout: float = 30.0) -> None:
        assert processor._engine is not None
        processor._engine.scheduler.check()
        await processor.shutdown(timeout=timeout)


Main = Callable[[Lives], Awaitable[None]]


def living(main: Main) -> Callable[[], None]:
    """A test on virtual time."""

    def test() -> None:
        run_virtual(lambda: main(Lives()), seed=1)

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


async def kept(processor: AdvancedAsyncProcessor) -> None:
    """Return when everything written so far is kept."""
    assert processor._engine is not None
    assert processor._engine.journal is not None
    await asyncio.sleep(0.01)


async def submitted(processor: AdvancedAsyncProcessor, *tasks: ProcessingTask) -> list[str]:
    return [await processor.submit_task(task) for task in tasks]


async def results(processor: AdvancedAsyncProcessor, ids: list[str]) -> list[TaskResult]:
    return [await processor.wait_for_task(item, timeout=1_000.0) for item in ids]


# ---- a crash


@living
async def test_what_waited_and_what_ran_goes_on_after_a_crash(lives: Lives) -> None:
    first = await lives.begin()
    ids = await submitted(first, *(create_task("nap", {"seconds": 5.0}, id=f"nap-{number}") for number in range(4)))
    await asyncio.sleep(1.0)
    await lives.crash(first)

    second = await lives.begin()
    ended = await results(second, ids)

    assert [result.result for result in ended] == ["rested"] * 4
    assert [result.attempts for result in ended] == [2, 2, 1, 1]
    # Two at a time, whose first steps may come in either order.
    began = [sorted(lives.bodies.began[start : start + 2]) for start in (0, 2, 4)]
    assert began == [[("nap-0", 1), ("nap-1", 1)], [("nap-0", 2), ("nap-1", 2)], [("nap-2", 1), ("nap-3", 1)]]
    await lives.end(second)


@living
async def test_a_backoff_goes_on_where_it_was(lives: Lives) -> None:
    first = await lives.begin(config=ProcessorConfig(retry_base_s=100.0, retry_max_s=100.0))
    (task_id,) = await submitted(first, create_task("fail", max_retries=1))
    await kept(first)
    assert first._engine is not None
    due = first._engine.scheduler.next_wakeup()
    await lives.crash(first)

    second = await lives.begin()
    assert await second.get_task_status(task_id) is TaskStatus.PENDING
    (result,) = await results(second, [task_id])

    assert (result.status, result.attempts) == (TaskStatus.FAILED, 2)
    assert due is not None
    # Never earlier; and however far away it was, no later than the longest backoff of this configuration.
    assert asyncio.get_running_loop().time() >= min(due, 8.0)
    await lives.end(second)


@living
async def test_priorities_and_dependencies_hold_after_a_crash(lives: Lives) -> None:
    first = await lives.begin(max_workers=1)
    await submitted(
        first,
        create_task("nap", {"seconds": 5.0}, id="runs"),
        create_task("value", {"value": 1}, TaskPriority.LOW, id="low"),
        create_task("value", {"value": 2}, TaskPriority.HIGH, id="high"),
        create_task("total", {}, TaskPriority.CRITICAL, id="sum", depends_on=["low", "high"]),
    )
    await asyncio.sleep(1.0)
    await lives.crash(first)

    second = await lives.begin(max_workers=1)
    (total,) = await results(second, ["sum"])

    assert total.result == 3
    # Lent urgency included: what the CRITICAL one waits for goes first.
    assert [name for name, _ in lives.bodies.began[1:4]] == ["high", "low", "sum"]
    await lives.end(second)


@living
async def test_a_dependency_that_ended_before_the_crash_counts(lives: Lives) -> None:
    first = await lives.begin()
    done = await submitted(
        first, create_task("value", {"value": 20}, id="done"), create_task("fail", id="bad", max_retries=0)
    )
    await results(first, done)
    await submitted(
        first,
        create_task("nap", {"seconds": 100.0}, id="nap"),
        create_task("total", id="sum", depends_on=["done"]),
        create_task("total", id="both", depends_on=["done", "late"]),
    )
    await results(first, ["sum"])
    await lives.crash(first)

    second = await lives.begin()
    await submitted(
        second,
        create_task("value", {"value": 1}, id="late"),
        create_task("total", id="new", depends_on=["done", "late"]),
        create_task("total", id="lost", depends_on=["done", "bad"]),
    )
    both, new, lost = await results(second, ["both", "new", "lost"])

    assert (both.result, new.result) == (21, 21)
    assert lost.status is TaskStatus.CANCELLED
    assert "'bad'" in (lost.error or "")
    assert "it went wrong" in (lost.error or "")
    await lives.end(second, timeout=0)


@living
async def test_a_dependency_is_looked_up_again_when_the_store_could_not_be_read(lives: Lives) -> None:
    first = await lives.begin()
    await results(first, await submitted(first, create_task("value", {"value": 20}, id="done")))
    await lives.crash(first)

    second = await lives.begin()
    (task_id,) = await submitted(second, create_task("total", id="sum", depends_on=["done", "late"]))
    lives.store.failing = "slow"
    await asyncio.sleep(3.0)
    lives.store.failing = ""
    await submitted(second, create_task("value", {"value": 1}, id="late"))

    assert (await results(second, [task_id]))[0].result == 21
    await lives.end(second)


@living
async def test_results_of_earlier_runs_can_be_asked_for(lives: Lives) -> None:
    first = await lives.begin()
    original = await results(
        first, await submitted(first, create_task("value", {"value": {"deep": (1, 2)}}, id="good"))
    )
    await results(first, await submitted(first, create_task("fail", id="bad", max_retries=0)))
    await lives.crash(first)

    second = await lives.begin()

    assert await second.get_task_result("good") == original[0]
    assert await second.wait_for_task("good") == original[0]
    assert await second.get_task_status("bad") is TaskStatus.FAILED
    assert (await second.wait_for_task("bad")).error == "it went wrong"
    assert await second.get_task_status("unknown") is None
    assert await second.get_task_result("unknown") is None
    with pytest.raises(UnknownTaskError):
        await second.wait_for_task("unknown")
    with pytest.raises(DuplicateTaskError):
        await second.submit_task(create_task("value", id="good"))
    assert lives.bodies.began == [("good", 1), ("bad", 1)]
    await lives.end(second)


@living
async def test_a_task_that_kills_its_process_each_time_is_given_up_and_the_others_finish(lives: Lives) -> None:  # S9
    for _ in range(4):
        processor = await lives.begin()
        if not lives.bodies.began:
            await submitted(
                processor,
                create_task("nap", {"seconds": 1_000.0}, id="killer", max_retries=2, timeout=None),
                create_task("total", id="dependent", depends_on=["killer"]),
                create_task("nap", {"seconds": 2.5}, id="other", max_retries=9),
            )
        await asyncio.sleep(1.0)
        if await processor.get_task_status("killer") is not TaskStatus.RUNNING:
            break
        await lives.crash(processor)

    killer, dependent, other = await results(processor, ["killer", "dependent", "other"])
    assert (killer.status, killer.attempts) == (TaskStatus.FAILED, 3)
    assert "killed its process 3 times" in (killer.error or "")
    assert dependent.status is TaskStatus.CANCELLED
    assert other.result == "rested"
    assert [attempt for name, attempt in lives.bodies.began if name == "killer"] == [1, 2, 3]
    await lives.end(processor)


@living
async def test_what_was_being_cancelled_is_not_run_again(lives: Lives) -> None:  # S4
    first = await lives.begin()

    async def stubborn(_task: ProcessingTask) -> None:
        while True:
            try:
                await asyncio.sleep(1_000.0)
            except asyncio.CancelledError:
                await asyncio.sleep(0.4)
                raise

    first.register_processor("stubborn", stubborn)
    await submitted(
        first,
        create_task("stubborn", id="root", timeout=None),
        create_task("value", id="leaf", depends_on=["root"]),
        create_task("value", id="anyway", depends_on=["root"], on_dependency_failure="run"),
    )
    await asyncio.sleep(1.0)
    cancelling = asyncio.create_task(first.cancel_task("root"))
    await asyncio.sleep(0.1)
    assert not cancelling.done()
    await lives.crash(first)
    await cancelling

    second = await lives.begin()
    second.register_processor("stubborn", stubborn)
    root, leaf, anyway = await results(second, ["root", "leaf", "anyway"])

    assert (root.status, leaf.status) == (TaskStatus.CANCELLED, TaskStatus.CANCELLED)
    assert anyway.status is TaskStatus.COMPLETED
    await lives.end(second)


# ---- kept before it is acted on


@living
async def test_a_task_that_cannot_be_kept_is_refused_and_leaves_no_trace(lives: Lives) -> None:  # S3
    processor = await lives.begin()
    lives.store.failing = "the disk is full"
    task = create_task("value", {"value": 1}, id="a")

    with pytest.raises(StoreError, match="disk is full"):
        await processor.submit_task(task)

    lives.store.failing = ""
    assert await processor.get_task_status("a") is None
    assert lives.bodies.began == []
    (result,) = await results(processor, await submitted(processor, task))
    assert result.result == 1
    await lives.end(processor)


@living
async def test_who_depends_on_a_task_that_was_refused_is_cancelled_with_the_reason(lives: Lives) -> None:
    processor = await lives.begin()
    await submitted(processor, create_task("value", id="leaf", depends_on=["root"]))
    lives.store.failing = "the disk is full"
    with pytest.raises(StoreError):
        await processor.submit_task(create_task("value", id="root"))
    lives.store.failing = ""

    (leaf,) = await results(processor, ["leaf"])

    assert leaf.status is TaskStatus.CANCELLED
    assert "disk is full" in (leaf.error or "")
    await lives.end(processor)


@living
async def test_a_task_submitted_without_waiting_begins_when_it_is_kept_or_not_at_all(lives: Lives) -> None:
    processor = await lives.begin()
    good = processor.submit_task_nowait(create_task("value", {"value": 1}, id="good"))
    assert lives.bodies.began == []
    assert (await results(processor, [good]))[0].result == 1

    lives.store.failing = "the disk is full"
    processor.submit_task_nowait(create_task("value", id="bad"))
    await asyncio.sleep(1.0)
    lives.store.failing = ""

    assert await processor.get_task_status("bad") is None
    assert lives.bodies.began == [("good", 1)]
    await lives.end(processor)


@living
async def test_an_attempt_is_counted_before_its_body_begins(lives: Lives) -> None:  # S9
    processor = await lives.begin()
    attempts: list[int] = []

    async def looks(task: ProcessingTask) -> None:
        attempts.append((await lives.store.find([task.id]))[task.id].attempt)
        raise ValueError("again")

    processor.register_processor("looks", looks)
    await results(processor, await submitted(processor, create_task("looks", max_retries=2)))

    assert attempts == [1, 2, 3]
    await lives.end(processor)


@living
async def test_while_the_disk_fails_nothing_begins_and_no_result_comes_out_and_no_time_runs(lives: Lives) -> None:  # S3
    processor = await lives.begin(max_workers=1)
    runs, waits = await submitted(
        processor,
        create_task("nap", {"seconds": 5.0}, id="runs", timeout=10.0),
        create_task("nap", {"seconds": 5.0}, id="waits", timeout=10.0),
    )
    await asyncio.sleep(1.0)
    lives.store.failing = "the disk is full"
    await asyncio.sleep(100.0)

    assert await processor.get_task_status(runs) is TaskStatus.RUNNING
    assert [name for name, _ in lives.bodies.began] == ["runs"]
    health = await processor.health()
    assert health.word == "unhealthy"
    assert any("the disk is full" in reason for reason in health.reasons)

    lives.store.failing = ""
    assert [result.result for result in await results(processor, [runs, waits])] == ["rested", "rested"]
    assert (await processor.health()).checks[-1].status == "pass"
    await lives.end(processor)


@pytest.mark.parametrize("hints", [{}, {"io_bound": True}, {"cpu_intensive": True}], ids=str)
def test_an_attempt_is_withdrawn_in_every_lane_when_it_is_cancelled_before_its_start_is_kept(hints: dict[str, bool]):
    async def main() -> None:
        lives = Lives()
        processor = await lives.begin()
        (task_id,) = await submitted(processor, create_task("fail", id="a", max_retries=1, **hints))
        # Its first start was kept with it; the second will not be.
        lives.store.failing = "busy"
        await asyncio.sleep(10.0)
        assert lives.bodies.began == [("a", 1)]
        cancelling = asyncio.create_task(processor.cancel_task(task_id))
        await asyncio.sleep(1.0)
        lives.store.failing = ""
        assert await cancelling == ["a"]

        (result,) = await results(processor, [task_id])
        assert result.status is TaskStatus.CANCELLED
        assert lives.bodies.began == [("a", 1)]
        await processor.wait_until_idle(10.0)
        await lives.end(processor)

    run_virtual(main)


@living
async def test_submit_returns_when_the_task_is_kept(lives: Lives) -> None:
    processor = await lives.begin()
    await submitted(processor, create_task("nap", {"seconds": 100.0}, id="a"))
    lives.store.crash()

    assert (await _reopened(lives.store)).keys() == {"a"}
    await processor.shutdown(timeout=0)


async def _reopened(store: MemoryStore) -> dict[str, Any]:
    await store.open(lambda _: None)
    found = {item.task.id: item async for chunk in store.unfinished() for item in chunk}
    store.crash()
    return found


# ---- what cannot be kept or read


@living
async def test_a_payload_that_cannot_be_kept_is_refused_at_submit(lives: Lives) -> None:
    processor = await lives.begin()

    with pytest.raises(UnserializableError, match="payload"):
        await processor.submit_task(create_task("value", {"value": lambda: None}, id="a"))

    assert await processor.get_task_status("a") is None
    await lives.end(processor)


@living
async def test_a_result_that_cannot_be_kept_fails_the_task_once(lives: Lives) -> None:  # S19
    processor = await lives.begin()

    (result,) = await results(processor, await submitted(processor, create_task("odd")))

    assert (result.status, result.attempts) == (TaskStatus.FAILED, 1)
    assert "the result cannot be stored" in (result.error or "")
    await lives.end(processor)


@living
async def test_what_is_small_in_memory_and_large_in_the_store_is_refused(lives: Lives) -> None:
    processor = await lives.begin(config=replace(CONFIG, max_payload_bytes=100_000, max_result_bytes=100_000))
    shared = ["x" * 1_000] * 50

    async def ladder(_task: ProcessingTask) -> Any:
        return [shared] * 50

    processor.register_processor("ladder", ladder)

    with pytest.raises(InvalidTaskError, match="max_payload_bytes"):
        await processor.submit_task(create_task("value", {"value": [shared] * 50}, id="a"))
    (result,) = await results(processor, await submitted(processor, create_task("ladder")))

    assert (result.status, result.attempts, result.error_type) == (TaskStatus.FAILED, 1, "SizeLimitError")
    assert await processor.get_task_status("a") is None
    await lives.end(processor)


@living
async def test_a_row_that_cannot_be_read_ends_and_is_named_and_the_others_run(lives: Lives) -> None:  # S10
    first = await lives.begin()
    await submitted(
        first,
        create_task("nap", {"seconds": 5.0}, id="bad"),
        create_task("nap", {"seconds": 5.0}, id="good"),
        create_task("value", id="leaf", depends_on=["bad"]),
    )
    await lives.crash(first)
    row = lives.store._rows["bad"]
    stored = lives.store._tasks[row]
    lives.store._tasks[row] = replace(stored, task=stored.task._replace(spec=b"\x80garbage"))

    second = await lives.begin()
    good, bad, leaf = await results(second, ["good", "bad", "leaf"])

    assert good.result == "rested"
    assert bad.status is TaskStatus.FAILED
    assert "'bad'" in (bad.error or "")
    assert leaf.status is TaskStatus.CANCELLED
    await lives.end(second)


@living
async def test_reading_that_fails_is_tried_again_and_nothing_is_taken_up_twice(lives: Lives) -> None:  # S10
    first = await lives.begin()
    ids = await submitted(first, *(create_task("nap", {"seconds": 5.0}, id=f"nap-{number}") for number in range(600)))
    await lives.crash(first)
    second = lives.processor(max_workers=700)
    original, failures = lives.store.unfinished, iter([0, 1, 2])

    async def failing() -> Any:
        count = next(failures, None)
        async for chunk in original():
            if count == 0:
                raise StoreError("the disk is slow")
            count = None if count is None else count - 1
            yield chunk

    lives.store.unfinished = failing  # type: ignore[method-assign]
    await second.start()

    assert {result.result for result in await results(second, ids)} == {"rested"}
    assert len(lives.bodies.began) == len(ids) + 2
    await lives.end(second)


@living
async def test_a_store_that_cannot_be_read_at_all_fails_the_start_and_is_let_go(lives: Lives) -> None:
    first = await lives.begin()
    await submitted(first, create_task("nap", {"seconds": 5.0}, id="a"))
    await lives.crash(first)
    second = lives.processor()
    original = lives.store.unfinished

    async def failing() -> Any:
        raise StoreError("the disk is gone")
        yield

    lives.store.unfinished = failing  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="disk is gone"):
        await second.start()
    assert not second.is_running
    lives.store.unfinished = original  # type: ignore[method-assign]

    await second.start()
    assert (await results(second, ["a"]))[0].result == "rested"
    await lives.end(second)


# ---- types nobody has registered


@living
async def test_a_task_of_a_type_that_is_not_registered_waits_for_it_and_is_shown(lives: Lives) -> None:
    first = await lives.begin()
    first.register_processor("later", lives.bodies.value)
    await submitted(first, create_task("nap", {"seconds": 100.0}, id="nap"), create_task("nap", {"seconds": 100.0}))
    await submitted(first, create_task("later", {"value": 7}, id="a"))
    await lives.crash(first)

    second = await lives.begin()
    await asyncio.sleep(1.0)
    assert await second.get_task_status("a") is TaskStatus.PENDING
    assert (await second.get_performance_metrics())["waiting_for_registration"] == {"later": 1}
    second.register_processor("later", lives.bodies.value, io_bound=True)
    (result,) = await results(second, ["a"])

    assert result.result == 7
    assert (result.worker_id or "").startswith("thread-")
    assert (await second.get_performance_metrics())["waiting_for_registration"] == {}
    await lives.end(second, timeout=0)


@living
async def test_a_task_whose_type_is_never_registered_fails_in_time(lives: Lives) -> None:
    first = await lives.begin()
    first.register_processor("later", lives.bodies.nap)
    await submitted(first, create_task("later", {"seconds": 100.0}, id="a"))
    await lives.crash(first)

    second = await lives.begin()
    began = asyncio.get_running_loop().time()
    (result,) = await results(second, ["a"])

    assert result.status is TaskStatus.FAILED
    assert "register" in (result.error or "")
    assert asyncio.get_running_loop().time() - began == pytest.approx(CONFIG.registration_timeout_s, abs=0.1)
    await lives.end(second)


# ---- idempotency keys


@living
async def test_the_same_key_gives_the_first_id_also_after_a_crash(lives: Lives) -> None:  # S21
    first = await lives.begin()
    original = await first.submit_task(create_task("value", {"value": 1}, idempotency_key="order-1"))
    assert await first.submit_task(create_task("value", {"value": 2}, idempotency_key="order-1")) == original
    assert first.submit_task_nowait(create_task("value", {"value": 3}, idempotency_key="order-1")) == original
    other = await first.submit_task(create_task("value", {"value": 4}, idempotency_key="order-2"))
    assert other != original
    await results(first, [original, other])
    await lives.crash(first)

    second = await lives.begin()
    assert await second.submit_task(create_task("value", {"value": 5}, idempotency_key="order-1")) == original
    assert (await second.wait_for_task(original)).result == 1
    assert len(lives.bodies.began) == 2
    await lives.end(second)


@living
async def test_of_many_at_once_with_one_key_one_runs(lives: Lives) -> None:
    processor = await lives.begin(queue_size=3)

    ids = await asyncio.gather(
        *(processor.submit_task(create_task("nap", {"seconds": 1.0}, idempotency_key="k")) for _ in range(20))
    )

    assert len(set(ids)) == 1
    await results(processor, ids)
    assert len(lives.bodies.began) == 1
    await lives.end(processor)


@living
async def test_a_key_whose_task_was_refused_or_forgotten_is_free_again(lives: Lives) -> None:
    processor = await lives.begin()
    lives.store.failing = "the disk is full"
    with pytest.raises(StoreError):
        await processor.submit_task(create_task("value", idempotency_key="k"))
    lives.store.failing = ""

    first = await processor.submit_task(create_task("value", {"value": 1}, idempotency_key="k"))
    await results(processor, [first])
    await asyncio.sleep(4_000.0)
    await results(processor, await submitted(processor, create_task("value")))
    second = await processor.submit_task(create_task("value", {"value": 2}, idempotency_key="k"))

    assert second != first
    await lives.end(processor)


# ---- ephemeral fields


@living
async def test_an_ephemeral_field_is_used_and_never_kept(lives: Lives) -> None:
    processor = await lives.begin()
    secret = "the words of a child"
    (result,) = await results(
        processor,
        await submitted(processor, create_task("value", {"value": secret, "n": 1}, id="a", ephemeral=["value"])),
    )

    assert result.result == secret
    assert secret.encode() not in (await lives.store.find(["a"]))["a"].task.spec
    await lives.end(processor)


@living
async def test_a_task_that_lost_an_ephemeral_field_fails_and_says_so(lives: Lives) -> None:
    first = await lives.begin()
    await submitted(
        first,
        create_task("nap", {"seconds": 5.0, "voice": b"..."}, id="a", ephemeral=["voice"]),
        create_task("nap", {"seconds": 5.0}, id="b", ephemeral=["voice"]),
    )
    await lives.crash(first)

    second = await lives.begin()
    lost, complete = await results(second, ["a", "b"])

    assert lost.status is TaskStatus.FAILED
    assert "'voice'" in (lost.error or "")
    assert complete.result == "rested"
    await lives.end(second)


# ---- shutdown


@living
async def test_a_shutdown_leaves_what_is_not_done_to_the_next_start_and_tells_who_waits(lives: Lives) -> None:  # D3
    first = await lives.begin()
    ids = await submitted(
        first,
        create_task("nap", {"seconds": 2.0}, id="ends"),
        create_task("nap", {"seconds": 500.0}, id="runs", max_retries=0, timeout=None),
        create_task("value", {"value": 1}, id="waits"),
        create_task("total", id="depends", depends_on=["waits"]),
        create_task("fail", id="fails", max_retries=1),
    )
    await asyncio.sleep(1.0)
    waiters = [asyncio.create_task(first.wait_for_task(item)) for item in ids]
    await asyncio.sleep(0)
    await lives.end(first, timeout=10.0)
    seen = {result.task_id: result for result in await asyncio.gather(*waiters)}

    assert seen["ends"].result == "rested"
    for item in ("runs", "waits", "depends", "fails"):
        assert seen[item].status is TaskStatus.CANCELLED, item
        assert "goes on at the next start" in (seen[item].error or ""), item

    second = await lives.begin()
    runs, waits, depends, fails = await results(second, ["runs", "waits", "depends", "fails"])
    assert (runs.result, runs.attempts) == ("rested", 2)
    assert (waits.result, depends.result) == (1, 1)
    assert fails.status is TaskStatus.FAILED
    stored = (await lives.store.find(["runs"]))["runs"]
    assert stored.crashes == 0
    await lives.end(second)


@living
async def test_the_same_processor_goes_on_when_it_is_started_again(lives: Lives) -> None:
    processor = await lives.begin()
    await submitted(processor, create_task("nap", {"seconds": 5.0}, id="a"))
    await processor.shutdown(timeout=0)
    await processor.start()

    assert (await results(processor, ["a"]))[0].result == "rested"
    await lives.end(processor)


@living
async def test_a_shutdown_while_the_disk_fails_ends_in_time_and_releases_everybody(lives: Lives) -> None:
    processor = await lives.begin()
    (task_id,) = await submitted(processor, create_task("nap", {"seconds": 1.0}, id="a"))
    waiter = asyncio.create_task(processor.wait_for_task(task_id))
    await asyncio.sleep(0.5)
    lives.store.failing = "the disk is full"
    await asyncio.sleep(5.0)
    began = asyncio.get_running_loop().time()
    await processor.shutdown(timeout=2.0)

    assert asyncio.get_running_loop().time() - began <= 3.0
    assert (await waiter).task_id == task_id
    lives.store.failing = ""
    second = await lives.begin()
    assert (await results(second, ["a"]))[0].attempts == 2
    await lives.end(second)


@living
async def test_after_a_shutdown_what_this_run_did_not_see_is_unknown(lives: Lives) -> None:
    first = await lives.begin()
    await results(first, await submitted(first, create_task("value", {"value": 1}, id="a")))
    await lives.end(first)
    second = await lives.begin()
    await lives.end(second)

    assert (await first.wait_for_task("a")).result == 1
    assert await second.get_task_status("a") is None
    assert await second.get_task_result("a") is None
    with pytest.raises(UnknownTaskError):
        await second.wait_for_task("a")


@living
async def test_two_processors_cannot_have_one_store(lives: Lives) -> None:
    first = await lives.begin()
    second = lives.processor()

    with pytest.raises(StoreLockedError):
        await second.start()

    assert not second.is_running
    with pytest.raises(ProcessorNotRunningError):
        await second.submit_task(create_task("value"))
    await lives.end(first)


# ---- what is seen from outside


@living
async def test_a_task_has_not_ended_for_anybody_before_its_end_is_kept(lives: Lives) -> None:
    processor = await lives.begin()
    observer = RecordingObserver()
    processor.add_observer(observer)
    (task_id,) = await submitted(processor, create_task("nap", {"seconds": 1.0}, id="a"))
    await asyncio.sleep(0.5)
    lives.store.failing = "busy"
    await asyncio.sleep(5.0)

    assert await processor.get_task_status(task_id) is TaskStatus.RUNNING
    assert await processor.get_task_result(task_id) is None
    assert not observer.of("task_finished")
    lives.store.failing = ""
    await results(processor, [task_id])
    assert len(observer.of("task_finished")) == 1
    await lives.end(processor)


@living
async def test_progress_is_kept_now_and_then(lives: Lives) -> None:
    processor = await lives.begin()

    async def reports(_task: ProcessingTask, context: TaskContext) -> None:
        for step in range(50):
            context.report_progress(step / 50, f"step {step}")
            await asyncio.sleep(0.1)

    processor.register_processor("reports", reports)
    (task_id,) = await submitted(processor, create_task("reports", id="a"))
    await asyncio.sleep(3.55)

    stored = (await lives.store.find(["a"]))["a"]
    assert stored.progress is not None
    assert 0.4 < stored.progress < 0.8
    assert (stored.progress_message or "").startswith("step")
    await results(processor, [task_id])
    await lives.end(processor)


@living
async def test_the_figures_tell_of_the_store(lives: Lives) -> None:
    processor = await lives.begin()
    await results(processor, await submitted(processor, create_task("value")))

    store = (await processor.get_performance_metrics())["store"]

    assert (store["kind"], store["failing"], store["pending_changes"]) == ("memory", "", 0)
    assert store["changes"] == 3
    await lives.end(processor)


@living
async def test_functions_of_tasks_that_are_taken_up_may_use_the_processor(lives: Lives) -> None:
    first = await lives.begin()

    async def parent(task: ProcessingTask) -> str:
        child = create_task("value", {"value": 5}, idempotency_key=f"child of {task.id}")
        return await second.submit_task(child)

    first.register_processor("parent", lives.bodies.nap)
    await submitted(first, create_task("parent", {"seconds": 5.0}, id="parent"))
    await lives.crash(first)
    second = lives.processor()
    second.register_processor("parent", parent)
    await second.start()

    (result,) = await results(second, ["parent"])
    assert (await second.wait_for_task(result.result)).result == 5
    await lives.end(second)
