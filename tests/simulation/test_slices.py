"""Long work is carried out in slices, and between two of them anything may happen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.simulation.world import World

from async_processor import PermanentError, TaskStatus, create_task
from async_processor.runtime import engine
from async_processor.scheduling import cascade, scheduler
from async_processor.testing import RecordingObserver, run_virtual, virtual_processor


def test_a_task_that_ends_between_the_decision_to_start_it_and_its_start_is_not_run():
    ran = []

    async def fail_after_a_second(task: Any) -> None:
        await asyncio.sleep(1.0)
        raise PermanentError("on purpose")

    def note(task: Any) -> None:
        ran.append(task.id)

    async def main() -> None:
        observer = RecordingObserver()
        async with virtual_processor(max_thread_workers=1) as processor:
            processor.add_observer(observer)
            processor.register_processor("fail", fail_after_a_second, io_bound=True)
            processor.register_processor("note", note)
            await processor.submit_task(create_task("note", id="before"))
            await processor.wait_for_task("before")
            await processor.submit_task(create_task("fail", id="root"))
            await processor.submit_task(create_task("note", id="next", depends_on=["before"]))
            # More than one slice of ends, decided together with the start of "next".
            for _ in range(2 * engine.COMMANDS_PER_SLICE):
                await processor.submit_task(create_task("note", depends_on=["root"]))

            await processor.wait_for_task("root")
            assert await processor.get_task_status("next") is TaskStatus.RUNNING
            assert await processor.cancel_task("next") == ["next"]

            result = await processor.wait_for_task("next")
            assert (result.status, result.attempts) == (TaskStatus.CANCELLED, 1)
            await processor.submit_task(create_task("note", id="after"))
            await processor.wait_until_idle(10.0)
        observer.assert_one_result_per_task()
        assert observer.names("next") == ["task_submitted", "attempt_started", "attempt_ended", "task_finished"]
        assert ran == ["before", "after"]

    run_virtual(main)


@pytest.mark.timeout(300)
def test_schedules_break_no_promise_when_everything_is_cut_into_the_smallest_slices(monkeypatch: pytest.MonkeyPatch):
    # With the usual sizes it would take graphs of thousands of tasks to be cut at all.
    for seed in range(1_000):
        monkeypatch.setattr(cascade, "CASCADE_BUDGET", 1 + seed % 3)
        monkeypatch.setattr(scheduler, "TIMER_BUDGET", 1 + seed % 2)
        monkeypatch.setattr(engine, "COMMANDS_PER_SLICE", 1 + seed % 2)
        try:
            World(seed, 16).live()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
