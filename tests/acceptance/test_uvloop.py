"""The processor on uvloop's event loop, which an application may choose: everything that asyncio's own does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.execution.lane_functions import double, double_async
from tests.leaks import assert_back_to, look
from tests.source_code import ROOT

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessorConfig,
    TaskContext,
    TaskResult,
    TaskStatus,
    create_task,
)

uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")


def spin_for_ever(task: ProcessingTask) -> None:
    while True:
        pass


def kill_itself(task: ProcessingTask) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def wait_for_ever(task: ProcessingTask) -> None:
    await asyncio.Event().wait()


async def swallow_cancels(task: ProcessingTask) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def total(task: ProcessingTask, context: TaskContext) -> int:
    return sum(result.result for result in context.dependencies.values())


FUNCTIONS = (double, double_async, spin_for_ever, kill_itself, wait_for_ever, swallow_cancels, total)


def on_uvloop(work: Callable[[AdvancedAsyncProcessor], Awaitable[Any]], **arguments: Any) -> Any:
    """What ``work`` gives with a running processor, on a loop in debug mode; nothing may be left behind after it."""

    async def carry_out() -> Any:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        before = look()
        processor = AdvancedAsyncProcessor(
            2, 2, 2, config=ProcessorConfig(retry_base_s=0.01, cancel_grace_s=0.1), **arguments
        )
        for function in FUNCTIONS:
            processor.register_processor(function.__name__, function)
        async with processor:
            value = await work(processor)
        await assert_back_to(before)
        return value

    with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(carry_out())


async def one(processor: AdvancedAsyncProcessor, name: str, **settings: Any) -> TaskResult:
    task = create_task(name, settings.pop("payload", {}), **{"max_retries": 0, **settings})
    return await processor.wait_for_task(await processor.submit_task(task))


@pytest.mark.parametrize(
    ("name", "hints"),
    [("double_async", {}), ("double", {}), ("double", {"cpu_intensive": True})],
    ids=["event loop", "thread", "process"],
)
def test_each_lane_gives_its_results(name: str, hints: dict[str, bool]):
    async def work(processor: AdvancedAsyncProcessor) -> list[Any]:
        jobs = (one(processor, name, payload={"number": number}, **hints) for number in range(50))
        return [result.unwrap() for result in await asyncio.gather(*jobs)]

    assert on_uvloop(work) == [2 * number for number in range(50)]


def test_a_megabyte_goes_to_a_process_and_back():
    data = b"0123456789abcdef" * 65_536

    async def work(processor: AdvancedAsyncProcessor) -> bytes:
        result: bytes = (await one(processor, "double", payload={"number": data}, cpu_intensive=True)).unwrap()
        return result

    assert on_uvloop(work) == 2 * data


@pytest.mark.parametrize(
    ("name", "hints"), [("wait_for_ever", {}), ("swallow_cancels", {}), ("spin_for_ever", {"cpu_intensive": True})]
)
def test_a_timeout_ends_the_attempt_and_the_slot_works_on(name: str, hints: dict[str, bool]):
    async def work(processor: AdvancedAsyncProcessor) -> tuple[TaskStatus, int]:
        late = await one(processor, name, timeout=0.2, **hints)
        after = await one(processor, "double", payload={"number": 4}, **hints)
        return late.status, after.unwrap()

    assert on_uvloop(work) == (TaskStatus.TIMEOUT, 8)


def test_a_worker_that_is_killed_costs_its_attempt_alone():
    async def work(processor: AdvancedAsyncProcessor) -> tuple[TaskResult, list[int]]:
        victim = asyncio.create_task(one(processor, "kill_itself", cpu_intensive=True))
        others = [
            await one(processor, "double", payload={"number": number}, cpu_intensive=True) for number in range(10)
        ]
        return await victim, [other.unwrap() for other in others]

    died, values = on_uvloop(work)

    assert died.status is TaskStatus.FAILED
    assert "SIGKILL" in str(died.error)
    assert values == [2 * number for number in range(10)]


def test_a_cancel_ends_what_runs_and_what_depends_on_it():
    async def work(processor: AdvancedAsyncProcessor) -> list[TaskStatus]:
        first = await processor.submit_task(create_task("wait_for_ever"))
        second = await processor.submit_task(create_task("total", depends_on=[first]))
        await processor.cancel_task(first)
        return [(await processor.wait_for_task(name)).status for name in (first, second)]

    assert on_uvloop(work) == [TaskStatus.CANCELLED, TaskStatus.CANCELLED]


def test_a_task_sees_what_those_before_it_gave_out_of_a_store(tmp_path: Path):
    async def work(processor: AdvancedAsyncProcessor) -> int:
        sides = [
            await processor.submit_task(create_task(name, {"number": 3}, cpu_intensive=hint))
            for name, hint in (("double_async", False), ("double", False), ("double", True))
        ]
        result: int = (await one(processor, "total", depends_on=sides)).unwrap()
        return result

    assert on_uvloop(work, store=f"sqlite:///{tmp_path / 'tasks.db'}") == 18


PROGRAM = """
import asyncio
import sys

{hidden}
from async_processor.cli.event_loop import run

async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__

print(run(loop()))
policy = asyncio.get_event_loop_policy()
print(type(policy).__module__.partition(".")[0])
"""


@pytest.mark.parametrize(("hidden", "loop"), [("", "uvloop"), ("sys.modules['uvloop'] = None", "asyncio.unix_events")])
def test_the_command_takes_uvloop_where_it_is_installed_and_leaves_the_policy_alone(hidden: str, loop: str):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hidden=hidden)],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip

    assert ran.stdout.split() == [loop, "asyncio"]


def test_importing_and_running_the_package_never_loads_uvloop():
    program = (
        "import asyncio, sys, async_processor as a\n"
        "async def work():\n"
        "    async with a.AdvancedAsyncProcessor() as p:\n"
        "        p.register_processor('noop', noop)\n"
        "        await p.wait_for_task(await p.submit_task(a.create_task('noop')))\n"
        "async def noop(task): pass\n"
        "asyncio.run(work())\n"
        "print('uvloop' in sys.modules)\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )

    assert ran.stdout == "False\n"
