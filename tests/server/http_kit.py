"""Plain sockets as HTTP clients: what a library would hide is what is being tested."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from async_processor import AdvancedAsyncProcessor
from async_processor.server import create_app
from async_processor.server.address import Address
from async_processor.server.listening import HttpServer


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Frame:
    """One server-sent event."""

    name: str
    id: str
    data: dict[str, Any]


@asynccontextmanager
async def served(processor: AdvancedAsyncProcessor, **options: Any) -> AsyncIterator[int]:
    """The application of a processor on a real port, which is given."""
    server = HttpServer.start(create_app(processor, **options), Address("127.0.0.1", 0))
    try:
        yield port_of(server.url)
    finally:
        await server.stop()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def request(
    target: str, headers: Mapping[str, str] | None = None, *, version: str = "1.0", method: str = "GET"
) -> bytes:
    """An HTTP request; in version 1.0 an answer has no chunks and ends with its connection."""
    lines = [
        f"{method} {target} HTTP/{version}",
        *(f"{k}: {v}" for k, v in ({"Host": "localhost"} | dict(headers or {})).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def get(port: int, target: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Response:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(target, headers, method=method))
        async with asyncio.timeout(20):
            return parsed(await reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


def parsed(raw: bytes) -> Response:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Response(int(first.split()[1]), headers, body)


class Stream:
    """A client of ``/events``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Response) -> None:
        self.head = head
        self.comments = 0
        self._reader = reader
        self._writer = writer

    async def next(self) -> Frame | None:
        """The next event; None at the end. Comments are counted, other lines skipped."""
        async with asyncio.timeout(20):
            while raw := await self._reader.readuntil_or_end():
                lines = raw.decode("ascii").rstrip("\n").split("\n")
                fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
                self.comments += sum(line.startswith(":") for line in lines)
                if "event" in fields:
                    return Frame(fields["event"], fields["id"], json.loads(fields["data"]))
        return None

    async def until(self, name: str) -> list[Frame]:
        """All up to the first of a name, which is the last of them."""
        found: list[Frame] = []
        while not found or found[-1].name != name:
            frame = await self.next()
            assert frame is not None, f"the stream ended before {name}; there were {[item.name for item in found]}"
            found.append(frame)
        return found

    async def rest(self) -> list[Frame]:
        """All up to the end."""
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found

    def abort(self) -> None:
        """Be gone, without a word."""
        self._writer.transport.abort()


class _Frames(asyncio.StreamReader):
    async def readuntil_or_end(self) -> bytes:
        """Up to an empty line; empty at the end."""
        try:
            return await self.readuntil(b"\n\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return b""


@asynccontextmanager
async def stream(
    port: int, headers: Mapping[str, str] | None = None, *, path: str = "/events"
) -> AsyncIterator[Stream]:
    """Read ``/events``. What is there before the first event is read already."""
    loop = asyncio.get_running_loop()
    reader = _Frames(limit=2**24)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_connection(lambda: protocol, "127.0.0.1", port)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        writer.write(request(path, headers))
        async with asyncio.timeout(20):
            head = parsed(await reader.readuntil(b"\r\n\r\n"))
        yield Stream(reader, writer, head)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
