"""The thread that owns the only connection of a store: it writes, checkpoints, reads between commits, and forgets.

Everything that is in the queue when it looks goes into one transaction, and is told of by one call to the loop. The
more there is to do, the larger the groups: that is what makes a commit with ``fsync`` cheap.

When a commit fails, nobody can know whether it happened. Then the thread closes the connection, opens it again, looks
(``sqlite_doubt``), and only then answers. Until the medium works again, what was accepted newly is refused after one
try, and all else waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..clock import Clock
from ..errors import AsyncProcessorError, StoreError
from .base import AttemptRetried, Change, TaskAccepted, TaskFinished, TaskProgressed
from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_changes import Changes, Ends
from .sqlite_doubt import Outcome, outcome_of
from .sqlite_errors import BAD_ROW, MEDIUM, is_certain, reason_of, refused, translated
from .sqlite_lock import StoreLock
from .sqlite_reader import Reader
from .sqlite_retention import Limits, Retention
from .sqlite_schema import (
    Durability,
    connect,
    is_locked,
    open_database,
    read_totals,
    refuse_directory,
    sync_remains,
    transaction,
)
from .sqlite_staging import Staged, carry_out

_log = logging.getLogger(__name__)
MEDIUM_OR_REFUSED = (*MEDIUM, StoreError)

# Changes in one transaction at most: some 30 ms of work.
GROUP = 4_096
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# The write-ahead log grows beyond this only when a reader holds on to an old state.
_JOURNAL_WARNING_BYTES = 32 * 1024 * 1024
# With nothing to do for so long, it is time for chores.
_IDLE_S = 1.0


class Options(NamedTuple):
    """What ``SqliteStore`` was given."""

    path: str
    durability: Durability
    result_file_bytes: int
    completed: Limits
    other: Limits
    clock: Clock


Entry = tuple[int, Change | None]
"""The number of a change that was written, and the change. Without one, it only wants to be told when its turn has
come."""


class Ask(NamedTuple):
    """Something to be read between two commits."""

    read: Callable[[sqlite3.Connection, Reader], Any]
    answer: Callable[[Any, StoreError | None], None]


class Stop(NamedTuple):
    """Write what is left until then (monotonic clock), and end."""

    deadline: float


class Opened(NamedTuple):
    """What ``open`` found."""

    last_row: int
    keys: dict[str, str]


class Owner(NamedTuple):
    """Who is told, on the loop; and ``moved``, at once, of every such call."""

    loop: asyncio.AbstractEventLoop
    opened: Callable[[Opened | None, StoreError | None], None]
    told: Callable[[Sequence[Entry], dict[int, AsyncProcessorError]], None]
    forgotten: Callable[[Sequence[str]], None]
    ended: Callable[[], None]
    moved: Callable[[], None]


class _AbandonedError(Exception):
    """The loop has given the thread up, and told so; nothing may be written any more."""


@dataclass(slots=True)
class Figures:
    """Written by the thread, read by the loop."""

    commits: int = 0
    changes: int = 0
    last_commit_s: float = 0.0
    failing: str = ""
    journal_bytes: int = 0
    quarantined: int = 0


class Writer:
    """One opening of a store, from the lock to its release.

    Args:
        options: of the store.
        owner: is told of everything.
    """

    def __init__(self, options: Options, owner: Owner) -> None:
        self.figures = Figures()
        self.requests: queue.SimpleQueue[list[Entry] | Ask | Stop] = queue.SimpleQueue()
        self._options = options
        self._owner = owner
        self._lock = StoreLock(options.path)
        self._log = f"{options.path}-wal"
        wall = _wall_of(options.clock)
        self._files = ResultFiles(options.path)
        self._changes = Changes(self._files, options.result_file_bytes)
        self._reader = Reader(options.path, self._files, wall)
        self._retention = Retention(options.completed, options.other, self._files, wall)
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[Entry] = []
        # The batch whose commit failed, and the error, until it is known what became of it.
        self._doubt: tuple[list[Entry], BaseException] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._try_at = 0.0
        self._deadline: float | None = None
        self._deserted = False
        # Held by the thread from when it may have the database's own lock until it has told what became of a batch.
        self._verdict = threading.Lock()
        self._deciding = False
        self._abandoned = False
        self._swept = False
        self._chores_at = time.monotonic() + _IDLE_S
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="async-processor-store", daemon=True)

    def start(self) -> None:
        """Begin, in a thread that an interpreter does not wait for."""
        self._thread.start()

    def abandon(self) -> bool:
        """Write nothing more, whatever the thread waits for. Called on the loop when there is no time left.

        Returns:
            Whether it is certain that nothing is being written at this moment.
        """
        certain = self._verdict.acquire(blocking=False)
        self._abandoned = True
        if certain:
            self._verdict.release()
        return certain

    # ---- the life of the thread

    def _run(self) -> None:
        try:
            self._post(self._owner.opened, self._open(), None)
            while not self._over():
                self._turn()
        except _AbandonedError:
            _log.warning("the store %s was given up with changes that were not written", self._options.path)
        except MEDIUM_OR_REFUSED as error:
            # Only from opening: later on, nothing that the medium does ends the thread.
            self._post(self._owner.opened, None, translated(error, self._options.path))
        finally:
            self._close()
            self._post(self._owner.ended)

    def _open(self) -> Opened:
        path = self._options.path
        refuse_directory(path)
        self._lock.take()
        self._connection = connection = open_database(path, self._options.durability)
        if self._options.durability == "power":
            sync_remains(path)
        with transaction(connection):
            connection.execute(statements()["count_crashes"].text)
        totals = read_totals(connection, path)
        self._retention.begin(totals)
        self._reader.quarantined = self.figures.quarantined = totals.quarantined
        keys = dict(connection.execute(statements()["idempotency_keys"].text))
        return Opened(totals.last_row, keys)

    def _over(self) -> bool:
        if self._deserted:
            return True
        if self._deadline is None:
            return False
        return not (self._waiting or self._doubt) or time.monotonic() >= self._deadline

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                # What cannot be cut back now is by the next opening.
                self._connection.execute("PRAGMA busy_timeout = 100")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._disconnect()
        self._lock.release()

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._owner.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed without us: there is nobody left to work for.
            self._deserted = True
        self._owner.moved()

    # ---- one turn

    def _turn(self) -> None:
        request = self._receive()
        self._write()
        if isinstance(request, Ask):
            self._answer(request)
        elif isinstance(request, Stop):
            self._deadline = request.deadline
        elif not self._waiting and time.monotonic() >= self._chores_at:
            self._chores()
        if self._retention.due_in() == 0 and not self.figures.failing:
            self._retain()

    def _receive(self) -> Ask | Stop | None:
        """Gather changes until something else comes, there are enough, or there is nothing more."""
        timeout = self._patience()
        while True:
            try:
                request = self.requests.get(timeout > 0, timeout if timeout > 0 else None)
            except queue.Empty:
                return None
            if not isinstance(request, list):
                return request
            self._waiting += request
            if len(self._waiting) >= GROUP:
                return None
            timeout = 0.0

    def _patience(self) -> float:
        """How long to wait for something to do."""
        now = time.monotonic()
        if self.figures.failing:
            until = self._try_at - now
        elif self._waiting:
            return 0.0
        else:
            until = min(self._retention.due_in(), self._chores_at - now)
        if self._deadline is not None:
            until = min(until, self._deadline - now)
        return max(0.001, until)

    # ---- writing

    def _write(self) -> None:
        if self.figures.failing and time.monotonic() < self._try_at:
            return
        if self._abandoned:
            raise _AbandonedError
        if self._doubt is not None:
            self._settle(*self._doubt)
            return
        batch = self._waiting[:GROUP]
        if not batch:
            return
        try:
            errors = self._keep(batch)
        except MEDIUM as error:
            self._settle(batch, error)
        else:
            del self._waiting[: len(batch)]
            self._works_again()
            self._post(self._owner.told, batch, errors)
            # Not before: who waits for the commit would wait for this too.
            self.figures.journal_bytes = self._journal_bytes()
        finally:
            self._undecide()

    def _decide(self) -> None:
        """From here until it is told, what happens to a batch cannot be taken back by ``abandon``."""
        if not self._deciding:
            self._verdict.acquire()
            self._deciding = True
        if self._abandoned:
            raise _AbandonedError

    def _undecide(self) -> None:
        if self._deciding:
            self._deciding = False
            self._verdict.release()

    def _keep(self, batch: Sequence[Entry]) -> dict[int, AsyncProcessorError]:
        """One transaction for all. Returns which could not be kept for their own sake."""
        errors: dict[int, AsyncProcessorError] = {}
        changes = [change for _, change in batch if change is not None]
        if not changes:
            return errors
        begun = time.perf_counter()
        try:
            self._keep_together(changes)
        except BAD_ROW:
            self._undecide()
            self._keep_one_by_one(batch, errors)
        self.figures.commits += 1
        self.figures.changes += len(changes) - len(errors)
        self.figures.last_commit_s = time.perf_counter() - begun
        self._chores_at = time.monotonic() + _IDLE_S
        return errors

    def _keep_together(self, changes: Sequence[Change]) -> None:
        connection = self._connected()
        staged, ends = self._changes.prepare(changes)
        certain = self._keep_at_once(staged, connection) if len(staged.pieces) == 1 else None
        if certain is None:
            with transaction(connection):
                self._decide()
                certain = carry_out(staged, connection)
        self._retention.ended(ends, certain=certain)

    def _keep_at_once(self, staged: Staged, connection: sqlite3.Connection) -> bool | None:
        """As ``carry_out``: one statement is a transaction of its own. None if another program has the lock."""
        self._decide()
        try:
            return carry_out(staged, connection)
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            self._undecide()
            return None

    def _keep_one_by_one(self, batch: Sequence[Entry], errors: dict[int, AsyncProcessorError]) -> None:
        """The same in the order of writing, each with a way back. Only for a batch with a bad row in it."""
        connection = self._connected()
        total, certain = Ends(), True
        with transaction(connection):
            self._decide()
            for number, change in batch:
                if change is None:
                    continue
                connection.execute("SAVEPOINT one")
                try:
                    staged, ends = self._changes.prepare([_legible(change)])
                    certain = carry_out(staged, connection) and certain
                except BAD_ROW as error:
                    connection.execute("ROLLBACK TO one")
                    errors[number] = refused(change, error)
                else:
                    total.add(ends)
                connection.execute("RELEASE one")
        self._retention.ended(total, certain=certain)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._options.path, self._options.durability)
        return self._connection

    def _journal_bytes(self) -> int:
        try:
            size = os.stat(self._log).st_size  # noqa: PTH116 - once for each commit
        except OSError:
            return 0
        if size > _JOURNAL_WARNING_BYTES and not self._warned:
            _log.warning(
                "the write-ahead log of the store %s has grown to %d MB: some reader holds on to an old state of it",
                self._options.path, size // 1_000_000,
            )  # fmt: skip
        self._warned = size > _JOURNAL_WARNING_BYTES
        return size

    # ---- when the medium fails

    def _settle(self, batch: list[Entry], error: BaseException) -> None:
        """Find out what became of a batch whose commit failed, and answer for it if that is possible."""
        first = self._doubt is None
        self._doubt = (batch, error)
        if first:
            # Taken out before anyone can think that it was never tried.
            del self._waiting[: len(batch)]
        self._fails(error)
        if not is_certain(error):
            self._disconnect()
        try:
            connection = self._connected()
            outcome = outcome_of(batch_rows(batch), connection, durable=self._options.durability == "power")
        except MEDIUM as trouble:
            # Still in doubt. What has come in since was not even tried, and can be refused.
            self._refuse_waiting(trouble)
            return
        self._doubt = None
        if outcome is Outcome.KEPT:
            self._works_again()
            self._post(self._owner.told, batch, {})
            return
        self._waiting = batch + self._waiting
        self._refuse_waiting(error)

    def _refuse_waiting(self, error: BaseException) -> None:
        """Tasks newly accepted are refused; all other changes wait on."""
        told = [entry for entry in self._waiting if isinstance(entry[1], TaskAccepted)]
        self._waiting = [entry for entry in self._waiting if not isinstance(entry[1], TaskAccepted)]
        if told:
            self._post(
                self._owner.told,
                told,
                {
                    number: StoreError(
                        f"task {change.task.id!r} cannot be stored in {self._options.path}: {reason_of(error)}",
                        task_id=change.task.id,
                    )
                    for number, change in told
                    if isinstance(change, TaskAccepted)
                },
            )

    def _fails(self, error: BaseException) -> None:
        reason = reason_of(error)
        if not self.figures.failing:
            self._pause_s = _FIRST_PAUSE_S
            _log.error("the store %s cannot be written: %s", self._options.path, reason)
        else:
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self.figures.failing = reason
        self._try_at = time.monotonic() + self._pause_s

    def _works_again(self) -> None:
        if self.figures.failing:
            self.figures.failing = ""
            _log.warning("the store %s can be written again", self._options.path)

    # ---- reading

    def _answer(self, ask: Ask) -> None:
        if self.figures.failing:
            failed = StoreError(f"the store {self._options.path} cannot be read: {self.figures.failing}")
            self._post(ask.answer, None, failed)
            return
        try:
            found = ask.read(self._connected(), self._reader)
        except MEDIUM_OR_REFUSED as error:
            self._post(ask.answer, None, translated(error, self._options.path))
        else:
            self._post(ask.answer, found, None)
        self.figures.quarantined = self._reader.quarantined

    # ---- chores

    def _chores(self) -> None:
        """What can wait until there is nothing else to do."""
        self._chores_at = math.inf
        try:
            connection = self._connected()
            # First: it syncs the log, and a file must not go before it is certain that no row names it any more.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if not self._swept:
                self._swept = True
                self._files.sweep({name for (name,) in connection.execute(statements()["value_files"].text)})
        except MEDIUM as error:
            _log.warning("the store %s could not be tidied up: %s", self._options.path, reason_of(error))

    def _retain(self) -> None:
        try:
            keys = self._retention.erase_some(self._connected(), durable=self._options.durability == "power")
        except MEDIUM as error:
            self._retention.postpone()
            _log.warning("the store %s could not forget old results: %s", self._options.path, reason_of(error))
            return
        if keys:
            self._post(self._owner.forgotten, keys)


def batch_rows(batch: Sequence[Entry]) -> list[int]:
    """The rows of the tasks that a batch accepts."""
    return [change.row for _, change in batch if isinstance(change, TaskAccepted)]


def _legible(change: Change) -> Change:
    """The same with texts for people in a form that can be stored: what happened must not be lost over a letter."""
    if isinstance(change, TaskProgressed):
        return change._replace(message=_encodable(change.message))
    if isinstance(change, TaskFinished | AttemptRetried) and change.error is not None:
        return change._replace(error=_encodable(change.error))
    return change


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _wall_of(clock: Clock) -> Callable[[], float]:
    return lambda: clock.wall().timestamp()
