"""Answers that come piece by piece: server-sent events (WHATWG HTML, 9.2), as both vendors stream their replies.

Only the ``data`` of an event is read: what kind it is stands in it. The bytes are bounded before they come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Protocol

KIND = "text/event-stream"


class Collector(Protocol):
    """Takes the events of one reply, and puts it together."""

    def add(self, data: bytes) -> bool:
        """Take in one event.

        Returns:
            whether the reply is complete.

        Raises:
            AsyncProcessorError: the event is none that belongs to a reply, or tells of a failure.
        """
        ...


class FirstToken:
    """Takes the time from now, when the request is about to be sent, to the first words of the reply."""

    def __init__(self) -> None:
        self._started = self._now()
        self.first_s: float | None = None

    def seen(self) -> None:
        """Words came; only the first time counts."""
        if self.first_s is None:
            self.first_s = self._now() - self._started

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def is_event_stream(headers: Mapping[str, str]) -> bool:
    """Whether an answer with these headers is one: a server may not stream though it was asked to."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == KIND


async def event_data(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The data of each event. One that is not ended by an empty line counts, too: not every server sends the last."""
    data: list[bytes] = []
    # Of a line that is not whole yet. Grows in place: a line may come in a million pieces.
    begun = bytearray()
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun += first
        for following in others:
            line = bytes(begun).removesuffix(b"\r")
            begun = bytearray(following)
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if data:
        yield b"\n".join(data)
