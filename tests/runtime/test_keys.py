"""Idempotency keys: on their own, and in a processor that keeps tasks in memory only."""

from __future__ import annotations

import pytest

from async_processor import ProcessingTask, ProcessorConfig, create_task
from async_processor.runtime.keys import IdempotencyKeys, RepeatedKeyError
from async_processor.testing import run_virtual, virtual_processor


def first_of(keys: IdempotencyKeys, key: str | None) -> str | None:
    try:
        keys.refuse_repeated(key)
    except RepeatedKeyError as repeated:
        return repeated.first_id
    return None


def test_a_key_leads_to_the_task_that_came_first_with_it():
    keys = IdempotencyKeys(lambda _: True)
    keys.add("k", "a")

    assert first_of(keys, "k") == "a"
    assert first_of(keys, "other") is None


def test_tasks_without_a_key_have_nothing_to_do_with_each_other():
    keys = IdempotencyKeys(lambda _: True)
    keys.add(None, "a")

    assert first_of(keys, None) is None


def test_the_key_of_a_forgotten_task_is_free():
    remembered = {"a", "b"}
    keys = IdempotencyKeys(remembered.__contains__)
    keys.add("k", "a")
    remembered.remove("a")

    assert first_of(keys, "k") is None
    keys.add("k", "b")
    assert first_of(keys, "k") == "b"
    keys.forget(["k", "unknown"])
    assert first_of(keys, "k") is None


def test_keys_of_an_earlier_run_count():
    keys = IdempotencyKeys(lambda _: True)
    keys.load({"k": "a"})

    assert first_of(keys, "k") == "a"


def test_keys_of_forgotten_tasks_do_not_add_up():
    latest: list[str] = []
    keys = IdempotencyKeys(lambda task_id: task_id in latest[-100:])
    for number in range(20_000):
        latest[:] = [*latest[-99:], f"t{number}"]
        keys.add(f"k{number}", f"t{number}")

    assert len(keys._ids) < 3_000
    assert first_of(keys, "k19999") == "t19999"


@pytest.mark.parametrize("queue_size", [1, 100])
def test_without_a_store_a_key_holds_as_long_as_its_result(queue_size: int):
    runs: list[str] = []

    async def note(task: ProcessingTask) -> None:
        runs.append(task.id)

    async def main() -> None:
        async with virtual_processor(config=ProcessorConfig(result_ttl_s=100.0), queue_size=queue_size) as processor:
            processor.register_processor("note", note)
            first = await processor.submit_task(create_task("note", idempotency_key="k"))
            assert processor.submit_task_nowait(create_task("note", idempotency_key="k")) == first
            await processor.wait_for_task(first)
            assert await processor.submit_task(create_task("note", idempotency_key="k")) == first
            assert runs == [first]

    run_virtual(main)


def test_without_a_store_a_key_is_free_when_its_result_is_forgotten():
    async def main() -> None:
        async with virtual_processor(config=ProcessorConfig(max_results=1)) as processor:
            processor.register_processor("note", nothing)
            first = await processor.submit_task(create_task("note", idempotency_key="k"))
            await processor.wait_for_task(first)
            await processor.wait_for_task(await processor.submit_task(create_task("note")))

            assert await processor.submit_task(create_task("note", idempotency_key="k")) != first

    run_virtual(main)


async def nothing(_task: ProcessingTask) -> None:
    """End at once."""
