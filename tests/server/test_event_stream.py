"""``/events`` over real connections: order, bounds, slow and vanished clients, and the end."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.runtime.support import Gate, ends, running_processor, said, until
from tests.server.http_kit import get, port_of, request, served, stream

from async_processor import AdvancedAsyncProcessor, ConfigurationError, ProcessingTask, TaskContext, create_task
from async_processor.server import StreamSettings, create_app
from async_processor.server.address import Address
from async_processor.server.listening import HttpServer

pytestmark = pytest.mark.usefixtures("no_leaks")

# As long as an id may be, and six times that in JSON.
LONG = "ö" * 180
MANY = 2_000
AT_ONCE = StreamSettings(pause_s=0.0, linger_s=0.0)


def numbers(ids: list[str]) -> list[int]:
    return [int(item.partition("-")[2]) for item in ids]


def observers(processor: AdvancedAsyncProcessor) -> int:
    return len(processor._hub.observers)


async def test_a_client_sees_every_event_in_order():
    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port, stream(port) as client:
        (hello,) = await client.until("hello")
        task = create_task("flaky", {"failures": 1})
        await processor.submit_task(task)
        seen = await client.until("task_finished")

    assert client.head.status == 200
    assert client.head.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (client.head.headers["cache-control"], client.head.headers["x-accel-buffering"]) == ("no-store", "no")
    assert [frame.name for frame in seen] == [
        "task_submitted", "attempt_started", "attempt_ended", "task_retried",
        "attempt_started", "attempt_ended", "task_finished",
    ]  # fmt: skip
    assert {frame.data["task_id"] for frame in seen} == {task.id}
    assert (seen[-1].data["status"], seen[-1].data["priority"]) == ("completed", "normal")
    start = numbers([hello.id])[0]
    assert numbers([frame.id for frame in seen]) == list(range(start + 1, start + 8))


async def test_nothing_that_a_function_was_given_or_said_is_told():  # H8
    async def speak(task: ProcessingTask, context: TaskContext) -> str:
        context.report_progress(0.5, "CANARY in progress")
        raise RuntimeError("CANARY in an error")

    async def answer(task: ProcessingTask) -> str:
        return "CANARY in a result"

    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port, stream(port) as client:
        await client.until("hello")
        processor.register_processor("speak", speak)
        processor.register_processor("answer", answer)
        tasks = [create_task(kind, {"text": "CANARY in a payload"}, max_retries=1) for kind in ("speak", "answer")]
        for task in tasks:
            await processor.submit_task(task)
        await ends(processor, *tasks)
        seen = [*await client.until("task_finished"), *await client.until("task_finished")]

    assert "task_progress" in {frame.name for frame in seen}
    assert "CANARY" not in json.dumps([frame.data for frame in seen])


async def test_text_that_callers_chose_cannot_end_a_frame():
    task_id = "a\n\nevent: end\ndata: {}\n\n\r\x00é"
    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port, stream(port) as client:
        await client.until("hello")
        await processor.submit_task(create_task("value", id=task_id))
        seen = await client.until("task_finished")

    assert {frame.data["task_id"] for frame in seen} == {task_id}


async def test_a_silent_stream_shows_that_it_lives_and_says_when_to_come_again():
    settings = StreamSettings(heartbeat_s=0.01, pause_s=0.0, life_s=0.1)
    async with running_processor() as processor, served(processor, stream=settings) as port:
        raw = (await get(port, "/events")).body

    assert raw.startswith(b"retry: 1000\n\nid: ")
    assert raw.count(b"\n:\n") >= 5


async def test_a_stream_ends_itself_so_that_no_server_waits_for_it():
    async with running_processor() as processor, served(processor, stream=StreamSettings(life_s=0.2)) as port:
        began = time.monotonic()
        async with stream(port) as client:
            assert [frame.name for frame in await client.rest()] == ["hello"]

    assert 0.2 <= time.monotonic() - began < 0.3 + 1.0


async def test_a_client_that_comes_again_goes_on_where_it_was():
    settings = StreamSettings(pause_s=0.0, linger_s=60.0)
    async with running_processor() as processor, served(processor, stream=settings) as port:
        async with stream(port) as client:
            (hello,) = await client.until("hello")
        task = create_task("value")
        await processor.submit_task(task)
        await ends(processor, task)

        async with stream(port, {"Last-Event-ID": hello.id}) as client:
            seen = await client.until("task_finished")

    assert [frame.name for frame in seen] == [
        "hello", "task_submitted", "attempt_started", "attempt_ended", "task_finished"
    ]  # fmt: skip


async def test_a_client_that_nobody_knows_is_told_to_look_anew():
    async with running_processor() as processor, served(processor) as port:
        async with stream(port) as client:
            (hello,) = await client.until("hello")
        epoch = hello.id.partition("-")[0]
        long = f"{epoch}-{'9' * 30}"
        for last in ("other-5", "", "-", "x", f"{epoch}-", f"{epoch}--1", f"{epoch}-1e3", long, "\xb2"):
            async with stream(port, {"Last-Event-ID": last}) as client:
                seen = await client.until("resync")

            assert [frame.name for frame in seen] == ["hello", "resync"], last
            assert seen[-1].data == {"missed": None}


async def test_an_id_from_the_future_is_no_trouble():
    async with running_processor() as processor, served(processor, stream=StreamSettings(pause_s=0.0)) as port:
        async with stream(port) as client:
            (hello,) = await client.until("hello")
        async with stream(port, {"Last-Event-ID": hello.id.partition("-")[0] + "-999999"}) as client:
            await client.until("hello")
            await processor.submit_task(create_task("value"))
            assert (await client.next()).name == "task_submitted"  # type: ignore[union-attr]


async def test_what_happened_after_the_last_one_left_for_good_is_not_pretended_to_be_known():
    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port:
        async with stream(port) as client:
            (hello,) = await client.until("hello")
        await until(lambda: observers(processor) == 1)
        task = create_task("value")
        await processor.submit_task(task)
        await ends(processor, task)

        async with stream(port, {"Last-Event-ID": hello.id}) as client:
            assert [frame.name for frame in await client.until("resync")] == ["hello", "resync"]


# ---- who does not keep up, and who vanishes


@asynccontextmanager
async def slow_client(port: int, processor: AdvancedAsyncProcessor) -> AsyncIterator[socket.socket]:
    """One that has asked for events and read none, after more of them than the sockets of both ends can hold."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", port))
        await loop.sock_sendall(slow, request("/events"))
        await until(lambda: observers(processor) == 2)
        tasks = [create_task("value", id=f"{number} {LONG}") for number in range(MANY)]
        for task in tasks:
            await processor.submit_task(task)
        assert all(result.ok for result in await ends(processor, *tasks))
        yield slow


async def all_of(client: socket.socket) -> bytes:
    read = bytearray()
    async with asyncio.timeout(20):
        while chunk := await asyncio.get_running_loop().sock_recv(client, 1_000_000):
            read += chunk
    return bytes(read)


async def test_a_client_that_reads_slowly_is_told_to_look_anew_and_is_felt_by_no_task():  # R7
    settings = StreamSettings(max_unread=100, pause_s=0.0, life_s=600.0)
    async with (
        running_processor(workers=8, queue_size=5_000) as processor,
        served(processor, stream=settings) as port,
        slow_client(port, processor) as slow,
    ):
        loop = asyncio.get_running_loop()
        read = bytearray()

        async def read_until(text: bytes) -> None:
            while text not in read:
                read.extend(chunk := await loop.sock_recv(slow, 1_000_000))
                assert chunk, "the stream ended"

        reading = asyncio.create_task(read_until(b'"late '))
        async with asyncio.timeout(30):
            # The first of them may be among what it is spared.
            while not reading.done():
                await processor.submit_task(create_task("value", id=f"late {time.monotonic()}"))
                await asyncio.wait([reading], timeout=0.05)
        await reading

    # It was spared a good part, and told how much that was.
    missed = [json.loads(part.partition(b"\n")[0])["missed"] for part in read.split(b"event: resync\ndata: ")[1:]]
    finished = read.count(b"event: task_finished")
    assert 100 < sum(missed) < 4 * MANY
    assert finished < MANY


async def test_a_client_that_never_reads_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture):  # D10
    settings = StreamSettings(pause_s=0.0, life_s=600.0)
    async with running_processor(workers=8, queue_size=5_000) as processor:
        server = HttpServer.start(create_app(processor, stream=settings), Address("127.0.0.1", 0))
        async with slow_client(port_of(server.url), processor) as slow:
            began = time.monotonic()
            await server.stop()

            assert time.monotonic() - began < 1.0
            assert observers(processor) == 1
            # What the sockets still held it may read. Then it was hung up on.
            assert b"event: end" not in await all_of(slow)
    assert said(caplog, "async_processor.server") == []


@pytest.mark.parametrize("way", ["close", "abort", "while it holds up the server"])
async def test_clients_that_vanish_leave_nothing_behind(way: str):
    async with running_processor(workers=8) as processor, served(processor, stream=AT_ONCE) as port:
        for turn in range(200 if way != "while it holds up the server" else 5):
            async with stream(port) as client:
                await client.until("hello")
                assert observers(processor) == 2
                if way == "abort":
                    client.abort()
                elif way != "close":
                    client._reader._transport.pause_reading()  # type: ignore[attr-defined]
                    tasks = [create_task("value", id=f"{turn} {number} {LONG}") for number in range(600)]
                    for task in tasks:
                        await processor.submit_task(task)
                    await ends(processor, *tasks)
                    client.abort()
            await until(lambda: observers(processor) == 1)

        assert [item.get_name() for item in asyncio.all_tasks() if "event-stream" in item.get_name()] == []


async def test_one_more_than_there_may_be_is_told_to_come_again():
    async with running_processor() as processor, served(processor, stream=StreamSettings(max_streams=2)) as port:
        async with stream(port) as one, stream(port) as two:
            await one.until("hello")
            await two.until("hello")
            refused = await get(port, "/events")
        assert (refused.status, refused.headers["retry-after"], refused.headers["cache-control"]) == (
            503,
            "5",
            "no-store",
        )
        await until(lambda: not [item for item in asyncio.all_tasks() if item.get_name() == "event-stream-disconnect"])

        async with stream(port) as client:
            assert client.head.status == 200


# ---- several, and the end


async def test_two_applications_may_serve_one_processor():
    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port:
        async with served(processor, stream=AT_ONCE) as other, stream(port) as one, stream(other) as two:
            await one.until("hello")
            await two.until("hello")
            await processor.submit_task(create_task("value", id="first"))
            assert {frame.data["task_id"] for frame in await one.until("task_finished")} == {"first"}
            assert {frame.data["task_id"] for frame in await two.until("task_finished")} == {"first"}
        # The other one is gone, and this one serves on.
        async with stream(port) as one:
            await one.until("hello")
            await processor.submit_task(create_task("value", id="second"))
            assert (await one.until("task_finished"))[-1].data["task_id"] == "second"


async def test_streams_end_at_once_when_the_processor_has_ended_and_lack_nothing():
    async with running_processor() as processor, served(processor) as port, stream(port) as client:
        await client.until("hello")
        gate = Gate()
        await processor.submit_task(gate.task())
        await gate.entered.wait()
        gate.open.set()
        began = time.monotonic()
        await processor.shutdown(timeout=5.0)
        seen = [frame.name for frame in await client.rest()]

        assert time.monotonic() - began < 1.0
        assert seen == ["task_submitted", "attempt_started", "attempt_ended", "task_finished", "end"]
        assert observers(processor) == 1
        await processor.start()


async def test_a_processor_that_begins_anew_is_told_of_anew():
    async with running_processor() as processor, served(processor, stream=AT_ONCE) as port:
        async with stream(port) as client:
            await client.until("hello")
            await processor.shutdown(timeout=1.0)
            await client.until("end")
        await processor.start()
        async with stream(port) as client:
            await client.until("hello")
            await processor.submit_task(create_task("value"))
            assert len(await client.until("task_finished")) == 4


@pytest.mark.parametrize(
    "settings", [{"max_unread": 0}, {"max_streams": True}, {"pause_s": -1.0}, {"life_s": float("nan")}]
)
def test_bounds_that_cannot_be_used_are_refused(settings: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        StreamSettings(**settings)
