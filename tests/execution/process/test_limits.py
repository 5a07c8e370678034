"""Sizes have limits, large values do not hold up the loop, and memory that runs out costs one worker."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.execution.lane_kit import Bench
from tests.execution.process import jobs
from tests.execution.process.kit import MIB, LagMeter, error_of, has_begun, open_lane, pid_of, value_of
from tests.execution.process.program import Program

from async_processor.execution.process_codec import OVERHEAD_BYTES
from async_processor.outcome import Raised, Returned

LIMIT = 300_000


@pytest.fixture(params=[True, False], ids=["arenas", "sockets only"])
async def limited(request: pytest.FixtureRequest, no_leaks: None) -> AsyncIterator[Bench]:
    """With shared memory, and as it is where the system has none."""
    options = {"max_payload_bytes": LIMIT, "max_result_bytes": LIMIT, "shared_memory": request.param}
    async with open_lane(**options) as bench:
        yield bench


async def test_payloads_and_results_up_to_the_limit_pass_and_larger_ones_fail_for_good(limited: Bench):  # R3
    for size in (LIMIT - 1, LIMIT):
        assert await limited.outcome_of(jobs.size_of, {"value": bytes(size)}) == Returned(size)
        assert len(value_of(await limited.outcome_of(jobs.make_bytes, {"size": size}))) == size

    # On the wire the limit is a backstop, with room for what pickling adds; submit is where it is exact.
    too_large = LIMIT + OVERHEAD_BYTES + 1
    for job, payload, part in (
        (jobs.size_of, {"value": bytes(too_large)}, "payload"),
        (jobs.make_bytes, {"size": too_large}, "result"),
    ):
        outcome = await limited.outcome_of(job, payload)
        message = error_of(outcome, "SizeLimitError")
        assert isinstance(outcome, Raised)
        assert outcome.error.permanent
        assert f"the {part} of task" in message
        assert f"{LIMIT + OVERHEAD_BYTES:,} bytes" in message or part == "payload"
    assert await limited.outcome_of(jobs.nothing) == Returned(None)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
async def test_every_size_arrives_whole(limited: Bench, size: int):
    value = os.urandom(size)

    assert value_of(await limited.outcome_of(jobs.echo, {"value": value})) == value


@pytest.mark.timeout(120)
async def test_200_mb_there_and_back_hardly_hold_up_the_loop(no_leaks: None):  # R3
    limit = 256 * MIB
    value = bytes(200_000_000)
    async with open_lane(max_payload_bytes=limit, max_result_bytes=limit) as bench:
        await pid_of(bench)
        worst = []
        for _ in range(3):
            async with LagMeter() as lag:
                outcome = await bench.outcome_of(jobs.echo, {"value": value})
            assert value_of(outcome) == value
            worst.append(lag.worst)
            bench.sink.ended.clear()
            bench.given.clear()
        # Asked of the best of several: what holds up the loop on a busy machine is often somebody else.
        assert min(worst) <= 0.05


async def test_shared_memory_of_a_large_message_is_given_back(no_leaks: None):
    limit = 256 * MIB
    async with open_lane(max_payload_bytes=limit, max_result_bytes=limit) as bench:
        await bench.outcome_of(jobs.echo, {"value": bytes(100 * MIB)})

        held = {item.stat().st_ino: item.stat().st_blocks * 512 for item in arenas_of(os.getpid())}

    assert len(held) == 2
    assert sum(held.values()) <= 2 * 16 * MIB


def arenas_of(pid: int) -> Iterator[Path]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if "async-processor-arena" in str(entry.readlink()):
                yield entry


# ---- memory


async def test_a_worker_that_allocates_without_end_fails_alone(no_leaks: None):  # R4
    async with open_lane(2) as bench:
        neighbour = bench.run(jobs.nap, {"seconds": 0.5}, slot=1)
        await has_begun(bench, neighbour)
        before = value_of(await bench.outcome_of(jobs.my_pid))

        outcome = await bench.outcome_of(jobs.allocate_without_end)

        assert error_of(outcome, "MemoryError").startswith("out of memory")
        assert isinstance(outcome, Raised)
        assert not outcome.error.permanent
        # What had filled the memory is free again: the same worker goes on.
        assert value_of(await bench.outcome_of(jobs.my_pid)) == before
        assert isinstance(await bench.sink.outcome(neighbour), Returned)


IN_CGROUP = """
import asyncio, os, sys
from pathlib import Path
(Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
from tests.execution.process import jobs
from tests.execution.process.kit import has_begun, open_lane

async def main():
    async with open_lane(2) as bench:
        neighbour = bench.run(jobs.nap, {"seconds": 3}, slot=1)
        await has_begun(bench, neighbour)
        outcome = await bench.outcome_of(jobs.keep_memory, {"mib": 2_000})
        print(outcome.error.message)
        print(type(await bench.sink.outcome(neighbour)).__name__)
        print((await bench.outcome_of(jobs.echo, {"value": "parent alive"})).value)

asyncio.run(main())
"""


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A container of 300 MiB, where this machine lets us make one."""
    group = make_cgroup()
    if group is None:
        pytest.skip("no memory cgroup can be made here")
    yield group
    until = time.monotonic() + 5.0
    while group.exists():
        # The last process in it may need a moment to end.
        with suppress(OSError):
            group.rmdir()
        assert time.monotonic() < until, f"{group} cannot be removed"


def make_cgroup() -> Path | None:
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"async-processor-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            (group / limit).write_text(str(300 * MIB))
            return group
    return None


@pytest.mark.timeout(120)
async def test_in_a_container_that_is_full_the_kernel_chooses_the_worker_and_the_cause_is_named(
    memory_cgroup: Path,
):  # R4
    with Program(IN_CGROUP, arguments=[str(memory_cgroup)]) as program:
        lines, errors = program.finish()

    assert lines[1:] == ["Returned", "parent alive"], errors
    assert "SIGKILL" in lines[0]
    assert "out of memory" in lines[0]
