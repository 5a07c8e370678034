from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processors.database.kit import AnyDatabase, Caller, PostgresqlDatabase, SqliteFile
from tests.processors.database.server import NoServerError, Server, running


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """One server for all tests; without one those that need it are skipped, and say so."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except NoServerError as error:
            pytest.skip(str(error))
        asyncio.run(PostgresqlDatabase(server).make_database())
        yield server


@pytest.fixture
async def sqlite(tmp_path: Path) -> SqliteFile:
    database = SqliteFile(tmp_path / "toys.db")
    await database.make()
    return database


@pytest.fixture
async def postgresql(postgresql_server: Server) -> PostgresqlDatabase:
    database = PostgresqlDatabase(postgresql_server)
    await database.make()
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> AnyDatabase:
    """A database with the toys in it; each test runs on both kinds."""
    found: AnyDatabase = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def opened(no_leaks: None) -> AsyncIterator[Callable[..., Caller]]:
    """Makes callers of the processor function, and closes them."""
    callers: list[Caller] = []

    def make(url: str, **settings: Any) -> Caller:
        callers.append(Caller(url, **settings))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.aclose()


@pytest.fixture
def call(database: AnyDatabase, opened: Callable[..., Caller]) -> Caller:
    """Calls the processor function on the database."""
    return opened(database.url)
