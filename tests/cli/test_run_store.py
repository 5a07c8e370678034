"""``async-processor run`` ended by a signal while its store is busy with itself: migrating, or forgetting."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from tests.cli.running import SLACK_S, Launch, ended
from tests.cli.stores import make_older, make_store

from async_processor.storage.sqlite_view import StoreView

WAITING = 500
COMPLETED = 20_000
KEPT = 10
OLD_COMMAND = [sys.executable, "-m", "tests.cli.old_command"]


def ask(path: Path, question: str) -> list[tuple[int | str, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture(scope="module")
def old_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of "version 0"."""
    path = make_store(tmp_path_factory.mktemp("old") / "tasks.db", waiting=WAITING)
    make_older(path)
    return path


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that remembers far more completed tasks than it is to, and some that wait."""
    return make_store(tmp_path_factory.mktemp("full") / "tasks.db", waiting=WAITING, completed=COMPLETED)


@pytest.mark.parametrize("delay", [0.0, 0.2, 1.5])
def test_sigterm_during_a_migration_loses_nothing(delay: float, launch: Launch, tmp_path: Path, old_store: Path):  # D12
    path = tmp_path / "tasks.db"
    shutil.copy(old_store, path)
    program = launch("setup", "--timeout", "0.5", command=OLD_COMMAND)
    # The lock comes first: the store is migrated from then on.
    program.until((tmp_path / "tasks.db-lock").exists)
    time.sleep(delay)  # The moment is what is being tried.
    program.process.terminate()
    code, said, seconds = ended(program)

    assert code == 143, said
    assert said.startswith("async-processor run: stopped by SIGTERM; ")
    assert "Traceback" not in said
    assert seconds <= 0.5 + 1.0 + SLACK_S
    # It is as it was, or as it is to be, and nothing in between.
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    ((version,),) = ask(path, "PRAGMA user_version")
    assert ask(path, f"SELECT count(*) FROM {('old_tasks', 'tasks')[int(version)]}") == [(WAITING,)]  # noqa: S608

    code, _, error = launch("setup", "--until-idle", command=OLD_COMMAND).end()
    assert (code, error) == (0, "")
    assert StoreView(str(path)).counts().by_type == {"nap": {"completed": WAITING}}


@pytest.mark.parametrize("share", [0.99, 0.3])
def test_sigterm_while_old_results_are_forgotten_loses_nothing_else(
    share: float, launch: Launch, tmp_path: Path, full_store: Path
):  # D12
    path = tmp_path / "tasks.db"
    shutil.copy(full_store, path)
    newest = ask(path, "SELECT row FROM finished ORDER BY row DESC")[:KEPT]
    settings = {"ASYNC_PROCESSOR_MAX_RESULTS": str(KEPT)}
    # Without the function: the tasks that wait go on waiting, and add no results of their own.
    program = launch("idle", "--timeout", "0.5", **settings)
    program.until(lambda: ask(path, "SELECT count(*) FROM finished")[0][0] <= COMPLETED * share)  # type: ignore[operator]
    program.process.terminate()
    code, said, seconds = ended(program)

    assert code == 143, said
    assert said == f"async-processor run: stopped by SIGTERM; {WAITING} tasks stay in the store for the next start\n"
    assert seconds <= 0.5 + 1.0 + SLACK_S
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    # It was in the middle of it; what is gone is gone as a whole, and none of those that were to be kept.
    left = ask(path, "SELECT row FROM finished ORDER BY row DESC")
    assert KEPT < len(left) < COMPLETED
    assert left[:KEPT] == newest
    assert ask(path, "SELECT count(*) FROM tasks") == [(WAITING + len(left),)]

    second = launch("idle", "--timeout", "0.5", **settings)
    second.until(lambda: ask(path, "SELECT row FROM finished ORDER BY row DESC") == newest)
    second.process.terminate()
    assert ended(second)[0] == 143
    code, _, error = launch("setup", "--until-idle").end()
    assert (code, error) == (0, "")
    assert StoreView(str(path)).counts().of_status("completed") == KEPT + WAITING
