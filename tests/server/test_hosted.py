"""A processor in somebody's own application: its signal handlers are its own, and its web server can stop."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from tests.runtime.support import ends, running_processor
from tests.server.http_kit import get, port_of, served, stream
from tests.source_code import ROOT

from async_processor import AdvancedAsyncProcessor, create_task


def handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


async def test_under_pytest_and_while_it_serves_the_handlers_stay(no_leaks: None):  # D7
    before = handlers()
    async with running_processor(max_process_workers=1) as processor, served(processor) as port:
        task = create_task("value", {"value": 7})
        await processor.submit_task(task)
        assert [result.result for result in await ends(processor, task)] == [7]
        assert (await get(port, "/readyz")).status == 200
        assert handlers() == before

    assert handlers() == before


def test_made_off_the_main_thread_it_works_and_serves_there():  # D7
    before, found = handlers(), []

    async def main() -> None:
        async with AdvancedAsyncProcessor(max_process_workers=1) as processor, served(processor) as port:
            processor.register_processor("noop", lambda task: 7)
            for hints in ({}, {"cpu_intensive": True}):
                task = create_task("noop", **hints)
                await processor.submit_task(task)
                found.append((await processor.wait_for_task(task.id)).status.value)
            found.append((await get(port, "/readyz")).status)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(30)

    assert found[0] == "completed"
    assert found[2] == 200
    assert handlers() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_in_an_application_under_uvicorn_all_handlers_stay_whose_they_are(number: signal.Signals):  # D7
    process = subprocess.Popen(  # noqa: ASYNC220 - started before the loop has anything else to do
        [sys.executable, "-m", "tests.server.hosted"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        port = next(port_of(found[0]) for line in lines if (found := re.search(r"http://127.0.0.1:\d+", line)))
        assert (await get(port, "/readyz")).status == (await get(port, "/work/readyz")).status == 200
        async with stream(port, path="/work/events") as client:
            await client.until("hello")
            began = time.monotonic()
            process.send_signal(number)
            out, error = await asyncio.to_thread(process.communicate, timeout=20)
            seconds = time.monotonic() - began
    finally:
        process.kill()
        process.communicate()

    assert out.splitlines() == [
        "made: same",
        "serving: the server",
        "started: same",
        "ended: same",
        f"own handler: {number.name}",
        "afterwards: same",
    ], error
    assert process.returncode == 0
    # It waited for the stream, which ends itself after 0.5 to 0.75 s, and for nothing else.
    assert seconds < 0.75 + 1.0 + 1.0
