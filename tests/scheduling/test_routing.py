"""Which lane a task runs in, for every combination of what is known of it."""

from __future__ import annotations

import itertools

import pytest

from async_processor.model import LaneName
from async_processor.scheduling.routing import Hints, route

ASYNC, THREAD, PROCESS, RAY = LaneName

# is_async, cpu_intensive, io_bound, memory_intensive -> lane without a cluster.
TABLE = {
    (True, False, False, False): ASYNC,
    (True, False, True, False): THREAD,
    (True, True, False, False): PROCESS,
    (True, True, True, False): THREAD,
    (True, False, False, True): PROCESS,
    (True, False, True, True): PROCESS,
    (True, True, False, True): PROCESS,
    (True, True, True, True): PROCESS,
    (False, False, False, False): THREAD,
    (False, False, True, False): THREAD,
    (False, True, False, False): PROCESS,
    (False, True, True, False): THREAD,
    (False, False, False, True): PROCESS,
    (False, False, True, True): PROCESS,
    (False, True, False, True): PROCESS,
    (False, True, True, True): PROCESS,
}


def hints(row: tuple[bool, bool, bool, bool], **more: object) -> Hints:
    is_async, cpu, io, memory = row
    return Hints(is_async=is_async, cpu_intensive=cpu, io_bound=io, memory_intensive=memory, **more)  # type: ignore[arg-type]


def test_the_table_below_is_whole():
    assert set(TABLE) == set(itertools.product([True, False], repeat=4))


@pytest.mark.parametrize(("row", "lane"), TABLE.items(), ids=str)
def test_function_and_hints_decide_the_lane(row: tuple[bool, bool, bool, bool], lane: LaneName):
    assert route(hints(row)) is lane


@pytest.mark.parametrize(("row", "lane"), TABLE.items(), ids=str)
def test_with_a_cluster_it_takes_what_would_run_in_a_process(row: tuple[bool, bool, bool, bool], lane: LaneName):
    assert route(hints(row, has_cluster=True)) is (RAY if lane is PROCESS else lane)


@pytest.mark.parametrize("pinned", LaneName)
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_function_that_may_run_in_one_lane_only_runs_there(row: tuple[bool, bool, bool, bool], pinned: LaneName):
    assert route(hints(row, pinned=pinned)) is pinned
    assert route(hints(row, pinned=pinned, has_cluster=True)) is pinned
