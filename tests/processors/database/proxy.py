"""A TCP proxy before a PostgreSQL server: loses the connection between commit and answer, or falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Self

# Of the protocol: a message is its type, its length with the length itself, and its body. A simple query is a "Q", and
# the answer that a command is done a "C", each with a text that ends in NUL.
_HEAD = struct.Struct("!cI")
COMMIT_DONE = b"COMMIT\0"


class BadProxy:
    """Passes everything on, until it is told otherwise.

    Attributes:
        port: where it listens on loopback.
        lost: how many answers to COMMIT were lost.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._to_lose = 0
        self._keeps = False
        self._talking = asyncio.Event()
        self._talking.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def lose_commits(self, count: int) -> None:
        """Break the connection instead of passing on the answers to the next COMMITs."""
        self._to_lose = count

    def keep_commits(self) -> None:
        """Fall silent when the answer to the next COMMIT is to be passed on."""
        self._keeps = True

    def fall_silent(self) -> None:
        """Pass nothing on any more, in either direction, and close nothing: a network that is gone."""
        self._talking.clear()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        upstream = asyncio.create_task(self._pass_on(reader, server_writer))
        try:
            await self._answers(server_reader, writer)
        finally:
            upstream.cancel()
            await asyncio.gather(upstream, return_exceptions=True)
            for each in (writer, server_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._talking.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Message by message, until one is to be lost."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            # First of all the client asks for encryption, to which the answer is one letter: no. The connections over
            # which it asks for a statement to be cancelled get no more than that.
            writer.write(await reader.readexactly(1))
            while True:
                head = await reader.readexactly(_HEAD.size)
                kind, length = _HEAD.unpack(head)
                body = await reader.readexactly(length - 4)
                if kind == b"C" and body == COMMIT_DONE and self._keeps:
                    self.fall_silent()
                await self._talking.wait()
                if kind == b"C" and body == COMMIT_DONE and self._to_lose:
                    # The server has committed: only nobody hears of it.
                    self._to_lose -= 1
                    self.lost += 1
                    return
                writer.write(head + body)
                await writer.drain()
