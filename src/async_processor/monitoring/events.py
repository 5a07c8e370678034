"""The events as a stream: ``async for`` over what observers are told, for as many subscribers as there are.

Each subscriber has a queue of its own, so none waits for another and the engine for none. One that falls too far
behind is dropped: its queue is the only thing here that could grow without end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Self

from ..errors import ConfigurationError, SubscriberTooSlowError
from .hub import ObserverHub
from .observer import (
    AttemptEnded,
    AttemptStarted,
    Observer,
    TaskFinished,
    TaskProgress,
    TaskRetried,
    TaskSubmitted,
)

logger = logging.getLogger("async_processor.monitoring")

Event = TaskSubmitted | AttemptStarted | AttemptEnded | TaskRetried | TaskProgress | TaskFinished

DEFAULT_MAX_PENDING = 10_000
"""More than a program that fills the default queue in one go brings about before anybody gets a turn to read."""

EVENT_HOOKS: dict[type[Event], str] = {
    TaskSubmitted: "task_submitted",
    AttemptStarted: "attempt_started",
    AttemptEnded: "attempt_ended",
    TaskRetried: "task_retried",
    TaskProgress: "task_progress",
    TaskFinished: "task_finished",
}


class EventStream(Observer):
    """The events of a processor in their order, as an async iterator.

    It ends when the processor has been shut down, or the stream was closed.

    Args:
        max_pending: how many events may wait to be read; one more, and the subscriber is dropped.
        kinds: the classes of the events wanted; all if None.

    Raises:
        ConfigurationError: an argument cannot be used.
        SubscriberTooSlowError: (by the iteration) the subscriber was dropped; what came before was all handed out.
    """

    def __init__(self, max_pending: int = DEFAULT_MAX_PENDING, kinds: Collection[type[Event]] | None = None) -> None:
        if type(max_pending) is not int or max_pending < 1:
            raise ConfigurationError(f"max_pending must be a whole number of 1 or more, not {max_pending!r}")
        self._max_pending = max_pending
        self._pending: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._hub: ObserverHub | None = None
        self._ended = False
        self._too_slow = False
        # Of this one object, not of the class: the hub asks each observer which hooks it really has, and so no event
        # is built that no subscriber wants.
        for hook in _hooks_of(kinds):
            setattr(self, hook, self._take)

    def open(self, hub: ObserverHub) -> None:
        """Receive what happens from now on."""
        self._hub = hub
        hub.add(self)

    def close(self) -> None:
        """Receive nothing more, and forget what was not read. The iteration ends."""
        self._pending.clear()
        self._too_slow = False
        self._end()

    def stopped(self, at: float) -> None:  # noqa: ARG002 - part of the hook
        """Nothing more will happen; what has happened can still be read."""
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._pending:
            if self._too_slow:
                raise SubscriberTooSlowError(
                    f"this subscriber was dropped because {self._max_pending:,} events waited to be read; read faster, "
                    "ask for fewer kinds, or raise max_pending"
                )
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._pending.popleft()

    def _take(self, event: Event) -> None:
        if len(self._pending) < self._max_pending:
            self._pending.append(event)
            self._changed.set()
            return
        self._too_slow = True
        self._end()
        logger.warning("an event subscriber that left %d events unread was dropped", self._max_pending)

    def _end(self) -> None:
        self._ended = True
        if self._hub is not None:
            self._hub.remove(self)
        self._changed.set()


@asynccontextmanager
async def subscribed(stream: EventStream, hub: ObserverHub) -> AsyncIterator[EventStream]:
    """Have a stream receive events for as long as the block lasts."""
    stream.open(hub)
    try:
        yield stream
    finally:
        stream.close()


def _hooks_of(kinds: Collection[type[Event]] | None) -> list[str]:
    wanted = EVENT_HOOKS.keys() if kinds is None else set(kinds)
    if not wanted or wanted - EVENT_HOOKS.keys():
        known = ", ".join(kind.__name__ for kind in EVENT_HOOKS)
        raise ConfigurationError(f"kinds must hold one or more of the classes {known}; not {kinds!r}")
    return [EVENT_HOOKS[kind] for kind in wanted]
