import asyncio
import json
import math
import time

import pytest

from async_processor import AdvancedAsyncProcessor, create_task
from async_processor.figures import EngineState, LaneStatistics, StoreStatistics
from async_processor.model import LaneName, TaskStatus
from async_processor.monitoring.health import NO_PROGRESS_S, HealthCheck, HealthReport, health_report
from async_processor.monitoring.loop_watch import LoopWatch


def state(running=True, at=100.0, **fields):
    return EngineState(running=running, at=at, **fields)


# H12
def test_a_fresh_start_without_tasks_is_healthy():
    report = health_report(state(lanes={LaneName.PROCESS: LaneStatistics()}), LoopWatch())

    assert (report.status, report.word, report.reasons) == ("pass", "healthy", ())


# H12
def test_a_processor_that_takes_no_tasks_is_unhealthy():
    report = health_report(state(running=False))

    assert (report.status, report.word) == ("fail", "unhealthy")
    assert "takes no tasks" in report.reasons[0]


# H12
def test_ready_tasks_of_which_none_starts_make_it_unhealthy():
    report = health_report(state(at=100.0, ready=3, oldest_ready_age=18.0, last_start_at=80.0))

    assert report.status == "fail"
    assert report.reasons == ("3 tasks are ready, none runs, and none was started for 18 s",)


@pytest.mark.parametrize(
    ("figures", "started_at"),
    [
        pytest.param({"ready": 3, "running_tasks": 1, "oldest_ready_age": 90.0}, 50.0, id="something runs"),
        pytest.param({"ready": 3, "oldest_ready_age": 90.0}, 99.0, id="one was started just now"),
        pytest.param({"ready": 3, "oldest_ready_age": NO_PROGRESS_S - 1}, 1.0, id="they have only just become ready"),
        pytest.param({"waiting_for_dependencies": 3, "in_backoff": 2}, 1.0, id="they wait for something else"),
    ],
)
def test_waiting_with_a_reason_is_no_fault(figures, started_at):
    assert health_report(state(last_start_at=started_at, **figures)).status == "pass"


async def test_failed_tasks_are_no_fault_of_the_processor():
    async with AdvancedAsyncProcessor() as processor:
        tasks = [create_task("custom", {"processor": math.sqrt}, max_retries=0) for _ in range(10)]
        results = [await processor.wait_for_task(await processor.submit_task(task)) for task in tasks]
        report = await processor.readiness()

    assert {result.status for result in results} == {TaskStatus.FAILED}
    assert report.status == "pass"


# H12
@pytest.mark.parametrize(("waiting", "status"), [(0, "warn"), (2, "fail")])
def test_a_dead_lane_is_degraded_and_unhealthy_once_tasks_wait_for_it(waiting, status):
    lanes = {LaneName.ASYNC: LaneStatistics(), LaneName.PROCESS: LaneStatistics(healthy=False, reason="no workers")}

    report = health_report(
        state(lanes=lanes, ready=5, running_tasks=1, ready_by_lane={LaneName.ASYNC: 3, LaneName.PROCESS: waiting})
    )

    assert report.status == status
    assert "the process lane takes no work: no workers" in report.reasons[0]


# R11
async def test_a_blocked_event_loop_degrades_it_and_is_named():
    watch = LoopWatch(stall_s=0.1)
    watch.start()
    try:
        time.sleep(0.4)  # noqa: ASYNC251 - this is the fault
        async with asyncio.timeout(20):
            while watch.stalls == 0:  # noqa: ASYNC110 - nobody would set an event
                await asyncio.sleep(0.01)
    finally:
        watch.stop()

    report = health_report(state(), watch)

    assert (report.status, report.word) == ("warn", "degraded")
    assert "the event loop was blocked in test_a_blocked_event_loop" in report.reasons[0]


# E20
def test_errors_of_the_engine_itself_degrade_it():
    report = health_report(state(faults=2))

    assert report.status == "warn"
    assert "2 errors of its own" in report.reasons[0]


def test_a_report_is_as_bad_as_its_worst_check_and_names_the_worst_first():
    report = HealthReport((HealthCheck("a", "warn", "somewhat"), HealthCheck("b"), HealthCheck("c", "fail", "badly")))

    assert report.status == "fail"
    assert report.reasons == ("badly", "somewhat")
    assert json.loads(json.dumps(report.to_dict())) == {
        "status": "fail",
        "health": "unhealthy",
        "reasons": ["badly", "somewhat"],
        "checks": {
            "a": {"status": "warn", "reason": "somewhat"},
            "b": {"status": "pass", "reason": ""},
            "c": {"status": "fail", "reason": "badly"},
        },
    }


@pytest.mark.parametrize(
    ("figures", "status", "reason"),
    [
        pytest.param({}, "pass", (), id="no store"),
        pytest.param({"store": StoreStatistics(kind="sqlite")}, "pass", (), id="all is well"),
        pytest.param(
            {"store": StoreStatistics(kind="sqlite", failing="the disk is full", quarantined=2)},
            "fail",
            ("nothing can be stored, so nothing begins or ends: the disk is full",),
            id="it cannot be written",
        ),
        pytest.param(
            {"store": StoreStatistics(kind="sqlite", quarantined=2)},
            "warn",
            ("2 rows of the store cannot be read; see the log",),
            id="rows are unreadable",
        ),
        pytest.param(
            {"store": StoreStatistics(kind="sqlite"), "waiting_for_registration": {"b": 1, "a": 2}},
            "warn",
            ("tasks taken up from the store wait for a processor function: 2 of 'a', 1 of 'b'",),
            id="types are not registered",
        ),
    ],
)
def test_a_store_that_fails_or_holds_what_cannot_run_is_told_of(figures, status, reason):
    report = health_report(state(**figures))

    assert (report.status, report.reasons) == (status, reason)
