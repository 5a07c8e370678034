"""What travels to a worker: an attempt, without what only the parent can use (callback, context variables)."""

from __future__ import annotations

import operator
import pickle
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..context import DependencyResults
from ..model import ProcessingTask, ProcessingType, TaskPriority
from ..outcome import Measures
from .base import Attempt
from .process_codec import OVERHEAD_BYTES, Chunks, Encoder, FunctionCache, FunctionEncoder

_TYPES: dict[str, ProcessingType | str] = {item.value: item for item in ProcessingType}
_PRIORITIES = {item.value: item for item in TaskPriority}
_plain_values = operator.attrgetter(
    "id",
    "timeout",
    "max_retries",
    "cpu_intensive",
    "memory_intensive",
    "io_bound",
    "tags",
    "depends_on",
    "on_dependency_failure",
    "dependency_timeout",
    "memory_mb",
    "idempotency_key",
    "ephemeral",
)


class Limits(NamedTuple):
    """How many bytes a payload and a result may take on their way. Dependencies' results count as results."""

    payload: int
    result: int


class Job(NamedTuple):
    """An attempt as it travels. The function is apart, because its bytes are made once and used many times."""

    function: bytes
    body: Chunks


class JobEncoder:
    """Makes the message of an attempt."""

    __slots__ = ("_functions", "_limits", "_messages")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._functions = FunctionEncoder(limits.payload + OVERHEAD_BYTES)
        self._messages = Encoder()

    def encode(self, attempt: Attempt) -> Job:
        """The attempt as bytes.

        Raises:
            UnserializableError: function, payload or a dependency's result cannot be pickled.
            SizeLimitError: they are too large.
        """
        task, waited_for = attempt.task, attempt.dependencies
        function = self._functions.encode(attempt.func, task.id)
        message = (
            attempt.slot,
            attempt.is_async,
            attempt.wants_context,
            attempt.number,
            attempt.max_attempts,
            attempt.timeout,
            attempt.profile,
            attempt.recycle_worker,
            str(task.task_type),
            int(task.priority),
            _moment(task.created_at),
            _plain_values(task),
            # Not every mapping can be pickled; a dict can.
            task.payload if type(task.payload) is dict else dict(task.payload),
            dict(waited_for) if waited_for else None,
        )
        limit = self._limits.payload + len(waited_for) * self._limits.result + OVERHEAD_BYTES
        what = f"the payload of task {task.id!r}" + (" or a result it depends on" if waited_for else "")
        return Job(function, self._messages.encode(message, limit, what))


def rebuild_attempt(function: bytes, message: tuple[Any, ...], functions: FunctionCache) -> Attempt:
    """The attempt of a message. Raises whatever importing or unpickling the function raises."""
    (slot, is_async, wants_context, number, max_attempts, timeout, profile, recycle_worker, *about) = message
    task_type, priority, created_at, plain, payload, waited_for = about
    # Past the constructor: everything was checked where the task was made.
    task = object.__new__(ProcessingTask)
    # As in ``_plain_values``. Written out, because a loop with setattr takes several times as long.
    (
        task.id,
        task.timeout,
        task.max_retries,
        task.cpu_intensive,
        task.memory_intensive,
        task.io_bound,
        task.tags,
        task.depends_on,
        task.on_dependency_failure,
        task.dependency_timeout,
        task.memory_mb,
        task.idempotency_key,
        task.ephemeral,
    ) = plain
    task.task_type = _TYPES.get(task_type, task_type)
    task.priority = _PRIORITIES[priority]
    task.created_at = created_at if isinstance(created_at, datetime) else datetime.fromtimestamp(created_at, UTC)
    task.payload = payload
    task.callback = None
    return Attempt(
        token=0,
        slot=slot,
        task=task,
        func=functions.load(function),
        is_async=is_async,
        wants_context=wants_context,
        number=number,
        max_attempts=max_attempts,
        timeout=timeout,
        dependencies=DependencyResults(waited_for),
        profile=profile,
        recycle_worker=recycle_worker,
    )


def _moment(when: datetime) -> float | datetime:
    # To pickle an aware datetime takes twenty times as long as all the rest of an empty task.
    return when.timestamp() if when.tzinfo is UTC else when


class Notes(NamedTuple):
    """What a worker says beside the result: its measures, and whether it has grown too large to go on."""

    measures: Measures
    outgrown: bool

    def encode(self) -> bytes:
        """As bytes."""
        return pickle.dumps(tuple(self))

    @classmethod
    def decode(cls, data: bytes) -> Notes:
        """From bytes; none means nothing to say."""
        return cls(*pickle.loads(data)) if data else NO_NOTES  # noqa: S301 - from a child of this very process


NO_NOTES = Notes(Measures(), outgrown=False)
