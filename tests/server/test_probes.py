"""The health endpoints over real connections: what they ask, what they answer, and that they are honest."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.runtime.support import Gate, hold, running_processor, said, until
from tests.server.http_kit import get, port_of, served

from async_processor import AdvancedAsyncProcessor, ConfigurationError, MissingExtraError, ProcessingTask, create_task
from async_processor.figures import EngineState, LaneStatistics, StoreStatistics
from async_processor.model import LaneName
from async_processor.monitoring.health import HealthCheck, HealthReport, liveness_report, readiness_report
from async_processor.server import create_app, health_routes
from async_processor.server.address import Address
from async_processor.server.listening import HttpServer
from async_processor.server.own_checks import OwnChecks
from async_processor.server.probes import ANSWER_S, detail_answer, probe_answer

pytestmark = pytest.mark.usefixtures("no_leaks")


async def statuses(port: int) -> tuple[int, int, int]:
    """Of /livez, /readyz and /health."""
    return tuple([(await get(port, path)).status for path in ("/livez", "/readyz", "/health")])  # type: ignore[return-value]


# ---- the life of a processor


async def test_before_the_start_it_lives_and_is_not_ready():
    async with served(AdvancedAsyncProcessor()) as port:
        assert await statuses(port) == (200, 503, 503)


async def test_a_fresh_start_with_no_task_is_ready_and_healthy():  # H12
    async with running_processor() as processor, served(processor) as port:
        assert await statuses(port) == (200, 200, 200)


async def test_while_tasks_drain_it_lives_and_is_not_ready():  # H12
    async with running_processor() as processor, served(processor) as port:
        (gate,) = await hold(processor, 1)
        ending = asyncio.create_task(processor.shutdown(timeout=20.0))
        await until(lambda: not processor.is_running)

        assert await statuses(port) == (200, 503, 503)
        gate.open.set()
        await ending
        assert await statuses(port) == (200, 503, 503)


async def test_a_queue_that_is_nearly_full_is_a_reason_to_send_work_elsewhere_and_no_fault():
    async with running_processor(workers=1, queue_size=10) as processor, served(processor) as port:
        gates = await hold(processor, 1)
        waiting = [Gate() for _ in range(9)]
        for item in waiting:
            await processor.submit_task(item.task())

        assert await statuses(port) == (200, 503, 200)
        detail = (await get(port, "/health")).json()
        assert detail["status"] == "warn"
        assert detail["checks"]["queue"][0]["observedValue"] == 9
        assert (await get(port, "/readyz?exclude=queue")).status == 200
        for item in (*gates, *waiting):
            item.open.set()
        await processor.wait_until_idle()
        assert await statuses(port) == (200, 200, 200)


# ---- the form of the answers


async def test_nobody_keeps_an_answer():
    async with running_processor() as processor, served(processor) as port:
        answers = [await get(port, path) for path in ("/livez", "/healthz", "/readyz", "/health")]

    assert [(item.status, item.headers["cache-control"]) for item in answers] == [(200, "no-store")] * 4


async def test_a_probe_is_never_sent_elsewhere():
    async with running_processor() as processor, served(processor) as port:
        assert [(await get(port, path)).status for path in ("/livez/", "/readyz/", "/health/")] == [404] * 3


async def test_nothing_but_get_and_head():
    async with running_processor() as processor, served(processor) as port:
        for path in ("/livez", "/readyz", "/health", "/events"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                assert (await get(port, path, method=method)).status == 405, (method, path)


async def test_head_says_the_same_without_a_body():
    async with running_processor() as processor, served(processor) as port:
        for path in ("/livez", "/readyz", "/health", "/events"):
            answer = await get(port, path, method="HEAD")
            assert (answer.status, answer.body) == (200, b"")


async def test_verbose_lists_the_checks():
    async with running_processor() as processor, served(processor) as port:
        answer = await get(port, "/readyz?verbose")

    assert answer.text == (
        "[+]loop ok\n[+]running ok\n[+]queue ok\n[+]progress ok\n[+]lane:async ok\n[+]lane:thread ok\n"
        "[+]lane:process ok\n[+]store ok\nreadyz check passed\n"
    )


def report(**checks: str) -> HealthReport:
    return HealthReport(
        tuple(HealthCheck(name, status, "" if status == "pass" else f"why {name}") for name, status in checks.items())  # type: ignore[arg-type]
    )


def test_a_probe_says_what_fails_and_never_why():
    short = probe_answer("readyz", report(a="pass", b="fail", c="warn"), verbose=False, exclude=[])
    long = probe_answer("readyz", report(a="pass", b="fail", c="warn"), verbose=True, exclude=[])

    assert (short.status, short.body) == (503, b"readyz check failed\n")
    assert long.status == 503
    assert long.body == b"[+]a ok\n[-]b failed: reason withheld\n[+]c ok\nreadyz check failed\n"


def test_a_warning_passes_a_probe():
    answer = probe_answer("readyz", report(a="warn"), verbose=False, exclude=[])

    assert (answer.status, answer.body) == (200, b"ok\n")


def test_what_is_excluded_does_not_count_and_what_is_not_there_is_named():
    answer = probe_answer("readyz", report(a="fail", b="pass"), verbose=True, exclude=["a", "snö\n"])

    assert answer.status == 200
    assert answer.body == b"[+]b ok\nthere is no check 'sn\\xf6\\n' to exclude\nreadyz check passed\n"


def test_the_detail_says_why_in_the_shape_of_health_json():
    answer = detail_answer(report(store="fail", b="warn", c="pass"), release="1.2", exclude=["c"])
    detail: Any = json.loads(answer.body)

    assert (answer.status, answer.media_type) == (503, "application/health+json")
    assert (detail["status"], detail["health"], detail["releaseId"]) == ("fail", "unhealthy", "1.2")
    assert detail["output"] == "why store; why b"
    assert {name: (found[0]["status"], found[0]["output"]) for name, found in detail["checks"].items()} == {
        "store": ("fail", "why store"),
        "b": ("warn", "why b"),
    }
    assert detail["checks"]["store"][0]["componentType"] == "datastore"


@pytest.mark.parametrize(("status", "code"), [("pass", 200), ("warn", 200), ("fail", 503)])
def test_the_detail_of_what_is_degraded_is_no_failure(status: str, code: int):
    assert detail_answer(report(a=status), release="1", exclude=[]).status == code


# ---- what is judged

DEAD = LaneStatistics(healthy=False, reason="no workers")


@pytest.mark.parametrize(
    ("figures", "alive", "ready"),
    [
        pytest.param({}, True, True, id="all is well"),
        pytest.param({"running": False}, True, False, id="not started, or draining"),
        pytest.param({"queue_size": 9, "queue_capacity": 10}, True, False, id="hardly any room"),
        pytest.param({"queue_size": 8, "queue_capacity": 10}, True, True, id="room enough"),
        pytest.param({"lanes": {LaneName.PROCESS: DEAD}}, True, False, id="a dead lane"),
        pytest.param({"store": StoreStatistics(kind="sqlite", failing="full")}, True, False, id="a store that fails"),
        pytest.param({"store": StoreStatistics(kind="sqlite", quarantined=3)}, True, True, id="unreadable rows"),
        pytest.param({"ready": 3, "oldest_ready_age": 60.0}, True, False, id="no progress"),
        pytest.param({"timer_failing_s": 9.0}, True, True, id="a timer that failed just now"),
        pytest.param({"timer_failing_s": 11.0}, False, True, id="a timer that fails for long"),
        pytest.param({"faults": 5}, True, True, id="survived errors"),
    ],
)  # fmt: skip
def test_what_a_restart_mends_and_what_is_better_sent_elsewhere(
    figures: dict[str, Any], alive: bool, ready: bool
):  # H12
    state = EngineState(**{"running": True, "at": 100.0, **figures})

    assert (liveness_report(state).status != "fail") is alive
    assert (readiness_report(state).status != "fail") is ready


async def test_a_timer_that_fails_is_told_of_until_it_works_again(monkeypatch: pytest.MonkeyPatch):
    async with running_processor() as processor:
        assert processor._engine is not None
        with monkeypatch.context() as patch:

            def broken(_: float) -> None:
                raise RuntimeError("broken for the test")

            patch.setattr(processor._engine.scheduler, "wake", broken)
            task = Gate().task(timeout=0.05)
            await processor.submit_task(task)
            await until(lambda: processor._state().timer_failing_s > 0.1)
        await until(lambda: processor._state().timer_failing_s == 0.0)

        assert (await processor.wait_for_task(task.id)).status.value == "timeout"


# ---- checks of one's own


async def test_checks_of_ones_own_count_for_readiness_and_not_for_life(caplog: pytest.LogCaptureFixture):
    well = True

    async def database() -> None:
        if not well:
            raise ConnectionError("CANARY the password is in here")

    async def model() -> str:
        return "loaded"

    checks = {"database": database, "a model": model}
    async with running_processor() as processor, served(processor, checks=checks) as port:
        assert await statuses(port) == (200, 200, 200)
    well = False
    async with running_processor() as processor, served(processor, checks=checks) as port:
        assert await statuses(port) == (200, 503, 503)
        probe, detail = await get(port, "/readyz?verbose"), await get(port, "/health")
        assert "[-]database failed: reason withheld\n[+]a model ok\n" in probe.text
        assert detail.json()["output"] == "the check 'database' failed with ConnectionError"
        assert "CANARY" not in probe.text + detail.text
        assert (await get(port, "/readyz?exclude=database")).status == 200
    assert "the check 'database' failed" in said(caplog, "async_processor.server")


async def test_a_check_that_hangs_is_given_up_before_the_probe_is_and_is_asked_once_for_all():
    asked = 0

    async def hang() -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    async with running_processor() as processor, served(processor, checks={"slow": hang}) as port:
        began = time.monotonic()
        answers = await asyncio.gather(*(get(port, "/readyz") for _ in range(20)))

    assert [item.status for item in answers] == [503] * 20
    assert 0.5 <= time.monotonic() - began < 0.5 + 0.5 + 1.0
    assert asked == 1


async def test_a_check_is_asked_again_after_a_second(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("async_processor.server.own_checks.monotonic", lambda: now)
    asked = 0

    async def count() -> None:
        nonlocal asked
        asked += 1

    checks = OwnChecks({"count": count})
    for now, expected in ((100.0, 1), (100.9, 1), (101.0, 2), (101.5, 2), (102.5, 3)):  # noqa: B007 - the clock reads it
        assert [check.status for check in await checks.look()] == ["pass"]
        assert asked == expected


@pytest.mark.parametrize("name", ["", "two\nlines"])
def test_a_name_of_a_check_must_fit_on_a_line(name: str):
    with pytest.raises(ConfigurationError, match="printable"):
        OwnChecks({name: asyncio.Event().wait})


# ---- a blocked event loop


class Blocker:
    """A task that blocks its event loop until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    async def block(self, task: ProcessingTask) -> None:
        self.entered.set()
        self.open.wait(30)


@contextmanager
def elsewhere(blocker: Blocker) -> Iterator[tuple[AdvancedAsyncProcessor, int]]:
    """A processor and its HTTP server on the event loop of another thread."""
    ready, found, loops = threading.Event(), [], []
    stop = asyncio.Event()

    async def main() -> None:
        async with running_processor() as processor:
            processor.register_processor("block", blocker.block)
            server = HttpServer.start(create_app(processor), Address("127.0.0.1", 0))
            found.append((processor, port_of(server.url)))
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()
            await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        blocker.open.set()
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(20)


def submit_from_here(processor: AdvancedAsyncProcessor) -> None:
    assert processor.loop is not None
    # Not waited for: the task may block the loop before its submit has come back.
    asyncio.run_coroutine_threadsafe(processor.submit_task(create_task("block", timeout=None)), processor.loop)


def probed(port: int, path: str, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_blocked_loop_answers_no_probe_and_is_told_of_afterwards():
    blocker = Blocker()
    with elsewhere(blocker) as (processor, port):
        assert probed(port, "/livez", 20)[0] == 200
        submit_from_here(processor)
        assert blocker.entered.wait(20)

        with pytest.raises(TimeoutError):
            probed(port, "/livez", 1.0)  # as Kubernetes does
        blocker.open.set()
        assert probed(port, "/livez", 20) == (200, b"ok\n")
        assert b"the event loop was blocked in " in probed(port, "/health", 20)[1]


async def test_a_server_on_another_loop_says_that_the_loop_of_the_processor_does_not_answer():
    blocker = Blocker()
    with elsewhere(blocker) as (processor, _):
        async with served(processor) as port:
            assert await statuses(port) == (200, 200, 200)
            # On the loop of this thread nobody is told of events.
            assert (await get(port, "/events")).status == 503
            submit_from_here(processor)
            assert blocker.entered.wait(20)

            began = time.monotonic()
            answer = await get(port, "/livez?verbose")
            took = time.monotonic() - began
            assert (answer.status, answer.text) == (503, "[-]loop failed: reason withheld\nlivez check failed\n")
            assert took < ANSWER_S + 1.0
            assert "did not answer within" in (await get(port, "/health")).json()["output"]
            blocker.open.set()
            await until(lambda: processor._state().running_tasks == 0)
            assert (await get(port, "/livez")).status == 200


# ---- in an application of one's own


async def test_the_routes_can_be_part_of_another_application():
    from starlette.applications import Starlette
    from starlette.routing import Mount

    async with running_processor() as processor:
        app = Starlette(routes=[*health_routes(processor), Mount("/a/b", create_app(processor))])
        app.state.end_streams = lambda: None
        server = HttpServer.start(app, Address("127.0.0.1", 0))
        try:
            port = port_of(server.url)
            for path in ("/livez", "/readyz", "/health", "/a/b/livez", "/a/b/readyz", "/a/b/health"):
                assert (await get(port, path)).status == 200
            assert (await get(port, "/events")).status == 404
        finally:
            await server.stop()


@pytest.mark.parametrize("module", ["starlette.routing", "starlette.applications"])
async def test_without_the_extra_it_says_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=r"advanced-async-processor\[server\]"):
        create_app(AdvancedAsyncProcessor())
