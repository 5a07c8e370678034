"""What is particular to the lanes for tests; what they share with the real ones is in the lanes' own suite."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from async_processor.context import TaskContext
from async_processor.execution.base import Attempt
from async_processor.model import LaneName, create_task
from async_processor.outcome import AttemptOutcome, Raised, Returned, Stopped, StopReason
from async_processor.testing import InlineLane, ScriptedLane, run_virtual


class Sink:
    """Keeps what a lane reports, with the time."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.ended = asyncio.Event()

    def attempt_began(self, token: int) -> None:
        self.log.append(("began", token, self.now()))

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        self.log.append(("progress", token, fraction, message))

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        self.log.append(("ended", token, self.now(), outcome))
        self.ended.set()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()


def attempt(func: Any, token: int = 1, slot: str = "async-0", **options: Any) -> Attempt:
    options.setdefault("is_async", False)
    options.setdefault("wants_context", False)
    task = create_task("work", {"value": 20}, id=f"task-{token}")
    return Attempt(token=token, slot=slot, task=task, func=func, **options)


async def started(lane: Any) -> Sink:
    sink = Sink()
    await lane.start(sink)
    return sink


def double(task: Any) -> int:
    return task.payload["value"] * 2


async def sleepy(task: Any) -> str:
    await asyncio.sleep(60.0)
    return "rested"


# ---- InlineLane


@pytest.mark.parametrize("begins_at_once", [True, False])
def test_a_sync_function_is_called_when_the_loop_comes_to_it(begins_at_once: bool):
    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane(begins_at_once=begins_at_once)
        sink = await started(lane)
        lane.run(attempt(double))
        assert sink.log == []
        await sink.ended.wait()
        return sink.log

    began = [] if begins_at_once else [("began", 1, 0.0)]
    assert run_virtual(main) == [*began, ("ended", 1, 0.0, Returned(40))]


def test_an_async_function_takes_the_virtual_time_that_it_sleeps():
    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane()
        sink = await started(lane)
        lane.run(attempt(sleepy, is_async=True))
        await sink.ended.wait()
        return sink.log

    assert run_virtual(main) == [("ended", 1, 60.0, Returned("rested"))]


def test_a_sync_function_can_be_given_a_duration():
    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane(LaneName.THREAD, begins_at_once=False, duration=lambda item: 2.0 * item.token)
        sink = await started(lane)
        lane.run(attempt(double, token=4, slot="thread-0"))
        await sink.ended.wait()
        return sink.log

    assert run_virtual(main) == [("began", 4, 0.0), ("ended", 4, 8.0, Returned(40))]


def test_the_context_keeps_virtual_time_and_reports_progress():
    async def work(task: Any, context: TaskContext) -> float | None:
        await asyncio.sleep(3.0)
        context.report_progress(0.5, "half")
        return context.time_remaining()

    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane()
        sink = await started(lane)
        lane.run(attempt(work, is_async=True, wants_context=True, timeout=10.0))
        await sink.ended.wait()
        return sink.log

    assert run_virtual(main) == [("progress", 1, 0.5, "half"), ("ended", 1, 3.0, Returned(7.0))]


def test_a_stopped_attempt_ends_stopped_and_one_not_yet_begun_is_never_called():
    called = []

    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane(slots=2)
        sink = await started(lane)
        lane.run(attempt(sleepy, is_async=True))
        await asyncio.sleep(1.0)
        lane.run(attempt(called.append, token=2, slot="async-1"))
        lane.stop(1, StopReason.TIMEOUT)
        lane.stop(2, StopReason.CANCELLED)
        lane.stop(3, StopReason.CANCELLED)
        await asyncio.sleep(0.1)
        return sink.log

    assert sorted(run_virtual(main)) == [("ended", 1, 1.0, Stopped()), ("ended", 2, 1.0, Stopped())]
    assert called == []


def test_a_function_that_cancels_itself_unasked_has_failed():
    async def give_up(task: Any) -> None:
        raise asyncio.CancelledError("nobody asked")

    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane()
        sink = await started(lane)
        lane.run(attempt(give_up, is_async=True))
        await sink.ended.wait()
        return sink.log

    [(_, _, _, outcome)] = run_virtual(main)
    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.message) == ("CancelledError", "nobody asked")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
def test_whatever_a_function_raises_is_its_own_failure(error: type[BaseException]):  # E23
    def fail(task: Any) -> None:
        raise error("so")

    async def main() -> list[tuple[Any, ...]]:
        lane = InlineLane()
        sink = await started(lane)
        lane.run(attempt(fail))
        await sink.ended.wait()
        return sink.log

    [(_, _, _, outcome)] = run_virtual(main)
    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.message) == (error.__name__, "so")


def test_a_coroutine_that_swallows_its_cancel_is_given_up_and_counted():  # E16
    async def stubborn(task: Any, context: TaskContext) -> str:
        while not (context.cancelled and asyncio.get_running_loop().time() > 5.0):
            try:
                await asyncio.sleep(2.0)
            except asyncio.CancelledError:
                continue
        context.report_progress(1.0)
        return "too late"

    async def main() -> None:
        lane = InlineLane()
        sink = await started(lane)
        lane.run(attempt(stubborn, is_async=True, wants_context=True))
        await asyncio.sleep(1.0)
        lane.stop(1, StopReason.TIMEOUT)
        await asyncio.sleep(1.0)
        lane.abandon(1)
        lane.abandon(1)
        assert (lane.statistics().abandoned, lane.statistics().abandoned_total) == (1, 1)

        # Its slot is free for the next.
        lane.run(attempt(double, token=2))
        await sink.ended.wait()
        await asyncio.sleep(20.0)

        assert [item[:2] for item in sink.log] == [("ended", 2)]
        statistics = lane.statistics()
        assert (statistics.abandoned, statistics.abandoned_total, statistics.stale_reports) == (0, 1, 1)

    run_virtual(main)


def test_closing_stops_what_runs_and_gives_up_what_does_not_end():
    async def stubborn(task: Any) -> None:
        while True:
            try:
                await asyncio.sleep(10.0)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > 100.0:
                    raise

    async def main() -> None:
        lane = InlineLane(slots=2)
        sink = await started(lane)
        lane.run(attempt(sleepy, is_async=True))
        lane.run(attempt(stubborn, token=2, slot="async-1", is_async=True))
        await asyncio.sleep(1.0)

        await lane.aclose(2.0)

        assert sink.log == [("ended", 1, 1.0, Stopped()), ("ended", 2, 3.0, Stopped())]
        assert asyncio.get_running_loop().time() == 3.0
        assert lane.statistics().abandoned == 1
        await asyncio.sleep(200.0)
        assert len(sink.log) == 2

    run_virtual(main)


def test_two_attempts_in_one_slot_are_a_fault_of_the_engine():
    async def main() -> None:
        lane = InlineLane()
        await started(lane)
        lane.run(attempt(double))
        with pytest.raises(AssertionError, match="attempt 2 was put into async-0, where 1 still runs"):
            lane.run(attempt(double, token=2))

    run_virtual(main)


def test_the_names_of_slots_follow_from_the_lane_unless_given():
    assert InlineLane(LaneName.PROCESS, 2).slots == ("process-0", "process-1")
    assert InlineLane(LaneName.PROCESS, ["a", "b"]).slots == ("a", "b")


# ---- ScriptedLane


def test_nothing_runs_in_a_scripted_lane_but_what_the_script_says():
    async def main() -> None:
        lane = ScriptedLane(LaneName.PROCESS)
        sink = await started(lane)
        lane.run(attempt(double, slot="process-0"))
        token = lane.token_of("task-1")
        await asyncio.sleep(5.0)
        assert sink.log == []

        lane.begin(token)
        lane.progress(token, 0.25, "a quarter")
        lane.finish(token, Returned("as the script says"))

        assert sink.log == [
            ("began", 1, 5.0),
            ("progress", 1, 0.25, "a quarter"),
            ("ended", 1, 5.0, Returned("as the script says")),
        ]
        assert lane.running == {}
        with pytest.raises(KeyError, match="attempt 1 does not run here"):
            lane.finish(token, Stopped())
        with pytest.raises(KeyError, match="no attempt of task 'task-1' runs here"):
            lane.token_of("task-1")

    run_virtual(main)


def test_the_arrival_of_an_attempt_can_be_waited_for():
    async def main() -> int:
        lane = ScriptedLane()
        await started(lane)
        asyncio.get_running_loop().call_later(9.0, lane.run, attempt(double, token=7, number=2))
        asyncio.get_running_loop().call_later(4.0, lane.run, attempt(double, token=6, slot="async-1"))
        return await lane.arrival("task-7", number=2)

    assert run_virtual(main) == 7


def test_what_the_engine_wants_stopped_is_noted_and_a_late_report_still_goes_out():
    async def main() -> None:
        lane = ScriptedLane()
        sink = await started(lane)
        lane.run(attempt(double))
        lane.stop(1, StopReason.TIMEOUT)
        lane.stop(99, StopReason.TIMEOUT)
        assert lane.stops == [(1, StopReason.TIMEOUT)]
        assert sink.log == []

        lane.abandon(1)
        lane.run(attempt(double, token=2))
        assert list(lane.abandoned) == [1]
        lane.finish(1, Returned("too late"))

        assert sink.log == [("ended", 1, 0.0, Returned("too late"))]
        assert (lane.statistics().abandoned, lane.statistics().stale_reports) == (0, 1)
        await lane.aclose(1.0)
        assert sink.log[1:] == [("ended", 2, 0.0, Stopped())]

    run_virtual(main)
