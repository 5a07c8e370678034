"""What is to stop is stopped at once, whatever it does, with whatever it started."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.execution.process import jobs
from tests.execution.process.kit import MIB, LagMeter, alive, has_begun, open_lane, pid_of, until

from async_processor.outcome import Returned, Stopped, StopReason


async def test_a_loop_in_c_that_ignores_sigterm_ends_with_its_children_when_stopped(
    no_leaks: None, tmp_path: Path
):  # P3
    async with open_lane() as bench:
        seconds = []
        for attempt in range(3):
            path = tmp_path / str(attempt)
            token = bench.run(jobs.hold_interpreter, {"path": str(path)})
            await until(path.exists)
            pids = list(map(int, path.read_text().split()))
            assert all(map(alive, pids))

            began = time.monotonic()
            bench.lane.stop(token, StopReason.TIMEOUT)
            outcome = await bench.sink.outcome(token)
            seconds.append(time.monotonic() - began)

            assert outcome == Stopped()
            # Reported when it was reaped, so it is gone by now; its children follow.
            assert not alive(pids[0])
            await until(lambda: not any(map(alive, pids)))  # noqa: B023 - called in this round only
            assert await bench.outcome_of(jobs.nothing) == Returned(None)
        assert min(seconds) <= 0.25


async def test_stopping_one_spinning_worker_leaves_the_other(no_leaks: None):
    async with open_lane(2) as bench:
        tokens = [bench.run(jobs.spin, slot=slot) for slot in range(2)]
        for token in tokens:
            await has_begun(bench, token)
        other = await pid_of(bench, 1)

        bench.lane.stop(tokens[0], StopReason.CANCELLED)

        assert await bench.sink.outcome(tokens[0]) == Stopped()
        assert alive(other)
        assert tokens[1] not in bench.sink.ended


async def test_an_attempt_that_waits_for_its_worker_is_stopped_without_harm_to_the_worker(no_leaks: None):
    async with open_lane() as bench:
        token = bench.run(jobs.nothing)
        bench.lane.stop(token, StopReason.CANCELLED)

        assert await bench.sink.outcome(token) == Stopped()
        assert await bench.outcome_of(jobs.nothing) == Returned(None)
        assert bench.lane.statistics().replaced_workers == 0


async def test_stopping_while_a_large_payload_is_on_its_way_ends_the_attempt(no_leaks: None):
    async with open_lane(max_payload_bytes=200 * MIB) as bench:
        await pid_of(bench)
        token = bench.run(jobs.size_of, {"value": bytes(100 * MIB)})
        await asyncio.sleep(0)
        bench.lane.stop(token, StopReason.TIMEOUT)

        assert await bench.sink.outcome(token) == Stopped()
        assert await bench.outcome_of(jobs.size_of, {"value": bytes(MIB)}) == Returned(MIB)


async def test_stopping_holds_up_the_loop_only_for_a_moment(no_leaks: None):  # D2
    async with open_lane() as bench:
        worst = []
        for _ in range(5):
            token = bench.run(jobs.spin)
            await has_begun(bench, token)
            async with LagMeter() as lag:
                bench.lane.stop(token, StopReason.SHUTDOWN)
                await bench.sink.outcome(token)
            worst.append(lag.worst)
        # Asked of the best of several: what holds up the loop on a busy machine is often somebody else.
        assert min(worst) <= 0.05


async def test_an_abandoned_attempt_says_nothing_more(no_leaks: None):  # T4
    async with open_lane() as bench:
        token = bench.run(jobs.spin)
        await has_begun(bench, token)

        bench.abandon(token)
        assert await bench.outcome_of(jobs.nothing) == Returned(None)

        assert token not in bench.sink.ended
        await until(lambda: bench.lane.statistics().abandoned == 0)
        assert bench.lane.statistics().abandoned_total == 1
