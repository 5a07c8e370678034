"""huey with its storage in SQLite, and for what need not last in memory: a consumer in threads of this process."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Self

from huey import MemoryHuey, SqliteHuey
from huey.api import Huey as BaseHuey
from huey.consumer import Consumer
from huey.signals import SIGNAL_COMPLETE

from benchmarks import functions as body
from benchmarks.durable import workloads
from benchmarks.system import Adapters, Call, Calls

NAME = "huey"
PACKAGE = "huey"
ABOUT = "SqliteHuey: what waits survives; what runs is lost, a task leaves the file when a worker takes it"
# All share one connection and its lock.
WORKERS = 2
PAUSE_S = 0.001
_URGENT = 10


class Consumed:
    """A huey whose tasks are done in threads of this process, and who waits for them.

    Args:
        huey: the queue.
        workers: how many threads.
    """

    def __init__(self, huey: BaseHuey, workers: int) -> None:
        self._huey = huey
        self._waiting: dict[str, asyncio.Future[None]] = {}
        huey.signal(SIGNAL_COMPLETE)(self._completed)
        self._consumer = Consumer(
            huey, workers=workers, periodic=False, initial_delay=PAUSE_S, max_delay=PAUSE_S,
            check_worker_health=False,
        )  # fmt: skip

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumer.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._consumer.stop, graceful=True)

    def enqueue(self, task: Any) -> tuple[Any, asyncio.Future[None]]:
        """Hand a task in, by a plain call: its handle, and what is done when it is."""
        done = self._waiting[task.id] = self._loop.create_future()
        return self._huey.enqueue(task), done

    def _completed(self, _signal: str, task: Any, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._waiting.pop(task.id).set_result, None)


class Huey:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._path = folder / "huey.db"
        # Its other setting would be synchronous=OFF.
        self._huey = SqliteHuey(filename=str(self._path), fsync=True if power else None)
        if not power:
            self._huey.storage.conn.execute("PRAGMA synchronous = NORMAL")
        self._task = self._huey.task()(successor)
        self._consumed = Consumed(self._huey, WORKERS)

    async def __aenter__(self) -> Self:
        self._consumed.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._consumed.stop()
        self._huey.storage.close()

    async def successor(self, number: int) -> int:
        # The loop waits for the file.
        handle, done = self._consumed.enqueue(self._task.s(number))
        await done
        result: int = handle.get(preserve=True)
        return result

    async def kept(self) -> int:
        with sqlite3.connect(self._path) as connection:
            (count,) = connection.execute("SELECT count(*) FROM kv").fetchone()
        return int(count)


def successor(number: int) -> int:
    return number + 1


class HueyInMemory(Calls):
    """Tasks by priority, in as many threads as there are slots. Tells of ends by its signal; a nap has no result."""

    share = 0.5

    def __init__(self) -> None:
        huey = MemoryHuey()
        self._tasks = {name: huey.task()(body.PLAIN[name]) for name in ("noop", "nap")}
        self._consumed = Consumed(huey, body.SLOTS)

    async def __aenter__(self) -> Self:
        self._consumed.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._consumed.stop()

    async def call(self, call: Call) -> asyncio.Future[None]:
        task = self._tasks[call.body].s(*call.arguments, priority=_URGENT if call.urgent else 0)
        _, done = self._consumed.enqueue(task)
        return done


ADAPTERS: Adapters = {"W4": HueyInMemory, **workloads(Huey)}
