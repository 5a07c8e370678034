"""What the tests of DATABASE_OPERATION share: databases of both kinds, and a second way to look into each."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
from tests.processors.database.server import DATABASE, Server
from tests.results.kit import typed

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskResult, create_task
from async_processor.config import DatabaseConfig, ProcessorConfig
from async_processor.context import TaskContext
from async_processor.errors import AsyncProcessorError
from async_processor.processors.database_operation import DatabaseOperations

TOYS = [
    {"id": 1, "name": "bear", "price": 12.5, "kind": "soft"},
    {"id": 2, "name": "car", "price": 7.0, "kind": "hard"},
    {"id": 3, "name": "owl", "price": 20.0, "kind": None},
]
# What a statement that never ends looks like, on both.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

_SCHEMA = """
CREATE TABLE toys (
    id {serial},
    name text NOT NULL UNIQUE,
    price {double},
    kind text,
    "odd ""name" text,
    CONSTRAINT price_is_no_debt CHECK (price >= 0)
);
CREATE TABLE parts (toy_id integer NOT NULL REFERENCES toys (id), label text);
CREATE TABLE done (idempotency_key text PRIMARY KEY);
CREATE TABLE plain (a integer, b text);
CREATE VIEW cheap AS SELECT id, name FROM toys WHERE price < 10;
INSERT INTO toys (name, price, kind) VALUES ('bear', 12.5, 'soft'), ('car', 7.0, 'hard'), ('owl', 20.0, NULL);
"""


class SqliteFile:
    """A database in a file, with a sqlite3 connection of its own for looking into it."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.secret = str(path)

    async def make(self) -> None:
        await self.execute(_SCHEMA.format(serial="integer PRIMARY KEY", double="real"))

    async def execute(self, script: str) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    async def fetch(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Another program holds the lock of the table toys."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    async def running(self) -> int | None:
        """Statements of tasks that run on the server; None without one."""
        return None


class PostgresqlDatabase:
    """The session's server, emptied, with an asyncpg connection of its own for looking into it."""

    kind = "postgresql"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url()

    @contextlib.asynccontextmanager
    async def connection(self, database: str = DATABASE) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.server.url(database=database))
        try:
            yield connection
        finally:
            await connection.close()

    async def make_database(self) -> None:
        async with self.connection("postgres") as connection:
            await connection.execute(f"CREATE DATABASE {DATABASE}")

    async def make(self) -> None:
        schema = _SCHEMA.format(serial="serial PRIMARY KEY", double="double precision")
        await self.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {schema}")

    async def execute(self, script: str) -> None:
        async with self.connection() as connection:
            await connection.execute(script)

    async def fetch(self, query: str) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            return [tuple(row) for row in await connection.fetch(query)]

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        async with self.connection() as connection:
            await connection.execute("BEGIN; LOCK TABLE toys IN ACCESS EXCLUSIVE MODE")
            yield
            await connection.execute("ROLLBACK")

    async def running(self) -> int | None:
        return len(
            await self.fetch(_OF_TASKS.format(state="state = 'active' AND wait_event IS DISTINCT FROM 'ClientRead'"))
        )

    async def connected(self) -> int:
        return len(await self.fetch(_OF_TASKS.format(state="true")))


_OF_TASKS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'async-processor' AND {state}"

AnyDatabase = SqliteFile | PostgresqlDatabase


async def until(condition: Any, *, within_s: float = 5.0) -> None:
    """Wait until an async condition holds: what other processes do, nobody tells us."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - it is the database that is asked
            await asyncio.sleep(0.005)


class Caller:
    """Calls the processor function as the lane does, without a processor around it."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = DatabaseConfig(connections={"default": url}, **settings)
        self.operations = DatabaseOperations(self.settings)

    async def __call__(self, key: str | None = None, /, **payload: Any) -> dict[str, Any]:
        task = create_task(ProcessingType.DATABASE_OPERATION, payload)
        context = TaskContext(task_id=task.id, task_type=task.task_type, idempotency_key=key)
        return typed(task.task_type, await self.operations(task, context))

    async def sql(self, text: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self(operation="sql", sql=text, parameters=parameters)

    async def failure(self, **payload: Any) -> AsyncProcessorError:
        """The error of an operation that must fail."""
        try:
            result = await self(**payload)
        except AsyncProcessorError as error:
            return error
        raise AssertionError(f"it did not fail: {result}")

    async def sql_failure(self, text: str, parameters: dict[str, Any] | None = None) -> AsyncProcessorError:
        return await self.failure(operation="sql", sql=text, parameters=parameters)

    async def aclose(self) -> None:
        await self.operations.aclose()


def processor(url: str, *, slots: int = 1, **settings: Any) -> AdvancedAsyncProcessor:
    """A real processor with one connection."""
    database = DatabaseConfig(connections={"default": url}, **settings)
    return AdvancedAsyncProcessor(
        slots, 1, 1, config=ProcessorConfig(database=database, retry_base_s=0.01, retry_max_s=0.05)
    )


async def outcome(processor: AdvancedAsyncProcessor, payload: dict[str, Any], **options: Any) -> TaskResult:
    """Submit and wait."""
    task = create_task(ProcessingType.DATABASE_OPERATION, payload, **options)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=30)
