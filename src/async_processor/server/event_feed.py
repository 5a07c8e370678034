"""The events of one processor for many readers over HTTP.

One ring of the latest events for all of them, and for each reader only the place up to which it has read. So a reader
costs next to nothing, an event is encoded once however many read it, and one who reads slowly holds up nobody: the ring
goes on, and who finds its place overwritten is told to look at the whole anew ("resync") and goes on from there.

A stream that ended and comes again with the id of its last event goes on where it was, if the ring still has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ConfigurationError
from ..monitoring.events import EVENT_HOOKS, Event
from ..monitoring.observer import Observer
from ..processor import AdvancedAsyncProcessor
from .event_frames import event_frame, frame


@dataclass(slots=True, frozen=True, kw_only=True)
class StreamSettings:
    """Bounds of the event streams.

    Attributes:
        max_unread: how many events a reader may be behind before it is told to look anew.
        max_streams: how many may be open at the same time.
        pause_s: least time between two deliveries to a reader; what happens meanwhile comes together.
        heartbeat_s: longest silence.
        life_s: least time after which a stream ends itself; at most half as long again. A web server that stops
            waits for open streams, and so never for longer than that.
        retry_s: when a client is to come again.
        linger_s: how long events are kept for a reader that may come again.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    max_unread: int = 1_000
    max_streams: int = 100
    pause_s: float = 0.25
    heartbeat_s: float = 5.0
    life_s: float = 10.0
    retry_s: float = 1.0
    linger_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_unread", "max_streams"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ConfigurationError(f"StreamSettings.{name} must be a whole number of 1 or more")
        for name in ("pause_s", "heartbeat_s", "life_s", "retry_s", "linger_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"StreamSettings.{name} must be a finite number of 0 or more")


class EventFeed(Observer):
    """Observes a processor while somebody reads. All of it on the processor's event loop."""

    def __init__(self, processor: AdvancedAsyncProcessor, settings: StreamSettings) -> None:
        self._processor = processor
        self._settings = settings
        self._readers: set[Reader] = set()
        self._watching = False
        self._ending = False
        self._letting_go: asyncio.TimerHandle | None = None
        # Each with its frame, once somebody has read it.
        self._ring: deque[tuple[Event, list[bytes]]] = deque(maxlen=settings.max_unread)
        # From 1, so that there is an id before that of the first event.
        self._next = 1
        # Of one time of watching: what happened before it or after it nobody knows.
        self._epoch = secrets.token_hex(4)
        for hook in EVENT_HOOKS.values():
            setattr(self, hook, self._take)

    @property
    def full(self) -> bool:
        """Whether there are as many readers as there may be."""
        return len(self._readers) >= self._settings.max_streams

    @contextlib.contextmanager
    def reader(self, last_id: str | None = None) -> Iterator[Reader]:
        """Read for as long as the block lasts.

        Args:
            last_id: the id of the last event that the client has seen, if it was here before.
        """
        self._watch()
        reader = Reader(self, *self._place(last_id))
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._let_go()

    def end(self) -> None:
        """Let every reader read what there is, and end; keep nothing for one that may come again."""
        self._ending = True
        for reader in self._readers:
            reader.end()
        if not self._readers:
            self._forget()

    def stopped(self, at: float) -> None:  # noqa: ARG002 - part of the hook
        """The processor ended."""
        self.end()

    def _take(self, event: Event) -> None:
        self._ring.append((event, []))
        self._next += 1
        for reader in self._readers:
            reader.wake()

    # ---- for readers

    def since(self, place: int) -> tuple[list[bytes], int]:
        """The frames of the events from ``place`` on, and how many before them are gone."""
        first = self._next - len(self._ring)
        gone = max(0, first - place)
        if gone:
            # It must look at the whole anyway, and would otherwise be the next to fall behind.
            return [], self._next - place
        return [self._frame(number) for number in range(place, self._next)] if place < self._next else [], 0

    def _frame(self, number: int) -> bytes:
        event, encoded = self._ring[number - self._next]
        if not encoded:
            encoded.append(event_frame(event, self.id_of(number)))
        return encoded[0]

    @property
    def next_place(self) -> int:
        """Where the next event will be."""
        return self._next

    def id_of(self, number: int) -> str:
        """The id of the event at a place."""
        return f"{self._epoch}-{number}"

    def _place(self, last_id: str | None) -> tuple[int, bool]:
        """Where to read from, and whether something before it may have been missed."""
        if last_id is None:
            return self._next, False
        epoch, _, number = last_id.partition("-")
        # No more digits than the id of any event has: this comes from outside.
        if epoch != self._epoch or not (number.isascii() and number.isdecimal() and len(number) < 20):
            return self._next, True
        return min(int(number) + 1, self._next), False

    # ---- watching

    def _watch(self) -> None:
        self._ending = False
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None
        if not self._watching:
            self._watching = True
            self._processor.add_observer(self)

    def _let_go(self) -> None:
        if self._settings.linger_s and not self._ending:
            self._letting_go = asyncio.get_running_loop().call_later(self._settings.linger_s, self._forget)
        else:
            self._forget()

    def _forget(self) -> None:
        if self._letting_go is not None:
            self._letting_go.cancel()
        self._letting_go = None
        self._watching = False
        self._processor.remove_observer(self)
        self._ring.clear()
        self._epoch = secrets.token_hex(4)


class Reader:
    """The place of one client in the feed.

    Attributes:
        ended: whether nothing more will come.
    """

    def __init__(self, feed: EventFeed, place: int, missed: bool) -> None:
        self._feed = feed
        self._place = place
        self._missed = missed
        self._news = asyncio.Event()
        self._end = asyncio.Event()
        if missed or place < feed.next_place:
            self._news.set()

    @property
    def ended(self) -> bool:
        return self._end.is_set()

    def wake(self) -> None:
        """Something happened."""
        self._news.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._end.set()
        self._news.set()

    async def news(self, seconds: float) -> None:
        """Wait until there is something to take, or the end, or for so long."""
        await _within(self._news, seconds)

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until the end."""
        await _within(self._end, seconds)

    def take(self) -> bytes:
        """What happened since the last time, in frames; empty if nothing did."""
        self._news.clear()
        frames, gone = self._feed.since(self._place)
        self._place = self._feed.next_place
        if gone or self._missed:
            self._missed = False
            return frame("resync", {"missed": gone or None}, self.last_id) + b"".join(frames)
        return b"".join(frames)

    @property
    def last_id(self) -> str:
        """The id of the last event taken."""
        return self._feed.id_of(self._place - 1)


async def _within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
