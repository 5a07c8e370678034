"""Workers are replaced after enough attempts or when they have grown, and nobody waits long for it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from tests.execution.process import jobs
from tests.execution.process.kit import alive, has_begun, open_lane, pid_of, until, value_of


@pytest.mark.timeout(120)
async def test_under_a_backlog_no_worker_runs_more_than_its_share_and_nothing_stalls(no_leaks: None):  # P9
    # 10,000 attempts are the row's figure; with workers replaced every 250 it is reached in a few seconds.
    attempts, share = 10_000, 250
    async with open_lane(2, max_tasks_per_worker=share) as bench:
        left, slot_of, waits = attempts, {}, [0.0]
        last_end = {0: time.monotonic(), 1: time.monotonic()}

        def run_next(slot: int) -> None:
            nonlocal left
            if left:
                left -= 1
                slot_of[bench.run(jobs.my_pid, slot=slot)] = slot

        def on_end(token: int) -> None:
            slot, now = slot_of.pop(token), time.monotonic()
            waits.append(now - last_end[slot])
            last_end[slot] = now
            run_next(slot)

        bench.sink.on_end = on_end
        for slot in range(2):
            run_next(slot)
        # Each wait has its limit, so they are many.
        for mark in range(500, attempts + 1, 500):
            await bench.sink.wait_until(lambda: len(bench.sink.ended) >= mark)  # noqa: B023 - called in this round only

        per_worker = Counter(value_of(outcome) for outcome in bench.sink.ended.values())
        assert max(per_worker.values()) <= share
        assert len(per_worker) >= attempts / share
        # The last worker of each slot may or may not have been replaced by now.
        assert len(per_worker) - 2 <= bench.lane.statistics().replaced_workers <= len(per_worker)
        assert max(waits) <= 5.0
        assert sorted(waits)[-len(per_worker)] <= 0.5


async def test_a_successor_is_ready_when_the_last_attempt_takes_its_time(no_leaks: None, tmp_path: Path):  # P9
    async with open_lane(max_tasks_per_worker=2) as bench:
        first = value_of(await bench.outcome_of(jobs.my_pid))
        gate = tmp_path / "go on"
        last = bench.run(jobs.wait_for_file, {"path": str(gate)})
        await has_begun(bench, last)
        # The successor starts while the last attempt still runs.
        await until(lambda: len(worker_pids()) == 2)
        [successor] = worker_pids() - {first}
        gate.touch()

        assert value_of(await bench.sink.outcome(last)) == first
        assert value_of(await bench.outcome_of(jobs.my_pid)) == successor
        assert bench.lane.statistics().replaced_workers == 1


async def test_a_worker_that_has_grown_beyond_the_limit_is_replaced_when_idle(no_leaks: None):  # P9
    async with open_lane(max_worker_memory_mb=150) as bench:
        first = value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 20}))
        assert value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 20})) == first
        # Its peak alone does not count: what it gave back is not held against it.
        assert value_of(await bench.outcome_of(jobs.use_memory, {"mib": 200})) == 200
        assert value_of(await bench.outcome_of(jobs.my_pid)) == first

        assert value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 200})) == first

        assert value_of(await bench.outcome_of(jobs.my_pid)) != first
        assert bench.lane.statistics().replaced_workers == 1


async def test_a_memory_intensive_attempt_leaves_no_grown_worker_behind(no_leaks: None):
    async with open_lane() as bench:
        first = value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 1}, recycle_worker=True))
        # It has not grown, so it stays; and another kind of attempt may let it grow.
        assert value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 100})) == first
        assert value_of(await bench.outcome_of(jobs.my_pid)) == first

        assert value_of(await bench.outcome_of(jobs.keep_memory, {"mib": 1}, recycle_worker=True)) == first

        assert value_of(await bench.outcome_of(jobs.my_pid)) != first


async def test_with_limits_of_0_a_worker_is_never_replaced(no_leaks: None):
    async with open_lane(max_tasks_per_worker=0, max_worker_memory_mb=0) as bench:
        pids = {value_of(await bench.outcome_of(jobs.my_pid)) for _ in range(50)}
        await bench.outcome_of(jobs.use_memory, {"mib": 100})

        assert {value_of(await bench.outcome_of(jobs.my_pid))} == pids
        assert bench.lane.statistics().replaced_workers == 0


async def test_a_successor_that_dies_while_it_waits_is_replaced_itself(no_leaks: None, tmp_path: Path):
    async with open_lane(max_tasks_per_worker=1) as bench:
        gate = tmp_path / "go on"
        running = bench.run(jobs.wait_for_file, {"path": str(gate)})
        await has_begun(bench, running)
        first = await pid_of(bench)
        # The only other worker there can be.
        await until(lambda: len(worker_pids()) == 2)
        [successor] = worker_pids() - {first}
        os.kill(successor, signal.SIGKILL)
        gate.touch()

        assert value_of(await bench.sink.outcome(running)) == first
        assert value_of(await bench.outcome_of(jobs.my_pid)) not in (first, successor)


def worker_pids() -> set[int]:
    """Processes below this one that lead a group of their own: workers do, the helpers of multiprocessing do not."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(child.pid) == child.pid and alive(child.pid):
                found.add(child.pid)
    return found
