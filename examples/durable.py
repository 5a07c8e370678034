"""Survives kill -9: stars are booked by a program that is killed in the middle, and none is booked twice or lost.

    python examples/durable.py

The program starts itself as a worker. The worker's first life ends by SIGKILL right after a booking, before anybody
could note that it was done; the second goes on with what the store holds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from async_processor import AdvancedAsyncProcessor, ProcessingTask, TaskContext, create_task

BOOKINGS = 20
KILLED_AFTER = 7


def book(task: ProcessingTask, context: TaskContext) -> int:
    """Give a child its stars, once per task however often this runs: the deed and its note are one transaction."""
    with closing(sqlite3.connect(task.payload["accounts"], timeout=10)) as accounts, accounts:
        is_new = accounts.execute("INSERT OR IGNORE INTO done VALUES (?)", (context.idempotency_key,)).rowcount
        if is_new:
            accounts.execute("UPDATE account SET stars = stars + ?", (task.payload["stars"],))
        number = int(accounts.execute("SELECT count(*) FROM done").fetchone()[0])
    if number == KILLED_AFTER and context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


async def work(folder: Path) -> None:
    """One life of the worker."""
    async with AdvancedAsyncProcessor(store=f"sqlite:///{folder / 'tasks.db'}", max_thread_workers=1) as processor:
        processor.register_processor("book", book)
        ids = [
            # The key names the work: after a restart it leads to the task that is there already.
            await processor.submit_task(
                create_task(
                    "book", {"accounts": str(folder / "accounts.db"), "stars": 1}, idempotency_key=f"star-{number}"
                )
            )
            for number in range(BOOKINGS)
        ]
        results = [await processor.wait_for_task(task_id) for task_id in ids]
        again = sum(result.attempts > 1 for result in results)
        print(f"{sum(result.ok for result in results)} bookings done, {again} of them in a second attempt")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(sqlite3.connect(folder / "accounts.db")) as accounts, accounts:
            accounts.execute("CREATE TABLE account (stars INTEGER)")
            accounts.execute("CREATE TABLE done (key TEXT PRIMARY KEY)")
            accounts.execute("INSERT INTO account VALUES (0)")
        for life in (1, 2):
            # Workers that were just being started complain that their parent is gone; that is of no interest here.
            ended = subprocess.run([sys.executable, __file__, "--work", name], stderr=subprocess.DEVNULL, check=False)
            print(f"life {life} ended with {how(ended.returncode)}")
        with closing(sqlite3.connect(folder / "accounts.db")) as accounts:
            (stars,) = accounts.execute("SELECT stars FROM account").fetchone()
        print(f"{stars} stars of {BOOKINGS}")


def how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    if "--work" in sys.argv:
        asyncio.run(work(Path(sys.argv[-1])))
    else:
        main()
