"""A server on loopback that speaks the protocols of the vendors and misbehaves as told.

Raw asyncio streams: a web framework would refuse to send half of what is sent here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

REPLY = "Hello, little friend!"
TLS_HANDSHAKE = b"\x16"


@dataclass
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    """One request and the connection to answer it on."""

    received: Received
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    sent: int = 0

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes, *headers: str, kind: str = "application/json") -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def client_left(self) -> None:
        """Return when the other side has closed the connection."""
        while await self.reader.read(65_536):
            pass


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class LoopbackServer:
    """Answers every request by ``behaviour``; remembers what came in."""

    behaviour: Behaviour
    port: int = 0
    received: list[Received] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None
    scheme: str = "http"

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.scheme = "http" if tls is None else "https"
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while (received := await _read_request(reader)) is not None:
                exchange = Exchange(received, writer, reader)
                self.received.append(received)
                self.exchanges.append(exchange)
                self.arrived.set()
                await self.behaviour(exchange)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left in the middle, or the test is over
        finally:
            self.left.set()
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError):
                await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        first_byte = await reader.readexactly(1)
        if first_byte == TLS_HANDSHAKE:
            return None
        head = (first_byte + await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)


def completion(path: str, text: str | None = REPLY, *, finish: str | None = None, model: str = "test-model") -> Any:
    """A right answer in the protocol that the path belongs to."""
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
        choice = {"index": 0, "message": message, "finish_reason": finish or "stop"}
        return {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    if path.endswith("/messages"):
        blocks = [] if text is None else [{"type": "text", "text": text}]
        usage = {"input_tokens": 12, "output_tokens": 5}
        reason = finish or "end_turn"
        return {"id": "m1", "type": "message", "model": model, "content": blocks, "stop_reason": reason, "usage": usage}
    if path.endswith("/expression/audio/file"):
        return measured({"joy": 0.7})
    if "/expression/run" in path:
        return {"runs": []}
    return {"object": "list", "data": [{"id": model}], "has_more": False, "first_id": None, "last_id": None}


def measured(*windows: dict[str, float]) -> dict[str, Any]:
    """What Hume answers to an upload: one stretch of speech, measured every three seconds."""
    return {
        "request_id": "q1",
        "run_id": "r1",
        "received": {"audio_duration_ms": 3_000 * len(windows)},
        "utterances": [{"utterance_id": 0, "audio_start_ms": 0, "audio_end_ms": 3_000 * len(windows)}][: len(windows)],
        "measurements": [
            {
                "measurement_id": number,
                "utterance_id": 0,
                "audio_start_ms": 0,
                "audio_end_ms": 3_000 * (number + 1),
                "trigger": "interval",
                "expressions": [{"name": name, "probability": value} for name, value in window.items()],
                "voice_attributes": [{"name": "clear", "probability": 0.9}],
            }
            for number, window in enumerate(windows)
        ],
    }


def streamed(path: str, text: str | None = REPLY, *, finish: str | None = None, model: str = "test-model") -> list[Any]:
    """The same answer in events, in the protocol that the path belongs to; the text comes in three pieces."""
    cuts = [0, len(text or "") // 3, 2 * len(text or "") // 3, len(text or "")]
    pieces = [(text or "")[start:end] for start, end in pairwise(cuts)]
    if path.endswith("/chat/completions"):
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": model}
        deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
        events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish or "stop"}]})
        usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
        return [*events, {**chunk, "choices": [], "usage": usage}, "[DONE]"]
    start = {
        "id": "m1",
        "type": "message",
        "model": model,
        "content": [],
        "usage": {"input_tokens": 12, "output_tokens": 1},
    }
    block = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
    ]
    return [
        {"type": "message_start", "message": start},
        *([] if text is None else block),
        {"type": "message_delta", "delta": {"stop_reason": finish or "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def event(data: Any) -> bytes:
    """One server-sent event, as both vendors write it."""
    kind = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
    return f"{kind}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


async def begin_stream(exchange: Exchange) -> None:
    await exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


async def send_piece(exchange: Exchange, data: bytes) -> None:
    """One chunk of a chunked body; without data, its end."""
    await exchange.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def streams(*events: Any, ends: bool = True) -> Behaviour:
    """Sends these events, and its body's end if it is to be there."""

    async def behave(exchange: Exchange) -> None:
        await begin_stream(exchange)
        for data in events:
            await send_piece(exchange, data if isinstance(data, bytes) else event(data))
        if ends:
            await send_piece(exchange, b"")
        else:
            await exchange.client_left()

    return behave


def says(text: str | None = REPLY, **options: Any) -> Behaviour:
    """A right answer: streamed to whoever asks for that."""

    async def behave(exchange: Exchange) -> None:
        path = exchange.received.path
        # Hume is sent a form with a recording in it, and never asked to stream.
        if path.endswith(("/chat/completions", "/messages")) and exchange.received.json.get("stream"):
            await streams(*streamed(path, text, **options))(exchange)
        else:
            await exchange.answer(200, json.dumps(completion(path, text, **options)).encode())

    return behave


def says_at_once(text: str | None = REPLY, **options: Any) -> Behaviour:
    """A right answer of a server that does not stream, though it is asked to."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps(completion(exchange.received.path, text, **options)).encode())

    return behave


def answers(status: int, body: Any, *headers: str, kind: str = "application/json") -> Behaviour:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, content, *headers, kind=kind)

    return behave


def refuses(status: int, code: str, *headers: str, message: str = "no", **more: Any) -> Behaviour:
    """An error as OpenAI and Anthropic write theirs, both at once."""
    return answers(
        status, {"type": "error", "error": {"type": code, "code": code, "message": message, **more}}, *headers
    )


async def never_answers(exchange: Exchange) -> None:
    await exchange.client_left()


async def answers_in_halves(exchange: Exchange) -> None:
    await exchange.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"choices"')
    exchange.writer.close()


async def resets(exchange: Exchange) -> None:
    exchange.writer.transport.abort()


async def endless(exchange: Exchange) -> None:
    """A body without length and without end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        await exchange.send(piece)


async def huge(exchange: Exchange) -> None:
    """A body that announces 1 GB, and means it."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        await exchange.send(b" " * 65_536)


async def endless_headers(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Filler: " + b"x" * 10_000 + b"\r\n")


async def streams_without_end(exchange: Exchange) -> None:
    """Comments, which keep a connection alive, and nothing else."""
    await begin_stream(exchange)
    while True:
        await send_piece(exchange, b": still there\n\n" * 4_096)


async def one_line_without_end(exchange: Exchange) -> None:
    await begin_stream(exchange)
    await send_piece(exchange, b"data: ")
    while True:
        await send_piece(exchange, b"x" * 65_536)


async def drips_a_stream(exchange: Exchange) -> None:
    """A reply of which every piece is right, a little at a time and for ever."""
    await begin_stream(exchange)
    start, *_ = streamed(exchange.received.path)
    await send_piece(exchange, event(start))
    choice = {"delta": {"content": "a"}}
    piece = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}, "choices": [choice]}
    while True:
        await send_piece(exchange, event(piece))
        await asyncio.sleep(0.02)  # the drip itself


async def drips(exchange: Exchange) -> None:
    """One byte at a time, each long before a client's timeout between two of them."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await exchange.send(b" ")
        await asyncio.sleep(0.02)  # the drip itself
