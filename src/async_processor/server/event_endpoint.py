"""``/events``: server-sent events, as a plain ASGI application.

Not a framework's streaming response: one that is cancelled while a slow client holds up ``send`` leaves its generator,
and what that has subscribed to, to the garbage collector. Here the subscription ends with the request.
"""

from __future__ import annotations

import asyncio
import random

from ..processor import AdvancedAsyncProcessor
from .access import Message, Receive, Send, refuse
from .event_feed import EventFeed, Reader, StreamSettings
from .event_frames import HEARTBEAT, frame, retry_line

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    # nginx would otherwise collect what it is to hand on.
    (b"x-accel-buffering", b"no"),
]


class EventEndpoint:
    """Streams the feed of a processor to every client that asks."""

    def __init__(self, processor: AdvancedAsyncProcessor, feed: EventFeed, settings: StreamSettings) -> None:
        self._processor = processor
        self._feed = feed
        self._settings = settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        if self._processor.loop not in (None, loop):
            # What a processor tells, it tells on its own event loop only.
            await refuse(send, 503)
        elif self._feed.full:
            await refuse(send, 503, [(b"retry-after", b"5")])
        elif scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._stream(_last_id(scope), receive, send)

    async def _stream(self, last_id: str | None, receive: Receive, send: Send) -> None:
        with self._feed.reader(last_id) as reader:
            watching = asyncio.create_task(_until_gone(receive, reader), name="event-stream-disconnect")
            try:
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await self._tell(reader, send)
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _tell(self, reader: Reader, send: Send) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        # Not all at the same time, or those of a restarted server would come and go in step for ever.
        ends_at = loop.time() + settings.life_s * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
        await send(_more(retry_line(settings.retry_s) + frame("hello", {}, reader.last_id) + reader.take()))
        while not reader.ended and (left := ends_at - loop.time()) > 0:
            await reader.news(min(settings.heartbeat_s, left))
            await send(_more(reader.take() or HEARTBEAT))
            await reader.pause(min(settings.pause_s, left))
        ending = frame("end", {}, reader.last_id) if reader.ended else b""
        await send({"type": "http.response.body", "body": reader.take() + ending, "more_body": False})


def _more(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _last_id(scope: Message) -> str | None:
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            given: str = value.decode("latin-1")
            return given
    return None


async def _until_gone(receive: Receive, reader: Reader) -> None:
    """End the stream when its client is gone: nobody else would notice before something happens."""
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.end()
