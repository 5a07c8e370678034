"""W6 by hand: the limit. One thread with SQLite that commits whatever has come in meanwhile; no scheduler, no slots.

A task is answered for twice: when it and its start are kept, and when its end is.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

_SCHEMA = """
CREATE TABLE tasks (
    row INTEGER PRIMARY KEY, type TEXT NOT NULL, payload BLOB NOT NULL, state INTEGER NOT NULL,
    attempt INTEGER NOT NULL, result BLOB
) STRICT
"""
_INSERT = "INSERT INTO tasks (row, type, payload, state, attempt) VALUES (?, ?, ?, 0, 0)"
_START = "UPDATE tasks SET state = 1, attempt = attempt + 1 WHERE row = ?"
_FINISH = "UPDATE tasks SET state = 2, result = ? WHERE row = ?"

_Step = tuple[str, tuple[Any, ...], "asyncio.Future[None] | None"]


async def _successor(number: int) -> int:
    return number + 1


class GroupCommit:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._path = folder / "tasks.db"
        self._synchronous = "FULL" if power else "NORMAL"
        self._steps: list[_Step] = []
        self._batches: queue.SimpleQueue[list[_Step] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    async def successor(self, number: int) -> int:
        accepted, finished = self._loop.create_future(), self._loop.create_future()
        self._add((_INSERT, (number, "successor", json.dumps({"number": number}).encode()), None))
        self._add((_START, (number,), accepted))
        await accepted
        result = await _successor(number)
        self._add((_FINISH, (json.dumps(result).encode(), number), finished))
        await finished
        return result

    async def kept(self) -> int:
        with sqlite3.connect(self._path) as connection:
            rows = connection.execute("SELECT row, result FROM tasks WHERE state = 2 AND attempt = 1").fetchall()
        return sum(json.loads(result) == row + 1 for row, result in rows)

    def _add(self, step: _Step) -> None:
        self._steps.append(step)
        if len(self._steps) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._batches.put(self._steps)
        self._steps = []

    def _write(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute(_SCHEMA)
        while (steps := self._batches.get()) is not None:
            while not self._batches.empty():
                more = self._batches.get()
                if more is None:
                    self._batches.put(None)
                    break
                steps += more
            # Inserts, starts, ends: in this order a task may have all three in one batch.
            steps.sort(key=lambda step: (_INSERT, _START, _FINISH).index(step[0]))
            connection.execute("BEGIN IMMEDIATE")
            for statement, run in groupby(steps, itemgetter(0)):
                connection.executemany(statement, [parameters for _, parameters, _ in run])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, steps)
        connection.close()


def _tell(steps: list[_Step]) -> None:
    for _, _, told in steps:
        if told is not None:
            told.set_result(None)
