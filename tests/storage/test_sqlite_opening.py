"""What a file must be to be opened as a store, and what becomes of one that is not."""

# ruff: noqa: ASYNC240 - files are looked at while nothing else wants the loop

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.source_code import ROOT
from tests.storage.old_versions import make_version_0, migrations_from_0
from tests.storage.store_kit import NOW, Desk, encoded, eventually, finished, opened, sqlite_store, started

from async_processor.errors import StoreError, StoreFormatError
from async_processor.model import TaskStatus
from async_processor.storage.base import AttemptRetried, StoredTask, TaskAccepted, TaskProgressed
from async_processor.storage.sqlite_schema import APPLICATION_ID, VERSION, open_database

pytestmark = pytest.mark.usefixtures("no_leaks")

VERSION_1 = Path(__file__).parent / "version-1.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def refusal(path: Path, kind: type[StoreError] = StoreFormatError) -> str:
    """Open what must be refused, and be told of by name; returns the reason."""
    began = asyncio.get_running_loop().time()
    with pytest.raises(kind) as caught:
        await sqlite_store(path).open(lambda _: None)
    assert str(path) in str(caught.value)
    assert asyncio.get_running_loop().time() - began < 5
    return str(caught.value)


async def make_store(path: Path, tasks: int = 40) -> dict[str, StoredTask]:
    """A store with tasks in all states; returns what is in it."""
    async with opened(sqlite_store(path)) as desk:
        for number in range(tasks):
            row = await desk.accept(f"t{number}", key=f"k{number}", depends_on=[f"t{number - 1}"], spec=b"spec" * 60)
            if number % 2:
                await desk.keep(started(row), finished(row, value=f"value {number}".encode() * 9))
        return await desk.store.find([f"t{number}" for number in range(tasks)])


# ---- new stores


@pytest.mark.parametrize("there", [None, b""], ids=["no file", "empty file"])
async def test_no_file_or_an_empty_one_becomes_a_store_that_only_its_owner_may_read(path: Path, there: bytes | None):
    if there is not None:
        path.write_bytes(there)

    async with opened(sqlite_store(path, result_file_bytes=10)) as desk:
        row = await desk.accept("a")
        await desk.keep(finished(row, value=b"v" * 100))
        files = list(path.parent.rglob("*"))

    assert {item.name for item in files} >= {"store.db", "store.db-wal", "store.db-lock", "store.db-results"}
    assert {oct(stat.S_IMODE(item.stat().st_mode)) for item in files if item.is_file()} == {"0o600"}
    assert {oct(stat.S_IMODE(item.stat().st_mode)) for item in files if item.is_dir()} == {"0o700"}


async def test_a_store_is_marked_as_ours_and_with_its_version(path: Path):
    async with opened(sqlite_store(path)) as desk:
        await desk.accept("a")

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # The log is gone: everything is in the one file.
    assert not Path(f"{path}-wal").exists()


async def test_two_names_of_one_file_are_one_store(path: Path):
    other = path.with_name("link.db")
    other.symlink_to(path)

    async with opened(sqlite_store(path)):
        with pytest.raises(StoreError, match="belongs to another processor"):
            await sqlite_store(other).open(lambda _: None)


async def test_an_opening_that_is_cancelled_lets_the_store_go(path: Path):
    for _ in range(5):
        opening = asyncio.create_task(sqlite_store(path).open(lambda _: None))
        await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
    store = sqlite_store(path)

    async def opens() -> bool:
        try:
            await store.open(lambda _: None)
        except StoreError:
            return False
        return True

    await eventually(opens)
    await store.aclose(5)


# ---- what is refused, and left as it is  # S14


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "is no SQLite database"),
        (b"SQLite format 3\x00", "is no SQLite database, or what is left of one"),
        (b"\x00" * 8192, "is no SQLite database"),
        (os.urandom(100_000), "is no SQLite database"),
    ],
    ids=["text", "16 bytes of one", "zeros", "noise"],
)
async def test_a_file_that_is_no_database_is_refused_and_left(path: Path, content: bytes, reason: str):  # S14
    path.write_bytes(content)

    assert reason in await refusal(path)
    assert path.read_bytes() == content


async def test_a_database_of_another_program_is_refused_and_left(path: Path):  # S14
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tasks (id)")
        connection.commit()
    content = path.read_bytes()

    assert "of another program" in await refusal(path)
    assert path.read_bytes() == content


async def test_a_store_of_a_newer_version_is_refused_and_left(path: Path):  # S14, S18
    await make_store(path, 2)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    content = path.read_bytes()

    assert "made by a newer version" in await refusal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("there", ["TRIGGER t AFTER INSERT ON tasks BEGIN SELECT 1; END", "VIEW v AS SELECT 1"])
async def test_a_store_with_a_strangers_trigger_or_view_is_refused(path: Path, there: str):  # S16
    await make_store(path, 2)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE {there}")

    assert "its schema is not that of version 1" in await refusal(path)


async def test_a_directory_is_refused_and_nothing_put_beside_it(path: Path):  # S14
    path.mkdir()

    assert "is a directory" in await refusal(path)
    assert [item.name for item in path.parent.iterdir()] == ["store.db"]


async def test_a_directory_that_is_not_there_is_named(path: Path):
    assert "does not exist: create it" in await refusal(path / "deeper" / "store.db", StoreError)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
async def test_a_truncated_store_is_refused_and_left(path: Path, kept: float):  # S14
    await make_store(path)
    content = path.read_bytes()[: int(path.stat().st_size * kept)]
    path.write_bytes(content)

    reason = await refusal(path)

    assert "damaged" in reason
    assert ".recover" in reason
    assert path.read_bytes() == content


async def test_tasks_that_got_lost_in_the_file_are_noticed(path: Path):  # S14
    await make_store(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM unfinished WHERE row = 3")
        connection.commit()

    assert "do not add up" in await refusal(path)


_AS_NOBODY = """
import asyncio, os, sys
from async_processor.storage.sqlite_store import SqliteStore
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    asyncio.run(SqliteStore(sys.argv[1]).open(lambda _: None))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
@pytest.mark.parametrize("modes", [(0o444, 0o777), (0o444, 0o555), (0o000, 0o777)], ids=["file", "both", "unreadable"])
async def test_a_store_that_may_not_be_written_is_refused_with_the_remedy(
    tmp_path: Path, modes: tuple[int, int]
):  # S14
    # Below the system's own temporary directory, where others may go.
    folder = Path("/tmp") / f"{tmp_path.name}-{os.getpid()}"
    folder.mkdir()
    path = folder / "store.db"
    try:
        await make_store(path, 2)
        Path(f"{path}-lock").chmod(0o666)
        path.chmod(modes[0])
        folder.chmod(modes[1])
        content = path.read_bytes()
        ran = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", _AS_NOBODY, str(path)], capture_output=True, text=True, cwd=ROOT
        )
        assert ran.stdout.startswith("StoreError the store"), ran.stderr
        assert "permission" in ran.stdout
        assert path.read_bytes() == content
    finally:
        shutil.rmtree(folder)


# ---- damage


async def everything_in(path: Path, ids: list[str]) -> dict[str, StoredTask]:
    async with opened(sqlite_store(path)) as desk:
        unfinished = {task.task.id: task for task in await desk.unfinished()}
        return unfinished | await desk.store.find(ids)


@pytest.mark.parametrize("seed", range(4))
async def test_a_flipped_bit_is_refused_or_set_aside_but_never_taken_for_data(tmp_path: Path, seed: int):  # S14
    original = tmp_path / "original.db"
    before = await make_store(original, 30)
    content = original.read_bytes()
    dice = random.Random(seed)
    refused = []
    aside = 0
    for number in range(40):
        path = tmp_path / f"{number}.db"
        damaged = bytearray(content)
        for place in dice.sample(range(len(content)), 1 + number % 3 * 7):
            damaged[place] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            found = await everything_in(path, list(before))
        except StoreError as error:
            refused.append(str(path) in str(error))
            continue
        aside += _nothing_silent(before, found)
    assert all(refused)
    assert len(refused) > 0
    assert aside > 0


def _nothing_silent(before: dict[str, StoredTask], found: dict[str, StoredTask]) -> int:
    aside = 0
    for task_id, task in before.items():
        now = found.get(task_id)
        if now is not None and now.error is not None and "quarantine" in now.error:
            assert now.status is TaskStatus.FAILED
            aside += 1
        elif now is not None:
            # What was accepted and how it ended. Counts in between are not covered by a checksum.
            assert (now.task, now.outcome, now.value) == (task.task, task.outcome, task.value)
            assert now.status.is_terminal == task.status.is_terminal
    return aside


async def test_one_unreadable_row_among_a_thousand_ends_failed_and_the_rest_run(path: Path, caplog):  # S10, S16
    async with opened(sqlite_store(path)) as desk:
        rows = [desk.store.new_row() for _ in range(1_000)]
        await desk.keep(*(TaskAccepted(row, encoded(f"t{row}")) for row in rows))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tasks SET spec = x'80049504' WHERE row = 500")
        connection.execute("UPDATE tasks SET type = CAST(x'ff80' AS TEXT) WHERE row = 600")
        connection.execute("UPDATE unfinished SET running = 7, attempt = 1 WHERE row = 700")
        connection.commit()

    for _ in range(2):
        async with opened(sqlite_store(path)) as desk:
            left = [task.row for task in await desk.unfinished()]
            assert left == [row for row in rows if row not in (500, 600, 700)]
            assert desk.store.statistics().quarantined == 3
            for row in (500, 600, 700):
                bad = await desk.one(f"t{row}")
                assert (bad.row, bad.status, bad.outcome) == (row, TaskStatus.FAILED, None)
                assert bad.error is not None
                assert str(path) in bad.error
            assert (await desk.one("t501")).status is TaskStatus.PENDING
    assert len([record for record in caplog.records if "set aside row" in record.message]) == 3
    with contextlib.closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT row, reason, task FROM quarantine ORDER BY row").fetchone()
    assert kept[0] == 500
    assert "X'80049504'" in kept[2]


async def test_a_result_that_is_not_what_was_written_is_set_aside(path: Path):  # S14
    async with opened(sqlite_store(path, result_file_bytes=100)) as desk:
        for task_id, value in (("inline", b"v"), ("gone", b"g" * 200), ("changed", b"c" * 200), ("good", b"o" * 200)):
            row = await desk.accept(task_id)
            await desk.keep(finished(row, value=value))
    files = {item.read_bytes()[:1]: item for item in Path(f"{path}-results").glob("*/*")}
    files[b"g"].unlink()
    files[b"c"].write_bytes(b"c" * 199)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE finished SET value = x'00' WHERE row = 1")
        connection.commit()

    async with opened(sqlite_store(path)) as desk:
        for _ in range(2):
            found = await desk.store.find(["inline", "gone", "changed", "good"])
            assert {item: task.status.value for item, task in found.items()} == {
                "inline": "failed", "gone": "failed", "changed": "failed", "good": "completed",
            }  # fmt: skip
            assert found["good"].value == b"o" * 200
            assert found["gone"].value is None
        assert desk.store.statistics().quarantined == 3


# ---- versions


async def test_a_store_of_version_1_is_read_for_ever(tmp_path: Path):  # S18
    path = tmp_path / "store.db"
    shutil.copyfile(VERSION_1, path)

    async with opened(sqlite_store(path)) as desk:
        found = await desk.store.find(["waiting", "running", "backoff", "completed", "failed"])
        unfinished = [task.task.id for task in await desk.unfinished()]

    assert found == version_1_tasks()
    assert unfinished == ["running", "waiting", "backoff"]
    assert desk.keys == {"key": "waiting"}


def version_1_tasks() -> dict[str, StoredTask]:
    """What is in ``version-1.db``, as its next owner finds it."""
    after_start = {"attempt": 1, "first_started_at": NOW, "started_at": NOW}
    return {
        "waiting": StoredTask(
            row=1, task=encoded("waiting", key="key", depends_on=["running", "later"]), status=TaskStatus.PENDING
        ),
        "running": StoredTask(
            row=2, task=encoded("running", priority=1), status=TaskStatus.PENDING, crashes=1, progress=0.5,
            progress_message="half", **after_start,
        ),
        "backoff": StoredTask(
            row=3, task=encoded("backoff", priority=5), status=TaskStatus.PENDING, due=NOW + 9, error="broke",
            **after_start,
        ),
        "completed": StoredTask(
            row=4, task=encoded("completed"), status=TaskStatus.COMPLETED, finished_at=NOW + 1, outcome=b"outcome",
            value=b"value", **after_start,
        ),
        "failed": StoredTask(
            row=5, task=encoded("failed"), status=TaskStatus.FAILED, finished_at=NOW + 2, error="it broke",
            outcome=b"outcome",
        ),
    }  # fmt: skip


async def write_version_1(path: Path) -> None:
    """How ``version-1.db`` was made. Never make it anew: it stands for files that are out there."""
    store = sqlite_store(path)
    await store.open(lambda _: None)
    desk = Desk(store)
    await desk.accept("waiting", key="key", depends_on=["running", "later"])
    running = await desk.accept("running", priority=1)
    backoff = await desk.accept("backoff", priority=5)
    completed, failed = await desk.accept("completed"), await desk.accept("failed")
    await desk.keep(
        started(running), TaskProgressed(running, 0.5, "half"), started(backoff),
        AttemptRetried(backoff, 1, NOW + 9, "broke"), started(completed), finished(completed, at=NOW + 1),
        finished(failed, TaskStatus.FAILED, NOW + 2),
    )  # fmt: skip
    await store.aclose(5)


async def test_an_older_version_is_migrated(path: Path):  # S18
    make_version_0(path)

    open_database(str(path), "power", migrations_from_0()).close()

    async with opened(sqlite_store(path)) as desk:
        found = await desk.store.find(["old-1", "old-2"])
    assert set(found) == {"old-1", "old-2"}


async def test_a_migration_that_fails_leaves_the_version_before(path: Path):  # S18
    make_version_0(path)
    broken = {1: migrations_from_0()[1] + "DROP TABLE nowhere;"}

    with pytest.raises(sqlite3.OperationalError):
        open_database(str(path), "power", broken)

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM old_tasks").fetchone() == (2,)
    open_database(str(path), "power", migrations_from_0()).close()
