"""From changes to statements: what a transaction does, in as few steps as order allows.

Changes of one row keep their order; changes of different rows do not know each other, so that all that are alike can
go together. A hundred tasks that were accepted, started and finished in one batch become three steps, not three
hundred.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
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
Part = tuple[str, Rows]
"""A statement's name, and the rows it is carried out for."""


@dataclass(slots=True)
class Ends:
    """How many tasks a transaction finished."""

    completed: int = 0
    other: int = 0


@dataclass(slots=True)
class Step:
    """Changes of one kind, at most one for each row."""

    kind: type
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
        self._kinds: dict[type, Callable[[Iterable[Any]], list[Part]]] = {
            TaskAccepted: _accept,
            AttemptStarted: lambda items: [("start", [(item.row, item.attempt, item.at) for item in items])],
            AttemptRetried: lambda items: [("retry", [(item.row, item.due, item.error) for item in items])],
            CancelRequested: lambda items: [("request_cancel", [(item.row,) for item in items])],
            HandedBack: lambda items: [("hand_back", [(item.row,) for item in items])],
            TaskProgressed: lambda items: [("progress", [(item.row, item.fraction, item.message) for item in items])],
            TaskFinished: self._finish,
        }

    def prepare(self, changes: Sequence[Change]) -> list[Part]:
        """All that can be done before the transaction: encode, check, write large values to their files.

        Raises:
            BAD_ROW of ``sqlite_errors``: one of the changes can never be kept.
            OSError: a file could not be written.
        """
        return [part for step in in_steps(changes) for part in self._kinds[step.kind](step.changes.values())]

    def _finish(self, items: Iterable[TaskFinished]) -> list[Part]:
        completed: Rows = []
        other: Rows = []
        for item in items:
            rows = completed if item.status is TaskStatus.COMPLETED else other
            if item.value is not None and len(item.value) > self._file_bytes:
                rows.append(finished_row(item, None, self._files.put(item.value)))
            else:
                rows.append(finished_row(item, item.value, None))
        ended = [row[:1] for row in completed] + [row[:1] for row in other]
        return [("finish", completed), ("finish_otherwise", other), ("finish_unfinished", ended)]


def carry_out(parts: Iterable[Part], connection: sqlite3.Connection) -> Ends:
    """Carry out what was prepared. Returns how many tasks it finished."""
    named = statements()
    ends = Ends()
    for name, rows in parts:
        changed = named[name].write(connection, rows)
        if name == "finish":
            ends.completed += changed
        elif name == "finish_otherwise":
            ends.other += changed
    return ends


def _accept(items: Iterable[TaskAccepted]) -> list[Part]:
    tasks: Rows = []
    needs: Rows = []
    for row, task in items:
        tasks.append(task_row(row, task))
        needs.extend((row, position, parent) for position, parent in enumerate(task.depends_on))
    return [("accept", tasks), ("accept_dependencies", needs), ("accept_unfinished", [row[:1] for row in tasks])]


def in_steps(changes: Sequence[Change]) -> list[Step]:
    """Put each change into the first step of its kind that comes after all steps with a change of the same row."""
    steps: list[Step] = []
    places_of: dict[type, list[int]] = {}
    latest: dict[int, int] = {}
    for change in changes:
        kind = type(change)
        row = change.row
        last = latest.get(row, -1)
        places = places_of.get(kind)
        if places is None:
            places = places_of[kind] = []
        elif kind is TaskProgressed and last >= 0 and steps[last].kind is kind:
            steps[last].changes[row] = change  # only the newest counts
            continue
        found = bisect_right(places, last)
        if found == len(places):
            places.append(len(steps))
            steps.append(Step(kind))
        place = latest[row] = places[found]
        steps[place].changes[row] = change
    return steps
