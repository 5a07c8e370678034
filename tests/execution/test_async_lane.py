"""What is particular to the async lane; what it shares with the others is in the conformance suite."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.execution.lane_functions import double, double_async, leave_a_mark
from tests.execution.lane_kit import LANES, Bench, RecordingSink, open_bench
from tests.execution.scripts import Script

from async_processor.clock import SystemClock
from async_processor.context import TaskContext
from async_processor.execution.async_lane import AsyncLane
from async_processor.execution.base import Attempt
from async_processor.model import ProcessingTask
from async_processor.outcome import Raised, Returned, Stopped, StopReason

CASE = LANES["async"]


@pytest.fixture
async def bench(no_leaks: None) -> AsyncIterator[Bench]:
    async with open_bench(CASE) as bench:
        yield bench


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def task_of(token: int) -> asyncio.Task[Any]:
    """The asyncio task of an attempt; it is named after its task."""
    return next(task for task in asyncio.all_tasks() if task.get_name() == f"task-{token}")


def task_names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


async def processor_share(seconds: float) -> float:
    """Which part of a processor this process uses while nothing should run; the best of three tries."""

    async def measure() -> float:
        began = time.process_time()
        await asyncio.sleep(seconds)
        return (time.process_time() - began) / seconds

    return min([await measure() for _ in range(3)])


# ---- functions that resist. Each says through `begun` that it runs.


class Resisting:
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.steps = 0
        self.ended = False
        self.let_go = False

    async def swallows_once(self, task: ProcessingTask) -> str:
        self.begun.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            return "went on and returned"
        return "never"

    async def swallows_always(self, task: ProcessingTask) -> None:
        try:
            while True:
                self.begun.set()
                try:
                    await asyncio.sleep(3_600)
                except asyncio.CancelledError:
                    self.steps += 1
        finally:
            self.ended = True

    async def spins_in_finally(self, task: ProcessingTask) -> None:
        try:
            self.begun.set()
            await asyncio.sleep(3_600)
        finally:
            while True:
                self.steps += 1
                await asyncio.sleep(0)

    async def cleans_up_slowly(self, task: ProcessingTask) -> None:
        try:
            self.begun.set()
            await asyncio.sleep(3_600)
        finally:
            try:
                await asyncio.sleep(3_600)
            finally:
                await asyncio.sleep(3_600)

    async def fails_when_closed(self, task: ProcessingTask) -> None:
        try:
            await self.swallows_always(task)
        finally:
            raise ValueError("the clean-up failed")

    async def fails_to_clean_up(self, task: ProcessingTask) -> None:
        try:
            self.begun.set()
            await asyncio.sleep(3_600)
        finally:
            raise ValueError("the clean-up failed")

    async def swallows_everything(self, task: ProcessingTask) -> None:
        while True:
            self.begun.set()
            try:
                self.steps += 1
                await asyncio.sleep(0)
            except BaseException:
                if self.let_go:
                    raise


# ---- stopping


async def test_a_function_that_swallows_its_cancel_and_returns_has_been_stopped(bench: Bench):  # E16
    resisting = Resisting()
    token = bench.run(resisting.swallows_once)
    await resisting.begun.wait()

    bench.lane.stop(token, StopReason.TIMEOUT)

    assert isinstance(await bench.sink.outcome(token), Stopped)


async def test_a_function_whose_clean_up_fails_has_been_stopped(bench: Bench):
    resisting = Resisting()
    token = bench.run(resisting.fails_to_clean_up)
    await resisting.begun.wait()

    bench.lane.stop(token, StopReason.TIMEOUT)

    assert isinstance(await bench.sink.outcome(token), Stopped)


async def test_an_attempt_that_is_stopped_before_it_began_never_calls_its_function(bench: Bench, tmp_path: Path):  # E10
    mark = tmp_path / "mark"
    token = bench.run(bench.form(leave_a_mark), {"path": str(mark)})

    bench.lane.stop(token, StopReason.CANCELLED)

    assert isinstance(await bench.sink.outcome(token), Stopped)
    assert not mark.exists()


@pytest.mark.parametrize("offset", range(12))
async def test_an_attempt_stopped_at_any_moment_ends_once(bench: Bench, offset: int):  # E11
    async def seven_turns(task: ProcessingTask) -> str:
        await turns(7)
        return "done"

    token = bench.run(seven_turns)
    await turns(offset)
    ended_before = token in bench.sink.ended
    bench.lane.stop(token, StopReason.CANCELLED)

    outcome = await bench.sink.outcome(token)
    assert outcome == Returned("done") if ended_before else isinstance(outcome, Stopped)


async def test_stopping_turns_the_contexts_flag_for_threads_that_the_function_started(bench: Bench):
    seen: list[bool] = []

    async def with_helper(task: ProcessingTask, context: TaskContext) -> None:
        try:
            context.report_progress(0.0)
            await asyncio.sleep(3_600)
        finally:
            seen.append(context.cancelled)

    token = bench.run(with_helper, wants_context=True)
    await bench.sink.begun(token)
    bench.lane.stop(token, StopReason.TIMEOUT)
    await bench.sink.outcome(token)

    assert seen == [True]


# ---- giving up


@pytest.mark.parametrize("profile", [False, True], ids=["", "measured"])
@pytest.mark.parametrize("way", ["swallows_always", "spins_in_finally", "cleans_up_slowly", "fails_when_closed"])
async def test_a_coroutine_that_swallows_its_cancel_is_really_ended(bench: Bench, way: str, profile: bool):  # E16
    resisting = Resisting()
    token = bench.run(getattr(resisting, way), profile=profile)
    await resisting.begun.wait()
    bench.lane.stop(token, StopReason.TIMEOUT)
    await turns(5)
    assert token not in bench.sink.ended

    bench.abandon(token)
    await turns(5)

    assert f"task-{token}" not in task_names()
    figures = bench.lane.statistics()
    assert (figures.abandoned, figures.abandoned_total) == (0, 1)
    steps = resisting.steps
    assert await processor_share(0.1) <= 0.05
    assert resisting.steps == steps
    assert token not in bench.sink.ended
    assert await bench.outcome_of(double_async, {"number": 1}) == Returned(2)


async def test_a_coroutine_that_swallows_its_closing_too_gets_no_further_step(
    bench: Bench, caplog: pytest.LogCaptureFixture
):  # E16
    resisting = Resisting()
    token = bench.run(resisting.swallows_everything)
    await resisting.begun.wait()
    bench.lane.stop(token, StopReason.TIMEOUT)
    await turns(5)

    bench.abandon(token)
    await turns(5)

    steps = resisting.steps
    assert await processor_share(0.1) <= 0.05
    assert resisting.steps == steps
    figures = bench.lane.statistics()
    assert (figures.abandoned, figures.abandoned_total, figures.healthy) == (1, 1, True)
    said = [record.getMessage() for record in caplog.records if record.name == "async_processor.execution"]
    assert len(said) == 1
    assert f"task-{token}" in said[0]
    assert await bench.outcome_of(double_async, {"number": 1}) == Returned(2)
    # The lane holds the coroutine, and frees it with itself: its code runs once more then.
    resisting.let_go = True


async def test_an_attempt_may_be_given_up_from_within_its_own_step(bench: Bench):
    async def gives_itself_up(task: ProcessingTask) -> str:
        bench.lane.stop(token, StopReason.CANCELLED)
        bench.abandon(token)
        await asyncio.sleep(3_600)
        return "never"

    token = bench.run(gives_itself_up)
    await turns(8)

    assert f"task-{token}" not in task_names()
    assert token not in bench.sink.ended
    assert bench.lane.statistics().abandoned_total == 1


@pytest.mark.parametrize("error", [ValueError, RuntimeError, SystemExit, GeneratorExit, asyncio.CancelledError])
async def test_what_an_attempt_says_that_was_given_up_is_dropped_and_counted(bench: Bench, error: type[BaseException]):
    async def gives_itself_up(task: ProcessingTask) -> None:  # T4
        bench.abandon(token)
        raise error("too late")

    token = bench.run(gives_itself_up)
    await turns(5)

    assert token not in bench.sink.ended
    # A RuntimeError or GeneratorExit looks like the closing itself.
    assert bench.lane.statistics().stale_reports == (0 if error in (RuntimeError, GeneratorExit) else 1)


async def test_the_end_of_one_attempt_may_give_up_another(bench: Bench):
    resisting = Resisting()
    other = bench.run(resisting.swallows_always, slot=1)
    await resisting.begun.wait()
    bench.sink.on_end = lambda token: bench.abandon(other)

    assert await bench.outcome_of(double_async, {"number": 1}) == Returned(2)

    assert resisting.ended
    await turns(5)
    assert f"task-{other}" not in task_names()


# ---- cancels and signals that are not the lane's


@pytest.mark.parametrize("offset", range(21))
async def test_a_cancel_from_outside_is_never_swallowed(bench: Bench, offset: int):  # E17
    async def ten_turns(task: ProcessingTask) -> str:
        await turns(10)
        return "done"

    token = bench.run(ten_turns)
    task = task_of(token)
    await turns(offset)

    accepted = task.cancel()
    await asyncio.wait({task})

    assert task.cancelled() == accepted
    outcome = await bench.sink.outcome(token)
    if accepted:
        assert isinstance(outcome, Raised)
        assert outcome.error.type_name == "CancelledError"
    else:
        assert outcome == Returned("done")


async def test_a_cancel_from_outside_is_not_taken_for_the_lanes_own(bench: Bench):  # E17
    token = bench.run(bench.waiting, wants_context=True)
    await bench.sink.begun(token)
    task = task_of(token)

    bench.lane.stop(token, StopReason.TIMEOUT)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert isinstance(await bench.sink.outcome(token), Stopped)


INTERRUPTED = """
import asyncio, sys
from async_processor.clock import SystemClock
from async_processor.execution.async_lane import AsyncLane
from async_processor.execution.base import Attempt
from async_processor.model import ProcessingTask

class Sink:
    def attempt_ended(self, token, outcome):
        print("ended", outcome.error.type_name, flush=True)

async def busy(task):
    print("busy", flush=True)
    while True:
        pass

async def begin():
    lane = AsyncLane(["async-0"], cancel_grace=1.0, clock=SystemClock())
    await lane.start(Sink())
    task = ProcessingTask("work")
    lane.run(Attempt(token=1, slot="async-0", task=task, func=busy, is_async=True, wants_context=False))
    await asyncio.sleep(60)
"""


@pytest.mark.parametrize("run", ["asyncio.run", "asyncio.new_event_loop().run_until_complete"])
def test_ctrl_c_ends_a_program_whose_function_never_gives_way(run: str):  # E23
    with Script(f"{INTERRUPTED}\n{run}(begin())\n", "-X", "dev") as script:
        assert script.line() == "busy"
        # `asyncio.run` takes the first Ctrl-C as a cancel of its main task, which never gets a turn; one does not
        # see when it has, and two signals at once are one.
        while script.runs():
            script.process.send_signal(signal.SIGINT)
        out, _ = script.finish()

    assert out == ["ended KeyboardInterrupt"]
    assert script.process.returncode == -signal.SIGINT


# ---- where it begins


async def test_a_function_begins_after_run_has_returned_whatever_makes_the_loops_tasks(bench: Bench):
    called: list[int] = []

    def make_eagerly(loop: asyncio.AbstractEventLoop, steps: Any, **options: Any) -> asyncio.Task[Any]:
        steps.send(None)
        return asyncio.Task(steps, loop=loop, **options)

    async def calls(task: ProcessingTask) -> None:
        called.append(1)
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_eagerly)
    try:
        token = bench.run(calls)
    finally:
        loop.set_task_factory(None)

    assert called == []
    assert await bench.sink.outcome(token) == Returned(None)


# ---- what it does not run


async def test_a_function_that_would_block_the_loop_is_refused(bench: Bench):
    token = bench.run(double, {"number": 1}, is_async=False)
    outcome = await bench.sink.outcome(token)

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.permanent) == ("ProcessorNotAvailableError", True)
    assert f"task-{token}" in outcome.error.message
    assert "async def" in outcome.error.message


async def test_a_coroutine_as_result_is_refused_and_closed(bench: Bench):  # E27
    async def returns_coroutine(task: ProcessingTask) -> Any:
        return asyncio.sleep(1)

    outcome = await bench.outcome_of(returns_coroutine)

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.permanent) == ("PermanentError", True)
    assert "returned a coroutine" in outcome.error.message


@pytest.mark.parametrize("kind", ["future", "begun generator"])
async def test_other_things_that_are_no_result_are_refused(bench: Bench, kind: str):
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("not even its closing goes well")

    async def returns_something(task: ProcessingTask) -> Any:
        if kind == "future":
            return asyncio.get_running_loop().create_future()
        generator = stubborn()
        next(generator)
        return generator

    outcome = await bench.outcome_of(returns_something)

    assert isinstance(outcome, Raised)
    assert outcome.error.type_name == "PermanentError"


async def test_after_closing_nothing_is_run(bench: Bench):
    await bench.lane.aclose(1.0)

    outcome = await bench.outcome_of(double_async, {"number": 1})

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.lane_failed) == ("LaneUnavailableError", True)
    assert bench.lane.statistics().healthy is False


# ---- closing


async def test_closing_is_bounded_whatever_the_attempts_do(bench: Bench):  # D2
    resisting = [Resisting() for _ in range(3)]
    ways = ("swallows_always", "spins_in_finally", "cleans_up_slowly")
    tokens = [
        bench.run(getattr(item, way), slot=slot) for slot, (item, way) in enumerate(zip(resisting, ways, strict=True))
    ]
    for item in resisting:
        await item.begun.wait()

    began = time.monotonic()
    await bench.lane.aclose(0.2)

    assert 0.2 <= time.monotonic() - began < 1.2
    assert sorted(bench.sink.ended) == tokens
    assert all(isinstance(outcome, Stopped) for outcome in bench.sink.ended.values())
    assert not task_names() & {f"task-{token}" for token in tokens}


async def test_closing_from_within_an_attempt_ends_it_too(bench: Bench):  # D4
    async def closes(task: ProcessingTask) -> None:
        await bench.lane.aclose(5.0)

    token = bench.run(closes)

    assert isinstance(await bench.sink.outcome(token), Stopped)


# ---- measuring


async def test_only_the_functions_own_steps_are_measured(bench: Bench):
    async def burns(task: ProcessingTask) -> None:
        for _ in range(10):
            until = time.thread_time() + 0.01
            while time.thread_time() < until:
                pass
            await asyncio.sleep(0)

    async def idles(task: ProcessingTask) -> None:
        await turns(20)

    busy, idle = bench.run(burns, slot=0, profile=True), bench.run(idles, slot=1, profile=True)

    assert 0.1 <= (await bench.sink.outcome(busy)).measures.cpu_time < 0.5
    assert 0 < (await bench.sink.outcome(idle)).measures.cpu_time < 0.05


async def test_a_measured_attempt_is_stopped_like_any_other(bench: Bench):
    resisting = Resisting()
    once = bench.run(resisting.swallows_once, slot=0, profile=True)
    await resisting.begun.wait()
    bench.lane.stop(once, StopReason.TIMEOUT)
    outcome = await bench.sink.outcome(once)
    assert isinstance(outcome, Stopped)
    assert outcome.measures.cpu_time is not None


async def test_a_future_instead_of_a_coroutine_is_measured_too(bench: Bench):
    def begins(task: ProcessingTask) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        return future

    outcome = await bench.outcome_of(begins, is_async=True, profile=True)

    assert isinstance(outcome, Returned)
    assert outcome.value == 5


async def test_a_measured_function_sees_the_exceptions_of_what_it_awaits(bench: Bench):
    async def fails_later(task: ProcessingTask) -> str:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("later"))
        try:
            await future
        except ValueError as error:
            return str(error)
        return "nothing"

    assert (await bench.outcome_of(fails_later, profile=True)).value == "later"


# ---- nothing is lost and nothing is kept


async def test_attempts_survive_the_garbage_collector(bench: Bench, caplog: pytest.LogCaptureFixture):  # E21
    async def waits_on_what_nobody_holds(task: ProcessingTask) -> int:
        for _ in range(2):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, None)
            await future
            gc.collect()
        return task.payload["number"]

    gc.collect()
    gc.freeze()  # what was there before need not be looked at two thousand times
    try:
        for number in range(0, 1_000, 4):
            tokens = [bench.run(waits_on_what_nobody_holds, {"number": number + slot}, slot=slot) for slot in range(4)]
            outcomes = [await bench.sink.outcome(token) for token in tokens]
            assert outcomes == [Returned(number + slot) for slot in range(4)]
    finally:
        gc.unfreeze()
    assert errors_in(caplog) == []


def test_a_loop_that_is_thrown_away_with_attempts_on_it_reports_nothing(caplog: pytest.LogCaptureFixture):  # D9
    sink = RecordingSink()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        lane = AsyncLane(["async-0"], cancel_grace=1.0, clock=SystemClock())
        await lane.start(sink)
        task = ProcessingTask("work", {})
        lane.run(Attempt(token=1, slot="async-0", task=task, func=sleep_for_ever, is_async=True, wants_context=False))
        await turns(2)

    loop.run_until_complete(begin())
    loop.close()
    gc.collect()

    assert sink.ended == {}
    # What asyncio says itself of such a program.
    assert errors_in(caplog) == ["Task was destroyed but it is pending!"]


FORGOTTEN = """
import asyncio
from async_processor.clock import SystemClock
from async_processor.execution.async_lane import AsyncLane
from async_processor.execution.base import Attempt
from async_processor.model import ProcessingTask

class Sink:
    def attempt_ended(self, token, outcome):
        print("ended", token, outcome.error.type_name)

async def waits(task):
    await asyncio.sleep(3600)

async def main():
    lane = AsyncLane(["async-0"], cancel_grace=1.0, clock=SystemClock())
    await lane.start(Sink())
    for token in range(2):
        task = ProcessingTask("work")
        lane.run(Attempt(token=token, slot="async-0", task=task, func=waits, is_async=True, wants_context=False))
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_program_that_forgets_to_close_ends_without_a_word():  # D9
    with Script(FORGOTTEN, "-X", "dev", "-W", "error") as script:
        out, err = script.finish()

    assert (sorted(out), err, script.process.returncode) == (
        ["ended 0 CancelledError", "ended 1 CancelledError"],
        "",
        0,
    )


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().splitlines()[0] for record in caplog.records if record.levelno >= logging.ERROR]


async def sleep_for_ever(task: ProcessingTask) -> None:
    await asyncio.sleep(3_600)
