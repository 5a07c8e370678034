"""Many changes in one statement, whatever order they come in and however many there are."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.store_kit import NOW, encoded, finished, opened, sqlite_store, started

from async_processor.model import TaskStatus
from async_processor.storage.base import (
    AttemptRetried,
    CancelRequested,
    Change,
    HandedBack,
    StoredTask,
    TaskAccepted,
    TaskProgressed,
)
from async_processor.storage.memory import MemoryStore
from async_processor.storage.result_files import ResultFiles
from async_processor.storage.sql_files import script
from async_processor.storage.sqlite_changes import Changes
from async_processor.storage.sqlite_schema import open_database, transaction
from async_processor.storage.sqlite_staging import MOST_ROWS, carry_out

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_database(str(path), "process")) as connection:
        yield connection


COUNT = """
SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM dependencies), (SELECT count(*) FROM unfinished),
    (SELECT count(*) FROM finished), (SELECT count(*) FROM staged)
"""


def counts(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Rows in tasks, dependencies, unfinished, finished and staged."""
    found: tuple[int, ...] = connection.execute(COUNT).fetchone()
    return found


def test_a_group_of_changes_is_one_statement(path: Path, connection: sqlite3.Connection):
    group: list[Change] = []
    for row in range(1, 101):
        group += [TaskAccepted(row, encoded(f"t{row}", depends_on=("a", "b"))), started(row)]
    group += [finished(row) for row in range(1, 51)]
    group += [AttemptRetried(51, 1, NOW, "again"), started(51, 2), CancelRequested(52), HandedBack(53)]
    staged, ends = Changes(ResultFiles(str(path)), 1_000).prepare(group)

    certain = carry_out(staged, connection)

    assert len(staged.pieces) == 1
    assert not connection.in_transaction
    assert certain
    assert (ends.completed, ends.other) == (50, 0)
    assert counts(connection) == (100, 200, 50, 50, 0)


def test_more_than_fits_into_a_statement_is_carried_out_whole(path: Path, connection: sqlite3.Connection):
    group: list[Change] = [TaskAccepted(row, encoded(f"t{row}")) for row in range(1, 2 * MOST_ROWS)]
    group += [finished(row, TaskStatus.FAILED) for row in range(1, 2 * MOST_ROWS)]
    staged, ends = Changes(ResultFiles(str(path)), 1_000).prepare(group)

    with transaction(connection):
        certain = carry_out(staged, connection)

    assert len(staged.pieces) > 1
    assert certain
    assert ends.other == 2 * MOST_ROWS - 1
    assert counts(connection) == (ends.other, 0, 0, ends.other, 0)


def test_a_statement_that_fails_leaves_nothing_behind(path: Path, connection: sqlite3.Connection):
    changes = Changes(ResultFiles(str(path)), 1_000)
    group = [TaskAccepted(row, encoded(f"t{row}")) for row in range(1, 21)]

    with pytest.raises(sqlite3.IntegrityError, match=r"tasks\.id"):
        carry_out(changes.prepare([*group, TaskAccepted(21, encoded("t1"))]).staged, connection)
    assert counts(connection) == (0, 0, 0, 0, 0)
    assert not connection.in_transaction

    assert carry_out(changes.prepare(group).staged, connection)
    assert counts(connection) == (20, 0, 20, 0, 0)


def test_no_step_scans_what_is_kept_and_to_start_an_attempt_touches_no_index(connection: sqlite3.Connection):
    bodies = re.findall(r"ON steps WHEN NEW\.step = '\w+' BEGIN(.*?)END;", script("staging.sql"), re.DOTALL)
    plans = [
        row[3]
        for body in bodies
        for text in body.split(";")[:-1]
        for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")
    ]

    assert len(bodies) == 8
    assert {plan for plan in plans if plan.startswith("SCAN")} <= {"SCAN staged", "SCAN new"}
    assert any(plan.startswith("SEARCH unfinished USING INTEGER PRIMARY KEY") for plan in plans)
    indexed = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'unfinished'")
    assert indexed.fetchall() == []


def history(dice: random.Random, row: int) -> list[Change]:
    """All that may happen to one task, up to somewhere."""
    task = encoded(f"t{row}", depends_on=("x",) * dice.randrange(2))
    found: list[Change] = [TaskAccepted(row, task)]
    for attempt in range(1, dice.randrange(1, 4)):
        found.append(started(row, attempt, NOW + attempt))
        found += [TaskProgressed(row, step / 4, f"step {step}") for step in range(dice.randrange(3))]
        found += dice.choice([[AttemptRetried(row, attempt, NOW + 9, "again")], [HandedBack(row)], []])
    if dice.random() < 0.2:
        found.append(CancelRequested(row))
    if dice.random() < 0.6:
        found.append(finished(row, dice.choice([TaskStatus.COMPLETED, TaskStatus.FAILED]), NOW + 5))
    return found[: dice.randrange(1, len(found) + 1)]


@pytest.mark.parametrize("seed", range(8))
async def test_groups_of_any_make_leave_what_single_changes_leave(path: Path, seed: int):
    dice = random.Random(seed)
    histories = [history(dice, row) for row in range(1, 41)]
    changes: list[Change] = []
    while left := [items for items in histories if items]:
        changes.append(dice.choice(left).pop(0))
    names = [f"t{row}" for row in range(1, 41)]

    async def found(store: object, *, groups: bool) -> dict[str, StoredTask]:
        async with opened(store) as desk:
            for _ in names:
                desk.store.new_row()
            for change in changes:
                desk.store.write(change)
                if groups and dice.random() < 0.05:
                    await asyncio.sleep(0)
            await desk.store.flush()
            return await desk.store.find(names)

    single = await found(MemoryStore(wall=lambda: NOW), groups=False)
    assert await found(sqlite_store(path), groups=True) == single


async def test_ends_that_come_twice_do_not_count_twice(path: Path):
    """Retention forgets what is beyond a number of ended tasks: were they counted wrongly, it would forget too many."""
    async with opened(sqlite_store(path, max_results=20)) as desk:
        rows = [await desk.accept(f"t{number}") for number in range(20)]
        for _ in range(60):
            await desk.keep(*(finished(row) for row in rows))

        # As many ends as make it look.
        assert await desk.ids(*(f"t{number}" for number in range(20))) == {f"t{number}" for number in range(20)}
        await desk.accept("one more")
        assert len(await desk.ids(*(f"t{number}" for number in range(20)))) == 20
