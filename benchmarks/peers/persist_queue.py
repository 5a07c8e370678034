"""persist-queue's SQLiteAckQueue, with workers written by hand: it is a queue, without functions or results."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self

from persistqueue import Empty, SQLiteAckQueue
from persistqueue.sqlackqueue import AckStatus

from benchmarks.durable import workloads
from benchmarks.system import Adapters

NAME = "persist-queue"
PACKAGE = "persist-queue"
ABOUT = "SQLiteAckQueue: what waits survives, what runs runs again; results are not kept; waits for the disk always"
PATIENCE_S = 0.05


class Queue:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._folder = folder
        self._queue = SQLiteAckQueue(str(folder), multithreading=True)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._worker.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._worker.join)
        self._queue.close()

    async def successor(self, number: int) -> int:
        done = self._waiting[number] = self._loop.create_future()
        # A plain call, so the loop waits for the file.
        self._queue.put({"number": number})
        return await done

    async def kept(self) -> int:
        with sqlite3.connect(self._folder / "data.db") as connection:
            statement = "SELECT count(*) FROM ack_queue_default WHERE status = ?"
            (count,) = connection.execute(statement, (AckStatus.acked,)).fetchone()
        return int(count)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item: dict[str, Any] = self._queue.get(timeout=PATIENCE_S, raw=True)
            except Empty:
                continue
            number = item["data"]["number"]
            result = number + 1
            self._queue.ack(item)
            self._loop.call_soon_threadsafe(self._waiting.pop(number).set_result, result)


ADAPTERS: Adapters = workloads(Queue)
