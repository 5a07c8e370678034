"""Procrastinate on a PostgreSQL of its own, on loopback, with its worker in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any, Self

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from tests.processors.database.server import NoServerError, Server, programs, running

from benchmarks import durable
from benchmarks import functions as body
from benchmarks.durable import workloads
from benchmarks.system import Adapters, Call, Calls

NAME = "procrastinate"
PACKAGE = "procrastinate"
ABOUT = "jobs in PostgreSQL: what waits survives, what runs can be taken up again; results are not kept"
_URGENT = 10
# The pool that worker and submitters share.
_CONNECTIONS = 20


def missing() -> str | None:
    """Why it cannot be measured here, or None."""
    try:
        programs()
    except NoServerError as error:
        return str(error)
    return None


class _Manager(JobManager):
    """Tells of a job when its end is stored, for Procrastinate itself has no results to wait for."""

    def __init__(self, connector: PsycopgConnector) -> None:
        super().__init__(connector)
        self.values: dict[int, Any] = {}
        self.futures: dict[int, asyncio.Future[Any]] = {}

    def of(self, job: int) -> asyncio.Future[Any]:
        return self.futures.setdefault(job, asyncio.get_running_loop().create_future())

    async def keep_value(self, run: Any, context: Any, worker: Any) -> Any:
        """Middleware of the worker: what the function gave."""
        value = self.values[context.job.id] = await run()
        return value

    async def finish_job(self, job: Job, status: Any, delete_job: bool) -> None:
        await super().finish_job(job, status, delete_job)
        if job.id is not None:
            self.of(job.id).set_result(self.values.pop(job.id))


class _Jobs:
    """A server, an application and its worker, until closed; the server stays until it is stopped."""

    def __init__(self, *, power: bool) -> None:
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "max_connections": str(2 * _CONNECTIONS),
            "shared_buffers": "256MB",
            # Off loses the last moments in a crash of the server too, so a little more than our "process".
            "synchronous_commit": "on" if power else "off",
        }
        self._server = contextlib.ExitStack()

    async def open(self, slots: int) -> None:
        for name in ("procrastinate", "psycopg.pool"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.server: Server = await asyncio.to_thread(self._server.enter_context, running(self._settings))
        connector = PsycopgConnector(
            conninfo=self.server.url(database="postgres"), min_size=_CONNECTIONS, max_size=_CONNECTIONS
        )
        app = App(connector=connector)
        self.manager = app.job_manager = _Manager(connector)
        self.tasks = {name: app.task(name=name)(body.COROUTINES[name]) for name in ("noop", "nap", "successor")}
        self._app = app
        await app.open_async()
        await app.schema_manager.apply_schema_async()
        self._worker = asyncio.create_task(
            app.run_worker_async(
                concurrency=slots,
                install_signal_handlers=False,
                worker_middleware=[self.manager.keep_value],
                # It misses a notification that comes while it looks for jobs, and would sleep for 5 s.
                fetch_job_polling_interval=0.02,
            )
        )

    async def close(self) -> None:
        self._worker.cancel()
        await asyncio.wait([self._worker])
        await self._app.close_async()

    async def stop_server(self) -> None:
        await asyncio.to_thread(self._server.close)


class Procrastinate(Calls):
    """Jobs by priority."""

    share = 0.5

    async def __aenter__(self) -> Self:
        self._jobs = _Jobs(power=True)
        await self._jobs.open(body.SLOTS)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._jobs.close()
        await self._jobs.stop_server()

    async def call(self, call: Call) -> asyncio.Future[Any]:
        task = self._jobs.tasks[call.body].configure(priority=_URGENT if call.urgent else 0)
        arguments = {"seconds": call.arguments[0]} if call.arguments else {}
        return self._jobs.manager.of(await task.defer_async(**arguments))


class ProcrastinateDurable:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._jobs = _Jobs(power=power)

    async def __aenter__(self) -> Self:
        await self._jobs.open(durable.SLOTS)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._jobs.close()

    async def successor(self, number: int) -> int:
        job = await self._jobs.tasks["successor"].defer_async(number=number)
        result: int = await self._jobs.manager.of(job)
        return result

    async def kept(self) -> int:
        url = self._jobs.server.url(database="postgres")
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
        await self._jobs.stop_server()
        return int(rows[0]) if rows else 0


ADAPTERS: Adapters = {"W4": Procrastinate, **workloads(ProcrastinateDurable)}
