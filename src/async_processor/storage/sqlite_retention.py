"""Forgetting finished tasks: by age and by number, in transactions so short that nobody waits for them."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_changes import Ends
from .sqlite_schema import Totals, transaction

SLICE = 200
"""Tasks erased in one transaction."""
_ENDS = 1_000
_SECONDS = 5.0
IDLE_S = 60.0
"""How often to look when nothing ends."""


Ended = tuple[int, str | None, str | None]
"""A task that may go: its row, its idempotency key, and the file of its result."""


class Limits(NamedTuple):
    """How many tasks of one sort are remembered, and for how long."""

    most: int
    ttl_s: float


class Retention:
    """What is kept of the finished tasks of one store.

    Args:
        completed, other: limits for tasks that completed, and for those that ended otherwise.
        files: erased with the tasks whose values they hold.
        wall: tells the time, in seconds since the epoch.
    """

    def __init__(self, completed: Limits, other: Limits, files: ResultFiles, wall: Callable[[], float]) -> None:
        self._limits = {"oldest_completed": completed, "oldest_not_completed": other}
        self._kept = dict.fromkeys(self._limits, 0)
        self._files = files
        self._wall = wall
        self._ends = 0
        self._looked = 0.0
        self._more = True
        self._miscounted = False

    def begin(self, totals: Totals) -> None:
        """Take over what a store held when it was opened."""
        self._kept = {
            "oldest_completed": totals.completed,
            "oldest_not_completed": totals.finished - totals.completed,
        }

    def ended(self, ends: Ends, *, certain: bool) -> None:
        """Count tasks that have ended, after their commit.

        Args:
            ends: how many.
            certain: whether they are; otherwise they are counted in the database before it is acted on.
        """
        self._miscounted = self._miscounted or not certain
        self._kept["oldest_completed"] += ends.completed
        self._kept["oldest_not_completed"] += ends.other
        self._ends += ends.completed + ends.other

    def due_in(self) -> float:
        """Seconds until it is time to look again."""
        if self._more or self._ends >= _ENDS:
            return 0.0
        return max(0.0, self._looked + (_SECONDS if self._ends else IDLE_S) - time.monotonic())

    def erase_some(self, connection: sqlite3.Connection, *, durable: bool) -> list[str]:
        """Forget one slice of what is beyond the limits. Returns the idempotency keys that went with it."""
        self._looked, self._ends, self._more = time.monotonic(), 0, False
        keys: list[str] = []
        if self._miscounted:
            counts = connection.execute(statements()["count_finished"].text).fetchone()
            self._kept = dict(zip(self._limits, counts, strict=True))
            self._miscounted = False
        for name in self._limits:
            found = self._beyond(connection, name)
            if found:
                self._erase(connection, found, durable=durable)
                self._kept[name] -= len(found)
                self._more = self._more or len(found) == SLICE
                keys += [key for _, key, _ in found if key is not None]
        return keys

    def postpone(self) -> None:
        """Look again after a while: this time it did not work."""
        self._looked, self._ends, self._more = time.monotonic(), 0, False

    def _beyond(self, connection: sqlite3.Connection, name: str) -> list[Ended]:
        limits = self._limits[name]
        excess = min(SLICE, self._kept[name] - limits.most)
        found = _oldest(connection, name, self._wall() - limits.ttl_s, SLICE)
        # Both are the first of one order, so that the longer one has the other in it.
        return _oldest(connection, name, math.inf, excess) if excess > len(found) else found

    def _erase(self, connection: sqlite3.Connection, found: Sequence[Ended], *, durable: bool) -> None:
        rows = [(row,) for row, _, _ in found]
        named = statements()
        files = {file for *_, file in found if file is not None}
        # Nobody was promised that it is gone. Only a file must not go before the row that names it, at no durability.
        usual = "FULL" if durable else "NORMAL"
        with _synchronous(connection, "FULL" if files else "NORMAL", usual), transaction(connection):
            for name in ("erase_dependencies", "erase_finished", "erase_tasks"):
                named[name].write(connection, rows)
        for file in files:
            if connection.execute(named["rows_of_file"].text, (file,)).fetchone()[0] == 0:
                self._files.drop(file)


def _oldest(connection: sqlite3.Connection, name: str, until: float, most: int) -> list[Ended]:
    found: str = connection.execute(statements()[name].text, (until, most)).fetchone()[0]
    return [(row, key, file) for row, key, file in json.loads(found)]


@contextlib.contextmanager
def _synchronous(connection: sqlite3.Connection, level: str, usual: str) -> Iterator[None]:
    if level == usual:
        yield
        return
    connection.execute(f"PRAGMA synchronous = {level}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA synchronous = {usual}")
