"""Live progress of a few known tasks, drawn on a terminal or written as plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..monitoring.observer import AttemptStarted, Observer, TaskFinished, TaskProgress, TaskRetried
from .printable import printable

_REFRESHES_PER_SECOND = 10


@dataclass(slots=True)
class StageState:
    """What is shown of one task. ``running_since`` is a reading of the monotonic clock, None while it does not run."""

    name: str
    text: str = "waiting"
    running_since: float | None = None


class PlainProgress(Observer):
    """A line per event.

    Args:
        stages: task id -> the name to show.
        write: takes one line.
    """

    def __init__(self, stages: Mapping[str, str], write: Callable[[str], None]) -> None:
        self._stages = stages
        self._write = write

    def attempt_started(self, event: AttemptStarted) -> None:
        self._say(event.task_id, f"started in slot {event.slot} after waiting {event.waited:.3f} s")

    def task_progress(self, event: TaskProgress) -> None:
        self._say(event.task_id, _progress_text(event))

    def task_retried(self, event: TaskRetried) -> None:
        self._say(event.task_id, _retry_text(event))

    def task_finished(self, event: TaskFinished) -> None:
        self._say(event.task_id, f"{event.status.value} after running {event.ran:.3f} s")

    def _say(self, task_id: str, text: str) -> None:
        if task_id in self._stages:
            self._write(f"{self._stages[task_id]}: {text}")


class LiveProgress(Observer):
    """A table that is drawn again and again; a running stage's seconds count up.

    Args:
        stages: task id -> the name to show.
    """

    def __init__(self, stages: Mapping[str, str]) -> None:
        self._stages = {task_id: StageState(name) for task_id, name in stages.items()}

    def attempt_started(self, event: AttemptStarted) -> None:
        self._set(event.task_id, f"running in slot {event.slot}", event.at)

    def task_progress(self, event: TaskProgress) -> None:
        if event.task_id in self._stages:
            self._stages[event.task_id].text = _progress_text(event)

    def task_retried(self, event: TaskRetried) -> None:
        self._set(event.task_id, _retry_text(event), None)

    def task_finished(self, event: TaskFinished) -> None:
        self._set(event.task_id, f"{event.status.value} after running {event.ran:.3f} s", None)

    def _set(self, task_id: str, text: str, running_since: float | None) -> None:
        if task_id in self._stages:
            stage = self._stages[task_id]
            stage.text, stage.running_since = text, running_since

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, state and seconds running of each stage, as of now."""
        now = time.monotonic()
        return [
            (stage.name, stage.text, "" if (since := stage.running_since) is None else f"{max(0.0, now - since):.1f} s")
            for stage in self._stages.values()
        ]


def _progress_text(event: TaskProgress) -> str:
    return f"{event.fraction:.0%} {printable(event.message)}".rstrip()


def _retry_text(event: TaskRetried) -> str:
    return f"attempt {event.attempt} failed ({event.error_type}), next in {event.delay:.1f} s"


@contextmanager
def shown_progress(stages: Mapping[str, str], write: Callable[[str], None]) -> Iterator[Observer]:
    """An observer that shows the stages on standard error while the block runs.

    On a terminal it draws and afterwards clears a table; where there is none, or ``NO_COLOR`` asks for plain
    output, it writes lines through ``write``.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if not console.is_terminal or console.is_dumb_terminal or console.no_color:
        yield PlainProgress(stages, write)
        return

    progress = LiveProgress(stages)

    def draw() -> Any:
        table = Table.grid(padding=(0, 2))
        for row in progress.rows():
            table.add_row(*row)
        return table

    with Live(get_renderable=draw, console=console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True):
        yield progress
