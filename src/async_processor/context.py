"""What a processor function is told about its attempt, and what it can report."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .clock import Clock, SystemClock
from .model import ProcessingType, TaskResult

logger = logging.getLogger("async_processor.task")

current_task_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("async_processor_task_id", default=None)
"""The id of the task whose attempt this code runs in, on the event loop and in threads; None outside of one."""

ProgressSink = Callable[[float, str], None]


class DependencyResults(Mapping[str, TaskResult]):
    """The results of the tasks that this one depended on, by id, in the order of ``depends_on``."""

    __slots__ = ("_by_id",)

    def __init__(self, by_id: Mapping[str, TaskResult] | None = None) -> None:
        self._by_id: Mapping[str, TaskResult] = {} if by_id is None else by_id

    def __getitem__(self, task_id: str) -> TaskResult:
        return self._by_id[task_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def by_type(self, task_type: ProcessingType | str) -> list[TaskResult]:
        """The results of the dependencies of one type, in the order of ``depends_on``."""
        return [result for result in self._by_id.values() if result.task_type == task_type]

    def first(self, task_type: ProcessingType | str) -> Any:
        """What the first completed dependency of one type returned, or None."""
        return next((item.result for item in self.by_type(task_type) if item.ok), None)


_NO_DEPENDENCIES = DependencyResults()


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the task's id before each message and into the record's fields."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        task_id = str((self.extra or {}).get("task_id"))
        # Ids are chosen by callers; only a line with arguments is formatted, and there the id must stay as it is.
        shown = task_id.replace("%", "%%") if args else task_id
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        super().log(level, f"[{shown}] {msg}", *args, **kwargs)


class TaskContext:
    """The second argument of a processor function that asks for one.

    Attributes:
        task_id: the task's id.
        task_type: the task's type.
        attempt: 1 for the first attempt, then 2, 3, ...
        max_attempts: how many attempts there may be.
        idempotency_key: the same on every attempt of the task: hand it to whatever must not act twice.
        deadline: when this attempt is stopped, on the clock of ``time.monotonic``; None without a timeout.
        dependencies: results of the tasks this one depended on.
        cancelled: turns True when the attempt is to stop. A function in a thread should poll it, because a
            thread cannot be stopped from outside; elsewhere the attempt is ended for it.
    """

    __slots__ = (
        "_clock", "_logger", "_progress", "attempt", "cancelled", "deadline", "dependencies",
        "idempotency_key", "max_attempts", "task_id", "task_type",
    )  # fmt: skip

    def __init__(
        self,
        *,
        task_id: str,
        task_type: ProcessingType | str,
        attempt: int = 1,
        max_attempts: int = 1,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        dependencies: DependencyResults = _NO_DEPENDENCIES,
        progress: ProgressSink | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.task_id = task_id
        self.task_type = task_type
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.idempotency_key = task_id if idempotency_key is None else idempotency_key
        self.deadline = deadline
        self.dependencies = dependencies
        self.cancelled = False
        self._progress = progress
        self._clock = clock
        self._logger: _TaskLogger | None = None

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the task's id and attempt."""
        if self._logger is None:
            self._logger = _TaskLogger(logger, {"task_id": self.task_id, "attempt": self.attempt})
        return self._logger

    def time_remaining(self) -> float | None:
        """Seconds until this attempt is stopped, never below 0; None without a timeout."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - (self._clock or SystemClock).monotonic())

    def report_progress(self, fraction: float, message: str = "") -> None:
        """Tell observers how far the attempt is. Safe from any lane and thread, cheap to call often.

        Args:
            fraction: 0.0 to 1.0; values outside are brought to the nearer end, NaN to 0.
            message: a few words; cut at 200 characters.
        """
        if self._progress is not None:
            bounded = min(1.0, max(0.0, float(fraction)))
            self._progress(0.0 if bounded != bounded else bounded, str(message)[:200])
