"""From changes to statements: what a transaction does, in as few steps as order allows.

Changes of one row keep their order; changes of different rows do not know each other, so that all that are alike can
go together. A hundred tasks that were accepted, started and finished in one batch become three steps, not three
hundred.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import TaskStatus
from .base import (
    AttemptRetried,
    AttemptStarted,
    CancelRequested,
    Change,
    HandedBack,
    TaskAccepted,
    TaskFinished,
    TaskProgressed,
)
from .result_files import ResultFiles
from .sql_files import statements
from .sqlite_rows import finished_row, task_row

Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class Ends:
    """How many tasks a transaction finished."""

    completed: int = 0
    other: int = 0


@dataclass(slots=True)
class Step:
    """Changes of one kind, at most one for each row."""

    kind: type
    completed: bool
    changes: dict[int, Change] = field(default_factory=dict)


class Changes:
    """Carries out changes on a connection, inside a transaction that the caller began.

    Args:
        files: where large values go.
        file_bytes: which those are.
    """

    def __init__(self, files: ResultFiles, file_bytes: int) -> None:
        self._files = files
        self._file_bytes = file_bytes
        self._kinds: dict[type, Callable[[Iterable[Any]], list[tuple[str, Rows]]]] = {
            TaskAccepted: _accept,
            AttemptStarted: lambda items: [("start", [(item.row, item.attempt, item.at) for item in items])],
            AttemptRetried: lambda items: [("retry", [(item.row, item.due, item.error) for item in items])],
            CancelRequested: lambda items: [("request_cancel", [(item.row,) for item in items])],
            HandedBack: lambda items: [("hand_back", [(item.row,) for item in items])],
            TaskProgressed: lambda items: [("progress", [(item.row, item.fraction, item.message) for item in items])],
            TaskFinished: self._finish,
        }

    def prepare(self, changes: Sequence[Change]) -> list[Prepared]:
        """All that can be done before the transaction: encode, check, write large values to their files.

        Raises:
            BAD_ROW of ``sqlite_errors``: one of the changes can never be kept.
            OSError: a file could not be written.
        """
        return [
            Prepared(step.kind, step.completed, self._kinds[step.kind](step.changes.values()))
            for step in in_steps(changes)
        ]

    def _finish(self, items: Iterable[TaskFinished]) -> list[tuple[str, Rows]]:
        rows = []
        for item in items:
            if item.value is not None and len(item.value) > self._file_bytes:
                rows.append(finished_row(item, None, self._files.put(item.value)))
            else:
                rows.append(finished_row(item, item.value, None))
        return [("finish", rows), ("finish_unfinished", [row[:1] for row in rows])]


@dataclass(slots=True)
class Prepared:
    """A step whose rows are ready for the connection."""

    kind: type
    completed: bool
    parts: list[tuple[str, Rows]]

    def run(self, connection: sqlite3.Connection, ends: Ends) -> None:
        """Carry it out, and add to the count of ends."""
        named = statements()
        changed = [named[name].write(connection, rows) for name, rows in self.parts]
        if self.kind is TaskFinished:
            if self.completed:
                ends.completed += changed[0]
            else:
                ends.other += changed[0]


def _accept(items: Iterable[TaskAccepted]) -> list[tuple[str, Rows]]:
    tasks: Rows = []
    needs: Rows = []
    for row, task in items:
        tasks.append(task_row(row, task))
        needs.extend((row, position, parent) for position, parent in enumerate(task.depends_on))
    return [("accept", tasks), ("accept_dependencies", needs), ("accept_unfinished", [row[:1] for row in tasks])]


def in_steps(changes: Sequence[Change]) -> list[Step]:
    """Put each change into the first step of its kind that comes after all steps with a change of the same row."""
    steps: list[Step] = []
    by_kind: dict[tuple[type, bool], list[int]] = {}
    latest: dict[int, int] = {}
    for change in changes:
        kind = type(change)
        last = latest.get(change.row, -1)
        if kind is TaskProgressed and last >= 0 and steps[last].kind is TaskProgressed:
            steps[last].changes[change.row] = change  # only the newest counts
            continue
        # Apart, because they are counted apart.
        completed = kind is TaskFinished and change.status is TaskStatus.COMPLETED  # type: ignore[union-attr]
        places = by_kind.setdefault((kind, completed), [])
        found = bisect_left(places, last + 1)
        if found == len(places):
            places.append(len(steps))
            steps.append(Step(kind, completed))
        latest[change.row] = places[found]
        steps[places[found]].changes[change.row] = change
    return steps
