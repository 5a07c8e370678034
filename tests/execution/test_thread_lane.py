"""What is particular to the thread lane; what it shares with the others is in the conformance suite."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.execution.lane_functions import AsAsync, burn, change_variable, double
from tests.execution.lane_kit import LANES, Bench, RecordingSink, open_bench
from tests.execution.scripts import Script

from async_processor.clock import SystemClock
from async_processor.context import TaskContext
from async_processor.execution.base import Attempt
from async_processor.execution.coroutines import HeldCoroutines
from async_processor.execution.thread_lane import ThreadLane
from async_processor.execution.worker_thread import ThreadAttempt
from async_processor.model import ProcessingTask
from async_processor.outcome import Raised, Returned, Stopped, StopReason

CASE = LANES["thread"]


@pytest.fixture
async def bench(no_leaks: None) -> AsyncIterator[Bench]:
    async with open_bench(CASE) as bench:
        yield bench


class Blocking:
    """A function that blocks its thread until it is released, like a call that nobody can interrupt."""

    def __init__(self) -> None:
        self.running = 0
        self.gate = threading.Event()

    def __call__(self, task: ProcessingTask, context: TaskContext) -> str:
        context.report_progress(0.0, "begun")
        assert self.gate.wait(60)
        context.report_progress(1.0, "too late")
        return "too late"


async def sleep_for_ever(task: ProcessingTask) -> None:
    await asyncio.sleep(3_600)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    blocking = Blocking()
    yield blocking
    blocking.gate.set()


def slot_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("async-processor ")]


async def block(bench: Bench, blocking: Blocking, **options: Any) -> int:
    token = bench.run(blocking, wants_context=True, **options)
    await bench.sink.begun(token)
    return token


def give_up(bench: Bench, token: int) -> None:
    """What the engine does when an attempt's time is up."""
    bench.lane.stop(token, StopReason.TIMEOUT)
    bench.abandon(token)


async def settle(bench: Bench) -> None:
    """Wait until the threads given up have ended; nothing tells of that but the figures."""
    await until(lambda: bench.lane.statistics().abandoned == 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


@contextmanager
def largest_gap(into: list[float]) -> Iterator[None]:
    """Measures for how long the event loop did not get to what was due."""
    loop = asyncio.get_running_loop()
    gaps, last, handle = [0.0], time.monotonic(), None

    def tick() -> None:
        nonlocal last, handle
        now = time.monotonic()
        gaps.append(now - last)
        last = now
        handle = loop.call_later(0.002, tick)

    tick()
    yield
    assert handle is not None
    handle.cancel()
    into.append(max(gaps))


# ---- threads


async def test_threads_start_when_needed_and_carry_the_name_of_their_slot(bench: Bench):
    assert slot_threads() == []

    await bench.outcome_of(double, {"number": 1}, slot=2)
    await bench.outcome_of(double, {"number": 1}, slot=2)

    assert [(thread.name, thread.daemon) for thread in slot_threads()] == [("async-processor slot-2", True)]


async def test_an_attempt_that_is_stopped_before_its_thread_takes_it_never_begins():  # E10
    task = ProcessingTask("work", {"number": 1})
    attempt = Attempt(token=1, slot="thread-0", task=task, func=double, is_async=False, wants_context=False)
    work = ThreadAttempt(attempt, contextvars.copy_context(), HeldCoroutines())

    work.stop()

    assert work.perform() == Stopped()


async def test_a_thread_that_is_given_up_costs_its_slot_nothing(bench: Bench, blocking: Blocking):  # T1
    token = await block(bench, blocking)
    old = slot_threads()

    began = time.monotonic()
    give_up(bench, token)
    assert await bench.outcome_of(double, {"number": 4}) == Returned(8)

    # 0.1 s is the figure; here a busy machine has its share.
    assert time.monotonic() - began < 2.0
    figures = bench.lane.statistics()
    assert (figures.abandoned, figures.abandoned_total, figures.healthy) == (1, 1, True)
    assert len(slot_threads()) == 2

    blocking.gate.set()
    await settle(bench)
    old[0].join(10)
    assert not old[0].is_alive()
    assert bench.lane.statistics().abandoned_total == 1


async def test_what_a_thread_says_after_it_was_given_up_is_dropped_and_counted(bench: Bench, blocking: Blocking):  # T4
    first = await block(bench, blocking)
    give_up(bench, first)
    second_gate = Blocking()
    second = await block(bench, second_gate)

    blocking.gate.set()
    await settle(bench)
    progress = list(bench.sink.progress)
    second_gate.gate.set()

    assert await bench.sink.outcome(second) == Returned("too late")
    assert bench.lane.statistics().stale_reports == 1
    assert first not in bench.sink.ended
    assert progress == [(first, 0.0, "begun"), (second, 0.0, "begun")]


async def test_abandoned_threads_have_a_limit_beyond_which_work_is_refused_until_they_end(no_leaks: None):  # T2
    blocking = Blocking()
    lane = ThreadLane([f"slot-{number}" for number in range(5)], max_abandoned=10, clock=SystemClock())
    async with open_bench(CASE, lane) as bench:
        most = refused = 0
        for number in range(50):
            token = bench.run(blocking, wants_context=True, slot=number % 5)
            most = max(most, len(slot_threads()))
            await bench.sink.wait_until(
                lambda token=token: token in bench.sink.ended or bench.sink.progress[-1:] == [(token, 0.0, "begun")]
            )
            if token in bench.sink.ended:
                refused += 1
                outcome = bench.sink.ended[token]
                assert isinstance(outcome, Raised)
                assert (outcome.error.type_name, outcome.error.lane_failed) == ("LaneUnavailableError", True)
                assert not outcome.error.permanent
                assert f"task-{token}" in outcome.error.message
            else:
                give_up(bench, token)

        assert refused == 40
        assert most <= 5 + 10
        figures = lane.statistics()
        assert (figures.healthy, figures.abandoned) == (False, 10)
        for hint in ("10 threads", "max_abandoned_threads", "TaskContext.cancelled", "cpu_intensive"):
            assert hint in figures.reason

        blocking.gate.set()
        await settle(bench)
        assert lane.statistics().healthy
        assert await bench.outcome_of(double, {"number": 1}) == Returned(2)


async def test_a_limit_of_none_still_lets_the_lane_work(no_leaks: None):
    lane = ThreadLane(["slot-0"], max_abandoned=0, clock=SystemClock())
    async with open_bench(CASE, lane) as bench:
        assert await bench.outcome_of(double, {"number": 1}) == Returned(2)


async def test_where_no_thread_can_be_started_the_attempt_fails_and_the_slot_recovers(bench: Bench):  # R5
    former = threading.stack_size(2**46)  # no machine has room for such a thread
    try:
        token = bench.run(double, {"number": 1})
        outcome = await bench.sink.outcome(token)
    finally:
        threading.stack_size(former)

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.lane_failed) == ("LaneUnavailableError", True)
    assert f"task-{token}" in outcome.error.message
    assert "can't start new thread" in outcome.error.message
    assert await bench.outcome_of(double, {"number": 2}) == Returned(4)


NO_FILES = """
import asyncio, resource
from async_processor.clock import SystemClock
from async_processor.execution.base import Attempt
from async_processor.execution.thread_lane import ThreadLane
from async_processor.model import ProcessingTask

class Sink:
    def attempt_ended(self, token, outcome):
        self.ended.set_result(outcome)

async def rests(task):
    await asyncio.sleep(0)

async def main():
    sink = Sink()
    lane = ThreadLane(["thread-0"], max_abandoned=3, clock=SystemClock())
    await lane.start(sink)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for token, limit in enumerate((soft, 3, 3, soft)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        sink.ended = asyncio.get_running_loop().create_future()
        func, is_async = (rests, True) if token % 2 else (lambda task: rests(task), False)
        task = ProcessingTask("work")
        lane.run(Attempt(token=token, slot="thread-0", task=task, func=func, is_async=is_async, wants_context=False))
        outcome = await sink.ended
        print(type(outcome).__name__, outcome.error.message if token in (1, 2) else outcome.value)
    await lane.aclose(1)

asyncio.run(main())
"""


def test_where_no_file_can_be_opened_an_async_function_fails_and_nothing_else():  # R5
    with Script(NO_FILES) as script:
        out, err = script.finish()

    too_many = "Raised [Errno 24] Too many open files"
    assert out == ["Returned None", too_many, too_many, "Returned None"]
    assert "never awaited" not in err


async def test_an_attempt_that_was_refused_may_be_given_up(bench: Bench):
    former = threading.stack_size(2**46)
    try:
        token = bench.run(double, {"number": 1})
        give_up(bench, token)
    finally:
        threading.stack_size(former)

    assert await bench.outcome_of(double, {"number": 2}) == Returned(4)
    assert token not in bench.sink.ended
    assert bench.lane.statistics().abandoned == 0


# ---- stopping


async def test_a_function_that_polls_its_context_stops_within_50_ms(bench: Bench):  # T7
    async def time_to_stop() -> float:
        token = bench.run(bench.waiting, wants_context=True)
        await bench.sink.begun(token)
        began = time.monotonic()
        bench.lane.stop(token, StopReason.CANCELLED)
        assert isinstance(await bench.sink.outcome(token), Stopped)
        return time.monotonic() - began

    # One quiet moment among many tries is enough: the machine may be busy.
    for _ in range(20):
        if await time_to_stop() <= 0.05:
            return
    pytest.fail("it never stopped within 50 ms")


async def test_a_coroutine_in_a_thread_is_cancelled_on_its_own_loop(bench: Bench):
    ended_by: list[str] = []

    async def waits(task: ProcessingTask, context: TaskContext) -> None:
        try:
            context.report_progress(0.0)
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            ended_by.append(threading.current_thread().name)
            raise

    token = bench.run(waits, is_async=True, wants_context=True)
    await bench.sink.begun(token)
    give_up(bench, token)

    await settle(bench)
    assert ended_by == ["async-processor slot-0"]
    assert bench.lane.statistics().stale_reports == 1


async def test_a_coroutine_in_a_thread_that_swallows_its_cancel_is_closed_after_a_grace(bench: Bench):  # E16
    async def swallows(task: ProcessingTask, context: TaskContext) -> None:
        while True:
            context.report_progress(0.0)
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                continue

    token = bench.run(swallows, is_async=True, wants_context=True)
    await bench.sink.begun(token)
    give_up(bench, token)
    assert bench.lane.statistics().abandoned == 1

    await settle(bench)


async def test_a_coroutine_in_a_thread_that_swallows_its_closing_too_lets_its_thread_go(
    bench: Bench, caplog: pytest.LogCaptureFixture
):  # E16
    let_go = False

    async def swallows_everything(task: ProcessingTask, context: TaskContext) -> None:
        context.report_progress(0.0)
        while True:
            try:
                await asyncio.sleep(0.001)
            except BaseException:
                if let_go:
                    raise

    token = bench.run(swallows_everything, is_async=True, wants_context=True)
    await bench.sink.begun(token)
    give_up(bench, token)

    await until(lambda: bench.lane.statistics().stale_reports == 1)
    assert bench.lane.statistics().abandoned == 1  # what is held
    assert f"task-{token}" in caplog.text
    let_go = True


async def test_stopping_at_any_moment_ends_a_coroutine_in_a_thread(bench: Bench):
    for step in range(40):
        token = bench.run(sleep_for_ever, is_async=True)
        # From before the thread has seen it until well after it began.
        await asyncio.sleep(step * 0.0002)
        bench.lane.stop(token, StopReason.CANCELLED)
        assert isinstance(await bench.sink.outcome(token), Stopped)


# ---- async functions and awaitables


async def test_what_a_function_leaves_to_be_awaited_is_awaited_in_its_thread(bench: Bench):  # E27
    async def rest(number: int) -> tuple[int, str]:
        await asyncio.sleep(0.001)
        return number, threading.current_thread().name

    def begins(task: ProcessingTask) -> Any:
        return rest(task.payload["number"])

    assert await bench.outcome_of(begins, {"number": 3}) == Returned((3, "async-processor slot-0"))


async def test_a_future_of_another_loop_is_an_error_and_no_hang(bench: Bench):
    future = asyncio.get_running_loop().create_future()

    outcome = await bench.outcome_of(lambda task: future)

    assert isinstance(outcome, Raised)
    assert outcome.error.type_name == "RuntimeError"


async def test_an_awaitable_that_is_stopped_before_it_is_awaited_warns_of_nothing():
    task = ProcessingTask("work", {})
    work: list[ThreadAttempt] = []

    def stops_itself(task: ProcessingTask) -> Any:
        work[0].stop()
        return sleep_for_ever(task)

    attempt = Attempt(token=1, slot="thread-0", task=task, func=stops_itself, is_async=False, wants_context=False)
    work.append(ThreadAttempt(attempt, contextvars.copy_context(), HeldCoroutines()))
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(work[0].perform()))
    thread.start()
    await asyncio.to_thread(thread.join, 20)

    assert isinstance(ended[0], Raised)
    assert ended[0].error.type_name == "CancelledError"


async def test_context_variables_reach_what_is_awaited(bench: Bench):  # T5
    async def changes(task: ProcessingTask) -> str:
        return change_variable(task)

    def begins(task: ProcessingTask) -> Any:
        return changes(task)

    assert await bench.outcome_of(begins) == Returned("changed by an attempt")


LEAVES_THINGS = """
import asyncio, sys, threading, time
from async_processor.clock import SystemClock
from async_processor.execution.base import Attempt
from async_processor.execution.thread_lane import ThreadLane
from async_processor.model import ProcessingTask

said, clients = [], []

async def numbers():
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        said.append("generator closed")

async def lingers():
    try:
        await asyncio.sleep(3600)
    finally:
        said.append("task cancelled")

async def leaves_things(task):
    asyncio.get_running_loop().create_task(lingers())
    generator = numbers()
    await anext(generator)
    reader, writer = await asyncio.open_connection("127.0.0.1", task.payload["port"])
    writer.write(b"hello")
    clients.append(writer)
    helper = asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
    await asyncio.sleep(0.01)
    return await helper

class Sink:
    def attempt_ended(self, token, outcome):
        self.ended.set_result(outcome)

async def main():
    async def serve(reader, writer):
        said.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = Sink()
    lane = ThreadLane(["thread-0"], max_abandoned=3, clock=SystemClock())
    await lane.start(sink)
    for token in range(3):
        sink.ended = asyncio.get_running_loop().create_future()
        task = ProcessingTask("work", {"port": port})
        how = {"func": leaves_things, "is_async": True, "wants_context": False}
        lane.run(Attempt(token=token, slot="thread-0", task=task, **how))
        print(type(await sink.ended).__name__, flush=True)
    await lane.aclose(1)
    async with asyncio.timeout(5):
        while said.count(b"hello") < 3:
            await asyncio.sleep(0.01)
    server.close()
    await server.wait_closed()

asyncio.run(main())
print(sorted(map(str, said)))
print([thread.name for thread in threading.enumerate() if thread.name.startswith("async-processor")])
"""


def test_a_function_may_leave_tasks_generators_and_connections_behind():  # T6
    with Script(LEAVES_THINGS, "-X", "dev", "-W", "error") as script:
        out, err = script.finish()

    assert err == ""
    said = ["b'hello'"] * 3 + ["generator closed"] * 3 + ["task cancelled"] * 3
    assert out == ["Returned"] * 3 + [str(said), "[]"]


async def test_a_task_left_behind_that_swallows_its_cancel_does_not_keep_the_attempt(bench: Bench):  # T6
    async def lingers() -> None:
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                continue

    async def leaves_it(task: ProcessingTask) -> str:
        left.append(asyncio.get_running_loop().create_task(lingers()))
        await asyncio.sleep(0)
        return "done"

    left: list[asyncio.Task[None]] = []

    assert await bench.outcome_of(leaves_it, is_async=True) == Returned("done")
    assert left[0].done()


async def test_an_exit_in_a_task_left_behind_fails_the_attempt_and_not_the_thread(bench: Bench):  # E23
    async def exits() -> None:
        raise SystemExit(3)

    async def starts_it(task: ProcessingTask) -> str:
        left.append(asyncio.get_running_loop().create_task(exits()))
        await asyncio.sleep(3_600)
        return "never"

    left: list[asyncio.Task[None]] = []
    outcome = await bench.outcome_of(starts_it, is_async=True)

    assert isinstance(outcome, Raised)
    assert outcome.error.type_name == "SystemExit"
    assert isinstance(left[0].exception(), SystemExit)
    assert await bench.outcome_of(double, {"number": 1}) == Returned(2)


# ---- progress


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_progress_without_end_does_not_hold_up_the_loop(bench: Bench, is_async: bool):  # R9
    def spam(task: ProcessingTask, context: TaskContext) -> int:
        count = 0
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            count += 1
            context.report_progress(0.5, str(count))
        return count

    async def spam_async(task: ProcessingTask, context: TaskContext) -> int:
        return spam(task, context)

    gaps: list[float] = []
    for _ in range(3):
        seen, began = len(bench.sink.progress), time.monotonic()
        with largest_gap(gaps):
            token = bench.run(spam_async if is_async else spam, is_async=is_async, wants_context=True)
            outcome = await bench.sink.outcome(token)
        assert isinstance(outcome, Returned)
        assert bench.sink.progress[-1] == (token, 0.5, str(outcome.value))
        assert len(bench.sink.progress) - seen <= (time.monotonic() - began) / 0.05 + 5
    # 0.05 s is the figure; here a busy machine has its share. Threads in Python take turns of 5 ms.
    assert min(gaps) <= 0.25


async def test_progress_that_comes_after_the_end_is_dropped(bench: Bench):
    contexts: list[TaskContext] = []

    def keeps_its_context(task: ProcessingTask, context: TaskContext) -> None:
        contexts.append(context)

    await bench.outcome_of(keeps_its_context, wants_context=True)
    contexts[0].report_progress(0.5, "late")
    await asyncio.sleep(0.06)

    assert bench.sink.progress == []


# ---- profiles


async def test_a_profile_shows_where_the_time_went(bench: Bench):
    outcome = await bench.outcome_of(double, {"number": 1}, profile=True)

    assert outcome.measures.profile is not None
    assert "double" in outcome.measures.profile


async def test_a_profile_of_an_async_function_shows_its_steps(bench: Bench):
    outcome = await bench.outcome_of(AsAsync(burn), {"seconds": 0.05}, is_async=True, profile=True)

    assert outcome.measures.profile is not None
    assert "burn" in outcome.measures.profile


# ---- reports


async def test_a_report_that_goes_wrong_does_not_hold_up_the_others(bench: Bench):
    barrier = threading.Barrier(4)

    def ends_with_the_others(task: ProcessingTask) -> None:
        barrier.wait(20)

    def fail(token: int) -> None:
        bench.sink.on_end = None
        raise LookupError("whoever was told failed")

    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    bench.sink.on_end = fail
    tokens = [bench.run(ends_with_the_others, slot=slot) for slot in range(4)]
    time.sleep(0.05)  # the loop stands still until all four have ended: they are reported in one go  # noqa: ASYNC251

    for token in tokens:
        assert await bench.sink.outcome(token) == Returned(None)
    assert [type(context["exception"]) for context in said] == [LookupError]


# ---- the end


async def test_closing_is_bounded_by_its_timeout_and_does_not_hold_up_the_loop(bench: Bench, blocking: Blocking):  # D2
    tokens = [await block(bench, blocking, slot=slot) for slot in range(4)]

    gaps: list[float] = []
    began = time.monotonic()
    with largest_gap(gaps):
        await bench.lane.aclose(0.2)

    assert 0.2 <= time.monotonic() - began < 1.2
    assert sorted(bench.sink.ended) == tokens
    assert all(isinstance(outcome, Stopped) for outcome in bench.sink.ended.values())
    # 0.05 s is the figure; here a busy machine has its share.
    assert gaps[0] < 0.5


async def test_after_closing_nothing_is_run(bench: Bench):
    await bench.lane.aclose(1.0)

    outcome = await bench.outcome_of(double, {"number": 1})

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.lane_failed) == ("LaneUnavailableError", True)
    assert bench.lane.statistics().healthy is False


def test_a_thread_may_report_to_a_loop_that_is_closed():
    sink = RecordingSink()
    lane = ThreadLane(["slot-0"], max_abandoned=3, clock=SystemClock())
    blocking = Blocking()
    attempt = Attempt(
        token=1, slot="slot-0", task=ProcessingTask("work"), func=blocking, is_async=False, wants_context=True
    )

    async def begin() -> None:
        await lane.start(sink)
        lane.run(attempt)
        await sink.begun(1)

    asyncio.run(begin())
    blocking.gate.set()  # it also reports progress now
    # The thread must still be fit to take its next job: the word to end.
    asyncio.run(lane.aclose(0.0))

    for thread in slot_threads():
        thread.join(20)
    assert slot_threads() == []


BLOCKED_FOR_EVER = """
import asyncio, sys, threading, time
from async_processor.clock import SystemClock
from async_processor.execution.base import Attempt
from async_processor.execution.thread_lane import ThreadLane
from async_processor.model import ProcessingTask

class Sink:
    def attempt_ended(self, token, outcome):
        pass

def blocks(task):
    begun.release()
    threading.Lock().acquire()
    threading.Event().wait()

begun = threading.Semaphore(0)

def queued(task):
    pass

async def main():
    lane = ThreadLane(["thread-0", "thread-1"], max_abandoned=3, clock=SystemClock())
    await lane.start(Sink())
    for token in range(2):
        task = ProcessingTask("work")
        how = {"func": blocks, "is_async": False, "wants_context": False}
        lane.run(Attempt(token=token, slot=f"thread-{token}", task=task, **how))
    for token in range(2):
        begun.acquire()
    CLOSING

asyncio.run(main())
print("out of the loop", flush=True)
"""


@pytest.mark.parametrize("closing", ["await lane.aclose(0.2)", "pass"], ids=["closed", "forgotten"])
def test_a_thread_blocked_for_ever_does_not_keep_the_interpreter(closing: str):  # T3, D9
    with Script(BLOCKED_FOR_EVER.replace("CLOSING", closing), "-X", "dev", "-W", "error") as script:
        assert script.line() == "out of the loop"
        began = time.monotonic()
        out, err = script.finish()

    # 1 s is the figure; an interpreter on a busy machine may need longer for its own end.
    assert time.monotonic() - began < 5.0
    assert (out, err, script.process.returncode) == ([], "", 0)
