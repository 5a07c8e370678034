"""One opening of a store, as the event loop sees it: hands changes over and tells what became of them.

What is written in one turn of the loop is handed to the writer thread at once, in the next turn; and what one commit
kept comes back in one call.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import length_hint
from typing import Any, TypeVar

from ..errors import AsyncProcessorError, StoreError
from .base import Change, Done
from .sqlite_reader import Reader
from .sqlite_way import RightOfWay
from .sqlite_writer import Ask, Entry, Opened, Options, Owner, Stop, Writer

_T = TypeVar("_T")

# Dones called in one turn of the loop.
_TOLD_AT_ONCE = 256
# The writer gives up at the deadline; this long it may take to say so.
_GIVING_UP_S = 0.25


class Session:
    """From the start of the writer thread to its end.

    Args:
        options: of the store.
        forgotten: as in ``Store.open``.

    Attributes:
        opened: done when the store is open, or was refused.
        rows: numbers for tasks to come.
        untold: what was written and nobody was told of, in order.
        writer: the thread.
    """

    def __init__(self, options: Options, forgotten: Callable[[Sequence[str]], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Opened] = self.loop.create_future()
        self.rows = itertools.count(1)
        self.untold: dict[int, Done | None] = {}
        self._numbers = itertools.count()
        self._written: list[Entry] = []
        self._asked: set[asyncio.Future[Any]] = set()
        self._to_tell: deque[tuple[Iterator[Entry], dict[int, AsyncProcessorError]]] = deque()
        self._forgotten = forgotten
        self._closing = False
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._way = RightOfWay(self.loop, lambda: bool(self.untold or self._asked))
        self.writer = Writer(
            options,
            Owner(self.loop, self._has_opened, self._told, self._has_forgotten, self._has_ended, self._way.moved),
        )
        self.writer.start()

    # ---- to the writer

    def write(self, change: Change | None, done: Done | None) -> None:
        """Hand a change over in the next turn of the loop; without one, only tell when its turn has come."""
        if self._closing:
            if done is not None:
                self.loop.call_soon(done, closed())
            return
        number = next(self._numbers)
        self.untold[number] = done
        self._written.append((number, change))
        if len(self._written) == 1:
            self.loop.call_soon(self._hand_over)

    async def ask(self, read: Callable[[sqlite3.Connection, Reader], _T]) -> _T:
        """Read something, after all that was written before.

        Raises:
            StoreError: it cannot be read now.
        """
        if self._closing:
            raise closed()
        self._hand_over()
        answer: asyncio.Future[_T] = self.loop.create_future()

        def answered(found: Any, error: StoreError | None) -> None:
            self._way.came()
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        self._asked.add(answer)
        answer.add_done_callback(self._asked.discard)
        self.writer.requests.put(Ask(read, answered))
        self._way.expect()
        return await answer

    async def aclose(self, timeout: float) -> None:
        """Let the writer end; after ``timeout`` seconds, without it."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self.writer.requests.put(Stop(time.monotonic() + timeout))
        await asyncio.wait((self._ended,), timeout=timeout + _GIVING_UP_S)
        if not self._ended.done() and not self.writer.abandon():
            self.writer.figures.failing = "the disk does not answer, and it is not known whether this was kept"
        # What the thread told of before is on its way.
        await asyncio.sleep(0)
        while self._to_tell:  # noqa: ASYNC110 - a few turns of the loop, at the end of a store
            await asyncio.sleep(0)
        self._give_up()

    def _hand_over(self) -> None:
        if self._written:
            self.writer.requests.put(self._written)
            self._written = []
            self._way.expect()

    def _give_up(self) -> None:
        """Nobody may wait for what will not come any more."""
        self._way.end()
        reason = self.writer.figures.failing or "there was no time left"
        left, self.untold = self.untold, {}
        for done in left.values():
            if done is not None:
                done(StoreError(f"the store was closed before this could be written: {reason}"))
        for answer in list(self._asked):
            if not answer.done():
                answer.set_exception(closed())

    # ---- from the writer, on the loop

    def _has_opened(self, opened: Opened | None, error: StoreError | None) -> None:
        if self.opened.done():
            return
        if opened is None:
            self.opened.set_exception(error or StoreError("the store could not be opened; the log says why"))
        else:
            self.opened.set_result(opened)

    def _told(self, entries: Sequence[Entry], errors: dict[int, AsyncProcessorError]) -> None:
        self._way.came()
        self._to_tell.append((iter(entries), errors))
        if len(self._to_tell) == 1:
            self._tell()

    def _tell(self) -> None:
        """Some in this turn of the loop, the others in the next ones."""
        entries, errors = self._to_tell[0]
        untold = self.untold
        try:
            for number, _ in islice(entries, _TOLD_AT_ONCE):
                done = untold.pop(number, None)
                if done is not None:
                    done(errors.get(number) if errors else None)
        finally:
            if not length_hint(entries):
                self._to_tell.popleft()
            if self._to_tell:
                self.loop.call_soon(self._tell)

    def _has_forgotten(self, keys: Sequence[str]) -> None:
        if not self._closing:
            self._forgotten(keys)

    def _has_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        self._has_opened(None, None)
        if not self._closing:
            # Only a fault of our own ends the thread before it is told to.
            self._closing = True
            self._give_up()


def closed() -> StoreError:
    """The error for whoever comes too late, or too early."""
    return StoreError("the store is closed")
