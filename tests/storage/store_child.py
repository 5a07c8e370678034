"""A process that owns a store, for tests that kill it, lock it out or let its disk fail. Run as a program:

    python -m tests.storage.store_child MODE PATH [ARGUMENT]

It prints one line for each thing that is now certain.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
from pathlib import Path

from tests.storage.old_versions import migrations_from_0
from tests.storage.store_kit import Desk, encoded, finished, say, sqlite_store, started

from async_processor.errors import AsyncProcessorError
from async_processor.storage import sqlite_schema
from async_processor.storage.base import TaskAccepted


async def hold(path: str) -> None:
    """Own the store until killed."""
    await sqlite_store(Path(path)).open(lambda _: None)
    say("open")
    await asyncio.Event().wait()


async def fill(path: str) -> None:
    """Accept, start and finish tasks as fast as can be; say of each what was told."""
    # A fast machine ends more tasks than are remembered by default.
    store = sqlite_store(Path(path), max_results=10**9)
    await store.open(lambda _: None)
    start = store.new_row()
    for number in itertools.count(start):
        for row in range(number * 100, number * 100 + 100):
            told = f"t{row}"
            store.write(TaskAccepted(row, encoded(told, spec=told.encode())), lambda _, told=told: say("kept", told))
            store.write(started(row))
            if row % 2:
                store.write(finished(row, value=told.encode()), lambda _, told=told: say("ended", told))
        await store.flush()


async def single(path: str) -> None:
    """Write so many tasks one by one, and go on over all errors."""
    store = sqlite_store(Path(path))
    await store.open(lambda _: None)
    desk = Desk(store)
    for number in range(int(sys.argv[3])):
        row = store.new_row()
        error = (await desk.write(TaskAccepted(row, encoded(f"t{number}"))))[0]
        say("kept" if error is None else "refused", f"t{number}", "" if error is None else error)
        if error is None and number % 2:
            store.write(finished(row), lambda error, number=number: say("ended", f"t{number}", error or ""))
        if store.statistics().failing:
            say("failing", store.statistics().failing)
    await store.aclose(2.0)
    say("closed")


async def once(path: str) -> None:
    """A whole short life, telling what was told."""
    store = sqlite_store(Path(path), result_file_bytes=1_000, max_results=0)
    await store.open(lambda _: None)
    say("open")
    desk = Desk(store)
    row = store.new_row()
    for change in (
        TaskAccepted(row, encoded("a", depends_on=["b"], key="k")),
        started(row),
        finished(row, value=b"v" * 2_000),
    ):
        await desk.keep(change)
        say("kept", type(change).__name__)
    await store.aclose(5.0)
    say("closed")


async def once_until(path: str) -> None:
    """The same, killed before its nth statement."""
    kill_at_statement(int(sys.argv[3]))
    await once(path)


async def migrate_until(path: str) -> None:
    """Open a store of an older version, killed before the nth statement."""
    kill_at_statement(int(sys.argv[3]))
    sqlite_schema.open_database(path, "power", migrations_from_0()).close()
    say("migrated")


def kill_at_statement(number: int) -> None:
    """Die right before that statement, counted over all connections, but for those that touch no file."""
    connect = sqlite3.connect
    left = number

    def count(text: str) -> None:
        nonlocal left
        left -= "CREATE TEMP" not in text
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def connected(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = connected  # type: ignore[assignment]


MODES = {item.__name__: item for item in (hold, fill, single, once, once_until, migrate_until)}

if __name__ == "__main__":
    try:
        asyncio.run(MODES[sys.argv[1]](sys.argv[2]))
    except AsyncProcessorError as error:
        say(type(error).__name__, error)
