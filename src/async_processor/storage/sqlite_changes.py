"""From changes to statements: what a transaction does, in as few steps as order allows.

Changes of one row keep their order; changes of different rows do not know each other, so that all that are alike can
go together. A hundred tasks that were accepted, started and finished in one batch become three steps, not three
hundred.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
from .sqlite_rows import finished_row, task_row
from .sqlite_staging import Rows, Staged, Step, stage


@dataclass(slots=True)
class Ends:
    """How many tasks a transaction finishes."""

    completed: int = 0
    other: int = 0

    def add(self, more: Ends) -> None:
        """Count those of another one with them."""
        self.completed += more.completed
        self.other += more.other


@dataclass(slots=True)
class Alike:
    """Changes of one kind, at most one for each row.

    Attributes:
        started: first attempts of tasks that are accepted here: the two are one row to write.
    """

    kind: type
    changes: dict[int, Change] = field(default_factory=dict)
    started: dict[int, AttemptStarted] = field(default_factory=dict)


class Prepared(NamedTuple):
    """A transaction but for its execution: what to do, and how many tasks that ends if none of them has ended."""

    staged: Staged
    ends: Ends


class Changes:
    """Makes rows of changes.

    Args:
        files: where large values go.
        file_bytes: which those are.
    """

    def __init__(self, files: ResultFiles, file_bytes: int) -> None:
        self._files = files
        self._file_bytes = file_bytes

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        """All that can be done before the transaction: encode, check, write large values to their files.

        Raises:
            BAD_ROW of ``sqlite_errors``: one of the changes can never be kept.
            OSError: a file could not be written.
        """
        steps: list[Step] = []
        ends = Ends()
        for alike in in_order(changes):
            if alike.kind is TaskAccepted:
                steps += _accept(alike)
            elif alike.kind is TaskFinished:
                steps.append(("finish", self._finish(alike, ends)))
            else:
                name, row_of = _SIMPLE[alike.kind]
                steps.append((name, [row_of(change) for change in alike.changes.values()]))
        return Prepared(stage(steps), ends)

    def _finish(self, alike: Alike, ends: Ends) -> Rows:
        rows: Rows = []
        for change in alike.changes.values():
            assert isinstance(change, TaskFinished)  # noqa: S101 - the type checker cannot know
            if change.status is TaskStatus.COMPLETED:
                ends.completed += 1
            else:
                ends.other += 1
            value = change.value
            if value is not None and len(value) > self._file_bytes:
                rows.append(finished_row(change, None, self._files.put(value)))
            else:
                rows.append(finished_row(change, value, None))
        return rows


# What is no more than a row of the change's own fields.
_SIMPLE: dict[type, tuple[str, Callable[..., tuple[object, ...]]]] = {
    AttemptStarted: ("start", lambda change: (change.row, change.attempt, change.at)),
    AttemptRetried: ("retry", lambda change: (change.row, change.due, change.error)),
    CancelRequested: ("request_cancel", lambda change: (change.row,)),
    HandedBack: ("hand_back", lambda change: (change.row,)),
    TaskProgressed: ("progress", lambda change: (change.row, change.fraction, change.message)),
}


def _accept(alike: Alike) -> list[Step]:
    tasks: Rows = []
    needs: Rows = []
    started = alike.started
    for change in alike.changes.values():
        assert isinstance(change, TaskAccepted)  # noqa: S101 - the type checker cannot know
        row, task = change
        first = started.get(row)
        attempt, at = (None, None) if first is None else (first.attempt, first.at)
        tasks.append((*task_row(row, task), attempt, at))
        if task.depends_on:
            needs += [(row, position, parent) for position, parent in enumerate(task.depends_on)]
    return [("accept", tasks), ("depend", needs)]


def in_order(changes: Sequence[Change]) -> list[Alike]:
    """Put each change with the first of its kind that come after all changes of the same row before it."""
    steps: list[Alike] = []
    places_of: dict[type, list[int]] = {}
    latest: dict[int, int] = {}
    for change in changes:
        kind = type(change)
        row = change.row
        last = latest.get(row, -1)
        if last >= 0 and _is_part_of(steps[last], change):
            continue
        places = places_of.get(kind)
        if places is None:
            places = places_of[kind] = []
        found = bisect_right(places, last)
        if found == len(places):
            places.append(len(steps))
            steps.append(Alike(kind))
        place = latest[row] = places[found]
        steps[place].changes[row] = change
    return steps


def _is_part_of(last: Alike, change: Change) -> bool:
    """Whether a change is done with the one of its row before it."""
    if isinstance(change, AttemptStarted) and last.kind is TaskAccepted and change.row not in last.started:
        last.started[change.row] = change
        return True
    if isinstance(change, TaskProgressed) and last.kind is TaskProgressed:
        last.changes[change.row] = change  # only the newest counts
        return True
    return False
