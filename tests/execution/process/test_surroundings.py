"""What a function finds in a worker: its task, its context, the world around; and what is measured of it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.execution.lane_kit import Bench
from tests.execution.process import jobs
from tests.execution.process.kit import open_lane, value_of

from async_processor.model import ProcessingTask, ProcessingType, TaskPriority
from async_processor.outcome import Returned, Stopped, StopReason

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "task",
    [
        ProcessingTask("my own type"),
        ProcessingTask(
            ProcessingType.DATA_ANALYTICS,
            {"rows": [1, 2]},
            id="an id",
            priority=TaskPriority.CRITICAL,
            timeout=None,
            max_retries=7,
            cpu_intensive=True,
            tags={"a", "b"},
            depends_on=["x", "y"],
            on_dependency_failure="run",
            dependency_timeout=0.0,
            memory_mb=12.5,
            callback=lambda result: None,
            idempotency_key="key",
            created_at=datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC),
        ),
        ProcessingTask("elsewhere", created_at=datetime(2026, 2, 3, tzinfo=timezone(timedelta(hours=2)))),
    ],
    ids=["defaults", "everything", "zone"],
)
async def test_a_function_sees_the_task_as_it_is_but_for_its_callback(shared: Bench, task: ProcessingTask):
    seen = value_of(await shared.outcome_of(jobs.fields_of, task=task))

    assert seen.pop("callback") is None
    assert seen == {item.name: getattr(task, item.name) for item in fields(task) if item.name != "callback"}
    assert {name: type(value) for name, value in seen.items()} == {name: type(getattr(task, name)) for name in seen}


async def test_a_worker_has_the_folder_arguments_and_environment_of_the_parent(shared: Bench):
    task = ProcessingTask("any", id="the-task")

    seen = value_of(await shared.outcome_of(jobs.surroundings, task=task, wants_context=True))

    assert seen["task"] == "the-task"
    assert seen["folder"] == str(Path.cwd())
    # The name of the test, which is in the environment too, was another when the worker started.
    assert seen["environ"].keys() >= os.environ.keys()
    assert seen["environ"]["PATH"] == os.environ["PATH"]
    assert seen["stdin"] == ""
    assert seen["group"]
    assert int(seen["oom"]) >= 500
    assert seen["main"] is None
    assert seen["thread"]


async def test_a_worker_takes_the_environment_of_the_moment_it_starts(monkeypatch):
    async with open_lane() as bench:
        await bench.outcome_of(jobs.nothing)
        monkeypatch.setenv("SET_AFTER_THE_FORK_SERVER", "yes")
        monkeypatch.delenv("HOME")
        await bench.outcome_of(jobs.exit_hard)

        environ = value_of(await bench.outcome_of(jobs.surroundings, wants_context=True))["environ"]

    assert environ["SET_AFTER_THE_FORK_SERVER"] == "yes"
    assert "HOME" not in environ


async def test_linear_algebra_gets_one_thread_per_worker_unless_the_user_says_otherwise(monkeypatch):  # R5
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    async with open_lane() as bench:
        before = len(value_of(await bench.outcome_of(jobs.thread_names)))
        assert value_of(await bench.outcome_of(jobs.count_threads_of_numpy)) == before

        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        await bench.outcome_of(jobs.exit_hard)
        environ = value_of(await bench.outcome_of(jobs.surroundings, wants_context=True))["environ"]

    assert environ["OMP_NUM_THREADS"] == "3"
    assert environ["OPENBLAS_NUM_THREADS"] == "1"


async def test_context_variables_stay_behind(shared: Bench):  # T5
    variables = contextvars.copy_context()
    variables.run(jobs.variable.set, "of the submitter")

    assert await shared.outcome_of(jobs.read_variable, variables=variables) == Returned("default")


# ---- async functions


async def test_the_loop_of_an_async_function_is_left_clean(shared: Bench):  # T6
    assert await shared.outcome_of(jobs.leave_on_loop, is_async=True) == Returned(None)

    cancelled, said = value_of(await shared.outcome_of(jobs.leftovers_of_loop))

    assert cancelled
    assert said == "generator closed"


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "CancelledError", "GeneratorExit", "TimeoutError"])
async def test_an_async_function_may_raise_anything(shared: Bench, kind: str):  # E23
    outcome = await shared.outcome_of(jobs.raise_async, {"kind": kind}, is_async=True)

    assert outcome.error.type_name == kind
    assert await shared.outcome_of(jobs.nothing) == Returned(None)


async def test_an_async_function_that_spins_is_stopped_like_any_other(shared: Bench):
    token = shared.run(jobs.spin_async, is_async=True)
    await shared.sink.wait_until(lambda: token in shared.sink.began)

    shared.lane.stop(token, StopReason.TIMEOUT)

    assert await shared.sink.outcome(token) == Stopped()


# ---- progress


async def test_progress_without_pause_is_thinned_out_and_the_last_arrives(shared: Bench):  # R9
    seconds = 0.5

    token = shared.run(jobs.report_often, {"seconds": seconds}, wants_context=True)
    count = value_of(await shared.sink.outcome(token))

    seen = [message for owner, _, message in shared.sink.progress if owner == token]
    assert count > 1_000
    # 20 a second; the first and the last come besides.
    assert 2 <= len(seen) <= seconds * 20 + 3
    assert seen[-1] == f"report {count}"


async def test_the_newest_progress_arrives_although_nothing_is_reported_after_it(shared: Bench):
    token = shared.run(jobs.report_twice_and_wait, wants_context=True)

    await shared.sink.wait_until(lambda: (token, 0.2, "second") in shared.sink.progress)

    shared.lane.stop(token, StopReason.CANCELLED)
    await shared.sink.outcome(token)


async def test_progress_of_an_attempt_that_has_ended_is_dropped(shared: Bench):  # T4
    await shared.outcome_of(jobs.keep_context, wants_context=True)

    token = shared.run(jobs.report_for_the_earlier, wants_context=True)
    await shared.sink.outcome(token)

    assert "too late" not in [message for _, _, message in shared.sink.progress]


async def test_the_deadline_counts_from_the_call_and_not_from_the_hand_over(shared: Bench):
    token = shared.run(jobs.time_left, wants_context=True, timeout=10.0)
    time.sleep(0.1)  # noqa: ASYNC251 - the loop is held up on purpose

    assert 9.5 < value_of(await shared.sink.outcome(token)) <= 10.0


# ---- measures


async def test_processor_time_of_all_threads_is_measured(shared: Bench):
    outcome = await shared.outcome_of(jobs.burn, {"seconds": 0.1}, profile=True)

    assert outcome.measures.cpu_time is not None
    assert 0.2 <= outcome.measures.cpu_time < 2.0
    assert "burn" in (outcome.measures.profile or "")


async def test_the_peak_of_memory_is_that_of_the_attempt_and_not_of_its_predecessors(shared: Bench):
    large = await shared.outcome_of(jobs.use_memory, {"mib": 200}, profile=True)
    small = await shared.outcome_of(jobs.use_memory, {"mib": 1}, recycle_worker=True)

    assert large.measures.peak_memory_mb is not None
    assert small.measures.peak_memory_mb is not None
    assert large.measures.peak_memory_mb > 200
    assert small.measures.peak_memory_mb < 200
    # Measured for the memory's sake, not profiled.
    assert small.measures.profile is None


async def test_an_initializer_runs_before_the_first_attempt_of_each_worker():
    async with open_lane(initializer=jobs.mark_worker) as bench:
        for _ in range(2):
            environ = value_of(await bench.outcome_of(jobs.surroundings, wants_context=True))["environ"]
            assert environ["MARKED_BY_INITIALIZER"] == "yes"
            await bench.outcome_of(jobs.exit_hard)
    assert "MARKED_BY_INITIALIZER" not in os.environ


async def test_two_slots_run_at_the_same_time(shared: Bench):
    tokens = [shared.run(jobs.spin, slot=slot) for slot in range(2)]
    async with asyncio.timeout(20):
        await shared.sink.wait_until(lambda: set(tokens) <= set(shared.sink.began))
    for token in tokens:
        shared.lane.stop(token, StopReason.SHUTDOWN)
        await shared.sink.outcome(token)
