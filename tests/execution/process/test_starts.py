"""Workers that cannot be started end in a clear failure; never in a hang, never in a loop."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from tests.execution.lane_kit import Bench, RecordingSink
from tests.execution.process import jobs
from tests.execution.process.kit import error_of, has_begun, make_lane, open_lane, pid_of, until, value_of
from tests.execution.process.program import Program, as_ordinary_user

from async_processor.errors import ConfigurationError, LaneError
from async_processor.execution.process_starts import FAILURES_UNTIL_UNHEALTHY, StartPolicy
from async_processor.outcome import Raised, Returned, StopReason


async def assert_unhealthy(bench: Bench, reason: str) -> None:
    """The attempt that waits fails with the reason, the lane says so too, and so does every further attempt."""
    outcome = await bench.outcome_of(jobs.nothing)
    message = error_of(outcome, "WorkerStartError")
    assert reason in message
    assert "task-1" in message
    assert isinstance(outcome, Raised)
    assert outcome.error.lane_failed
    assert not outcome.error.permanent

    figures = bench.lane.statistics()
    assert not figures.healthy
    assert reason in figures.reason
    assert figures.workers == {}
    assert reason in error_of(await bench.outcome_of(jobs.nothing), "WorkerStartError")


# ---- P14: the worker cannot start


@pytest.mark.parametrize(
    ("initializer", "reason"),
    [
        (jobs.fail_to_initialize, "ValueError: the model is missing"),
        (jobs.exit_in_initializer, "exit code 5 before it was ready"),
    ],
    ids=["raises", "exits"],
)
async def test_a_failing_initializer_fails_the_attempts_with_its_reason(
    no_leaks: None, initializer, reason: str
):  # P14
    async with open_lane(2, initializer=initializer) as bench:
        await assert_unhealthy(bench, reason)


async def test_an_interpreter_that_cannot_be_run_fails_the_attempts(no_leaks: None, tmp_path: Path):  # P14
    with interpreter(str(tmp_path / "missing")):
        async with open_lane(2, start_method="spawn") as bench:
            await assert_unhealthy(bench, "exit code 255")


async def test_a_worker_that_fails_to_import_fails_the_attempts(no_leaks: None, tmp_path: Path, monkeypatch):  # P14
    # The first thing that a new interpreter imports from there is broken.
    (tmp_path / "struct.py").write_text("raise ImportError('no struct today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for method in ("spawn", "forkserver"):
        async with open_lane(start_method=method) as bench:
            await assert_unhealthy(bench, "")


async def test_an_unsendable_initializer_and_an_unknown_method_are_refused_at_once():
    with pytest.raises(ConfigurationError, match="'forkserver' or 'spawn'"):
        make_lane(start_method="fork")
    lock = threading.Lock()
    lane = make_lane(initializer=lambda: sys.stdout.write(repr(lock)))
    with pytest.raises(LaneError, match="initializer"):
        await lane.start(RecordingSink())


async def test_a_start_that_hangs_is_given_up_in_time(no_leaks: None):  # P14
    async with open_lane(initializer=jobs.hang_in_initializer, worker_start_timeout=1.0) as bench:
        message = error_of(await bench.outcome_of(jobs.nothing), "WorkerStartError")

        assert "worker_start_timeout" in message
        assert await asyncio.to_thread(children_named, "sleep") == []


async def test_the_lane_recovers_when_a_start_succeeds(no_leaks: None, tmp_path: Path, monkeypatch):  # P14
    path = tmp_path / "now"
    monkeypatch.setenv("INITIALIZER_WAITS_FOR", str(path))
    async with open_lane(2, initializer=jobs.fail_until_file_exists) as bench:
        await assert_unhealthy(bench, "RuntimeError: not yet")

        path.write_text("go on")
        await until(lambda: bench.lane.statistics().healthy)

        assert bench.lane.statistics().reason == ""
        for slot in range(2):
            assert await bench.outcome_of(jobs.nothing, slot=slot) == Returned(None)


async def test_while_starts_fail_no_more_than_one_a_second_is_tried(no_leaks: None, tmp_path: Path):  # P14
    log = tmp_path / "starts"
    async with open_lane(4, initializer=StartLog(str(log))) as bench:
        await until(lambda: not bench.lane.statistics().healthy)
        # Four slots want a worker; what they try together, before the first failure is known, is one try of four.
        known = len(starts_in(log))
        await until(lambda: len(starts_in(log)) > known)

        # The pauses from the fifth failure on are 1, 2, 4 and 5 s. Each start writes before it fails: a pause later the
        # next one can only write later than that.
        moments = starts_in(log)[known - 1 :]
        assert all(later - earlier >= 1.0 for earlier, later in pairwise(moments))


def starts_in(log: Path) -> list[float]:
    return [float(line) for line in log.read_text().splitlines()]


class StartLog:
    """An initializer that writes down when it is called, and fails."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> None:
        with Path(self.path).open("a") as file:
            file.write(f"{time.monotonic()}\n")
        raise ValueError("no")


# ---- R5: limits of the system


LIMITED = """
import asyncio, resource
from tests.execution.process import jobs
from tests.execution.process.kit import open_lane, until

async def main():
    async with open_lane(2) as bench:
        held = []
        for slot in range(2):
            await bench.outcome_of(jobs.nothing, slot=slot)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        try:
            while True:
                held.append(open("/dev/null"))
        except OSError:
            pass
        bench.run(jobs.exit_hard)
        await until(lambda: not bench.lane.statistics().healthy)
        print("unhealthy", bench.lane.statistics().reason)
        print("neighbour", (await bench.outcome_of(jobs.echo, {"value": 1}, slot=1)).value)
        for file in held:
            file.close()
        await until(lambda: bench.lane.statistics().healthy)
        print("again", (await bench.outcome_of(jobs.echo, {"value": 2})).value)

asyncio.run(main())
"""


async def test_without_descriptors_no_worker_starts_and_with_them_it_does_again():  # R5
    with Program(LIMITED) as program:
        lines, errors = program.finish()

    assert [line.split()[0] for line in lines] == ["unhealthy", "neighbour", "again"], errors
    assert "Too many open files" in lines[0]
    assert lines[1:] == ["neighbour 1", "again 2"]


CROWDED = """
import asyncio, os, resource, threading
from tests.execution.process import jobs
from tests.execution.process.kit import open_lane, until

async def main():
    async with open_lane(2) as bench:
        for slot in range(2):
            await bench.outcome_of(jobs.nothing, slot=slot)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
        bench.run(jobs.exit_hard)
        await until(lambda: not bench.lane.statistics().healthy)
        print("unhealthy", bench.lane.statistics().reason)
        resource.setrlimit(resource.RLIMIT_NPROC, (resource.getrlimit(resource.RLIMIT_NPROC)[1],) * 2)
        await until(lambda: bench.lane.statistics().healthy)
        print("again", (await bench.outcome_of(jobs.echo, {"value": 2})).value)

asyncio.run(main())
"""


async def test_without_threads_and_processes_no_worker_starts_and_with_them_it_does_again():  # R5
    with Program(CROWDED, prefix=as_ordinary_user()) as program:
        lines, errors = program.finish()

    assert [line.split()[0] for line in lines] == ["unhealthy", "again"], errors
    assert "again 2" in lines


# ---- the fork server


def fork_servers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                found.append(child)
    return found


def children_named(name: str) -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True) if child.name() == name]


async def test_workers_go_on_when_the_fork_server_dies_and_new_ones_still_start(no_leaks: None):
    async with open_lane(2) as bench:
        before = [value_of(await bench.outcome_of(jobs.my_pid, slot=slot)) for slot in range(2)]
        running = bench.run(jobs.nap, {"seconds": 0.3}, slot=1)
        await has_begun(bench, running)
        [server] = fork_servers()
        server.kill()
        await until(lambda: server.status() == psutil.STATUS_ZOMBIE)

        assert value_of(await bench.outcome_of(jobs.my_pid, slot=0)) == before[0]
        assert value_of(await bench.sink.outcome(running)) == before[1]
        # Nobody is left to say with what code it ended.
        assert "exit code unknown" in error_of(await bench.outcome_of(jobs.exit_hard), "WorkerDiedError")
        assert value_of(await bench.outcome_of(jobs.my_pid)) not in before
        assert "exit code 3" in error_of(await bench.outcome_of(jobs.exit_hard), "WorkerDiedError")
        token = bench.run(jobs.spin, slot=1)
        await has_begun(bench, token)
        bench.lane.stop(token, StopReason.TIMEOUT)
        await bench.sink.outcome(token)


async def test_a_fork_server_that_hangs_is_replaced(no_leaks: None):
    async with open_lane(worker_start_timeout=2.0) as bench:
        await pid_of(bench)
        [server] = fork_servers()
        server.suspend()
        os.kill(await pid_of(bench), signal.SIGKILL)

        async with asyncio.timeout(20):
            while not isinstance(await bench.outcome_of(jobs.nothing), Returned):
                pass
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


async def test_the_lane_leaves_multiprocessings_own_fork_server_and_start_method_alone(no_leaks: None):
    from multiprocessing import forkserver

    method = multiprocessing.get_start_method(allow_none=True)
    async with open_lane() as bench:
        await bench.outcome_of(jobs.nothing)

        assert forkserver._forkserver._forkserver_pid is None
        assert forkserver._forkserver._preload_modules == ["__main__"]
        assert multiprocessing.get_start_method(allow_none=True) == method
        assert multiprocessing.active_children() == []


async def test_a_function_that_does_not_load_in_time_is_given_up_and_the_slot_lives(no_leaks: None):
    async with open_lane(worker_start_timeout=3.0) as bench:
        await pid_of(bench)
        message = error_of(
            await bench.outcome_of(jobs.take, {"bomb": jobs.Bomb("hang", "unpickle", "child", os.getpid())}),
            "WorkerStartError",
        )

        assert "was not called within 3 s" in message
        assert await bench.outcome_of(jobs.nothing) == Returned(None)


@contextlib.contextmanager
def interpreter(path: str) -> Iterator[None]:
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(path)
    try:
        yield
    finally:
        multiprocessing.set_executable(before)


# ---- the policy alone


def test_pauses_grow_and_the_fifth_failure_in_a_row_is_one_too_many():
    policy, pauses = StartPolicy(), []
    for number in range(1, 9):
        assert policy.healthy == (number <= FAILURES_UNTIL_UNHEALTHY)
        policy.failed("no", now=float(number), begun=number - 0.5)
        pauses.append(policy.next_at - number)

    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 1.0, 2.0, 4.0, 5.0])


def test_starts_that_fail_together_are_one_failure():
    policy = StartPolicy()
    for _ in range(8):
        policy.failed("all at once", now=1.0, begun=0.5)

    assert policy.failures == 1
    assert policy.healthy


def test_one_success_makes_healthy_but_only_an_attempt_clears_the_record():
    policy = StartPolicy()
    for number in range(6):
        policy.failed("no", now=float(number), begun=number - 0.5)

    policy.succeeded(now=10.0)
    assert policy.healthy
    assert policy.next_at == 10.0
    policy.failed("it died at once", now=10.1, begun=10.05)
    assert not policy.healthy
    assert policy.next_at > 12

    policy.succeeded(now=20.0)
    policy.proved()
    policy.failed("once more", now=21.0, begun=20.5)
    assert policy.healthy
    assert policy.next_at == pytest.approx(21.05)


async def test_a_worker_that_dies_before_its_first_attempt_counts_as_a_failed_start(no_leaks: None):
    async with open_lane() as bench:
        pids = set()
        for _ in range(3):
            pids.add(await pid_of(bench))
            os.kill(bench.lane.statistics().workers["process-0"], signal.SIGKILL)
            await until(lambda: not bench.lane.statistics().workers)

        assert len(pids) == 3
        assert await bench.outcome_of(jobs.nothing) == Returned(None)
