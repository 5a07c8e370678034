"""Opening a database: is it ours, sound and of a version we know? Otherwise it is refused and left as it is.

The look at a file that is there is taken through a read-only connection: closing the last one that can write would
move the write-ahead log into a file that we have just found to be damaged.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import StoreError, StoreFormatError
from .sql_files import script, statements
from .sqlite_errors import code_of, damaged
from .sqlite_staging import prepare_staging

APPLICATION_ID = 0x41_41_50_31
"""Marks a database as a store of this library, in its header."""
VERSION = 1
"""Of the schema. A file of a lower one is migrated, one of a higher one is refused."""

MIGRATIONS: Mapping[int, str] = {}
"""Version -> the script that leads to it from the one before. None yet: 1 is the first."""

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_BEGIN = "BEGIN IMMEDIATE"
_NEW = "-new"
# How long to wait for the lock of another program, in seconds: longer than any reader of good manners takes.
_BUSY_S = 5.0
# The write-ahead log is cut back to this when it begins anew.
JOURNAL_BYTES = 8 * 1024 * 1024

# So many pages of it are moved into the database at a time: each page then stands for many commits.
CHECKPOINT_PAGES = 1_000

Durability = Literal["power", "process"]


class Totals(NamedTuple):
    """What there is in a store."""

    last_row: int
    tasks: int
    unfinished: int
    finished: int
    completed: int
    quarantined: int


def open_database(path: str, durability: Durability, migrations: Mapping[int, str] = MIGRATIONS) -> sqlite3.Connection:
    """Check the file, create it if there is none, migrate it if it is old, and connect to it for writing.

    Raises:
        StoreFormatError: it is no store, is damaged, or newer.
        sqlite3.Error, OSError: it cannot be read or written.
    """
    _remove(f"{path}{_NEW}")
    if _is_missing_or_empty(path):
        _create(path)
    else:
        _check_header(path)
        with contextlib.closing(_connect(path, "mode=ro")) as connection:
            _check_content(connection, path)
    connection = connect(path, durability)
    try:
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_look(path: str) -> sqlite3.Connection:
    """A connection that only reads, beside an owner or without one.

    Raises:
        StoreError, StoreFormatError: there is no store, or none that can be read.
    """
    refuse_missing(path)
    _check_header(path)
    connection = _connect(path, "mode=ro")
    try:
        _check_content(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def refuse_missing(path: str) -> None:
    """For whoever does not want to make one."""
    refuse_directory(path)
    if not Path(path).exists():
        raise StoreError(f"there is no store {path}; name the file that a processor was given")


def connect(path: str, durability: Durability) -> sqlite3.Connection:
    """A connection that writes; there is one at a time. It waits for locks in ``patience`` only."""
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        prepare_staging(connection)
        connection.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: str, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{urllib.parse.quote(os.fsencode(path))}?{mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,  # transactions are begun and ended by hand
        check_same_thread=False,  # opened, used and closed by the writer thread; an abandoned one by nobody
        cached_statements=256,
    )
    # Bytes that are no text must not make a whole chunk unreadable; the row's checksum tells.
    connection.text_factory = _text
    # A file from elsewhere: nothing in its schema may call anything.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def refuse_directory(path: str) -> None:
    """Before anything is put beside it."""
    if Path(path).is_dir():
        raise StoreFormatError(f"the store {path} is a directory: name a file in it")


def _is_missing_or_empty(path: str) -> bool:
    file = Path(path)
    return not file.exists() or file.stat().st_size == 0


def _check_header(path: str) -> None:
    """Look at the file before SQLite does, which would at once begin to recover what is not ours."""
    with Path(path).open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise StoreFormatError(f"the store {path} is no SQLite database, or what is left of one; name another file")
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise StoreFormatError(f"the store {path} is a database of another program; name another file")


def _check_content(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreFormatError(
            f"the store {path} was made by a newer version of this library (its schema is {version}, this one knows "
            f"up to {VERSION}); install that version, or name another file"
        )
    if version == VERSION:
        _check_schema(connection, path)
        read_totals(connection, path)


def _check_schema(connection: sqlite3.Connection, path: str) -> None:
    found = _names(connection)
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(script("schema.sql"))
        expected = _names(fresh)
    # Triggers and views of a stranger would be carried out with our statements.
    if found != expected:
        raise damaged(path, f"its schema is not that of version {VERSION}: {sorted(found ^ expected)[:3]}")


def _names(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    # sqlite_stat1 and its like appear when someone runs ANALYZE.
    return set(connection.execute("SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"))


def read_totals(connection: sqlite3.Connection, path: str) -> Totals:
    """Count what there is, and notice cheaply when it does not add up."""
    totals = Totals(*connection.execute(statements()["totals"].text).fetchone())
    if totals.tasks != totals.unfinished + totals.finished:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        what = f"{totals.tasks} tasks, {totals.unfinished} unfinished and {totals.finished} finished do not add up"
        raise damaged(path, what if found == "ok" else found)
    return totals


def _create(path: str) -> None:
    """Make a whole store under another name, and put it in place at once: a kill in between leaves none."""
    new = f"{path}{_NEW}"
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connect(new, "mode=rw")) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with transaction(connection):
            for statement in _single(script("schema.sql")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")
    Path(new).replace(path)
    sync_directory(str(Path(path).parent))


def _migrate(connection: sqlite3.Connection, migrations: Mapping[int, str]) -> None:
    """One transaction for each version: a kill in between leaves the one before."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    for version in range(found + 1, VERSION + 1):
        with transaction(connection):
            for statement in _single(migrations[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")


def _single(text: str) -> Iterator[str]:
    """The statements of a script, one by one: ``executescript`` would commit before and after."""
    statement = ""
    for line in text.splitlines(keepends=True):
        if not line.startswith("--"):
            statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Begin, once the lock is there, and commit in the end. Whatever goes wrong, nothing is left open."""
    try:
        connection.execute(_BEGIN)
    except sqlite3.OperationalError as error:
        if not is_locked(error):
            raise
        with patience(connection):
            connection.execute(_BEGIN)
    try:
        yield
        connection.commit()
    except BaseException:
        if connection.in_transaction:
            # What went wrong is told by the first error; a second one here says the same.
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
        raise


@contextlib.contextmanager
def patience(connection: sqlite3.Connection) -> Iterator[None]:
    """Let a connection that writes wait for the locks of others. Not always: what is being written cannot be taken
    back, so that must be no time in which nothing is being written yet."""
    connection.execute(f"PRAGMA busy_timeout = {int(1_000 * _BUSY_S)}")
    try:
        yield
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def is_locked(error: sqlite3.Error) -> bool:
    """Whether something did not happen because another program has the lock."""
    return code_of(error) == sqlite3.SQLITE_BUSY


def sync_remains(path: str) -> None:
    """Bring to the disk what an owner that was killed wrote and did not live to sync.

    It is there for whoever reads, in the system's memory; nothing must be told of or built on before a power cut
    cannot take it any more. Only the log: SQLite syncs the database before it gives up what the log holds of it, and to
    close a second descriptor of the database would let go of SQLite's own locks.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(str(Path(path).parent))


def sync_directory(path: str) -> None:
    """Let the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()
