"""An observer that remembers what it was told, for assertions."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

from ..monitoring.hub import HOOKS
from ..monitoring.observer import Observer, TaskFinished


class Recorded(NamedTuple):
    """One call: the hook's name and what it was given."""

    name: str
    event: Any


def _hook(name: str) -> Any:
    def record(self: RecordingObserver, *event: Any) -> None:
        self._keep(Recorded(name, event[0] if len(event) == 1 else event))

    record.__name__ = name
    record.__doc__ = "Kept."
    return record


class RecordingObserver(Observer):
    """Keeps every event in order.

    Args:
        limit: how many to keep; when there were more, the oldest are dropped and assertions over all refuse to judge.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self.events: deque[Recorded] = deque(maxlen=limit)
        self.dropped = 0

    def names(self, task_id: str | None = None) -> list[str]:
        """The names of the hooks called, in order; only those about one task if it is named."""
        return [item.name for item in self.events if task_id in (None, getattr(item.event, "task_id", None))]

    def of(self, name: str) -> list[Any]:
        """What one hook was given, in order."""
        return [item.event for item in self.events if item.name == name]

    def results(self) -> dict[str, TaskFinished]:
        """How each task ended, by id, in the order in which they did."""
        return {event.task_id: event for event in self.of("task_finished")}

    def assert_one_result_per_task(self) -> None:
        """Assert that every task that was submitted ended exactly once, and none that was not.

        Raises:
            AssertionError: naming the tasks; or events were dropped, so that nobody can tell.
        """
        if self.dropped:
            raise AssertionError(f"{self.dropped} events were dropped; make the observer with a larger limit")
        submitted = Counter(event.task_id for event in self.of("task_submitted"))
        ended = Counter(event.task_id for event in self.of("task_finished"))
        wrong = {task: ended[task] for task in submitted | ended if (submitted[task], ended[task]) != (1, 1)}
        if wrong:
            raise AssertionError(f"tasks and how often they ended: {wrong}")

    def _keep(self, event: Recorded) -> None:
        if len(self.events) == self.events.maxlen:
            self.dropped += 1
        self.events.append(event)


# All hooks alike; written out, one that is added later would go unrecorded.
for _name in HOOKS:
    setattr(RecordingObserver, _name, _hook(_name))
