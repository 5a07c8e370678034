"""Tasks and how they ended as bytes: what of them needs no column of its own.

Both are msgpack arrays. A later version may add fields at the end, with defaults: older rows lack them, and an older
library skips them. Only a change that an older library must not skip makes another ``version``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder

from ..errors import InvalidTaskError, StoreFormatError, UnserializableError
from ..model import ProcessingTask, TaskPriority, TaskResult, parse_task_type
from .base import EncodedTask, StoredTask
from .codec import DAMAGE, cause, decode_value, decode_within, encode_within
from .nesting import check_nesting
from .unpacking import no_extension

VERSION = 1


class _Spec(msgspec.Struct, array_like=True, gc=False):
    """A task but for what ``EncodedTask`` has in fields. ``exact``: the payload has extensions (see ``codec``)."""

    version: int
    exact: bool
    payload: msgspec.Raw
    missing: tuple[str, ...]
    created_at: datetime
    timeout: int | float | None
    max_retries: int
    cpu_intensive: bool
    memory_intensive: bool
    io_bound: bool
    tags: frozenset[str]
    on_dependency_failure: str
    dependency_timeout: int | float | None
    memory_mb: int | float | None
    ephemeral: tuple[str, ...]


class _Outcome(msgspec.Struct, array_like=True, gc=False):
    """A result but for its value and what the task tells."""

    version: int
    error: str | None
    error_type: str | None
    traceback: str | None
    execution_time: int | float
    wait_time: int | float
    attempts: int
    worker_id: str | None
    completed_at: datetime
    details: dict[str, int | float]


_Made = TypeVar("_Made", _Spec, _Outcome)

_specs = Decoder(_Spec, ext_hook=no_extension)
_outcomes = Decoder(_Outcome, ext_hook=no_extension)
_write = Encoder().encode


@dataclass(slots=True, frozen=True)
class RestoredTask:
    """A task from a store.

    Attributes:
        task: as it was accepted, but for its callback and its ephemeral payload fields.
        missing: names of the ephemeral payload fields that it had.
    """

    task: ProcessingTask
    missing: tuple[str, ...]


def encode_task(task: ProcessingTask, submitted_at: float) -> EncodedTask:
    """Put a valid task into bytes.

    Its ephemeral payload fields and its callback stay behind. The payload becomes a dict, whatever mapping it was.

    Raises:
        UnserializableError: it cannot be kept; ``task_id`` is its id.
    """
    try:
        return _encoded(task, submitted_at)
    except UnserializableError as error:
        shown = error.message
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's may do anything when read
        shown = f"it cannot be read ({type(error).__name__}: {error})"
    raise UnserializableError(f"task {task.id!r} cannot be stored: {shown}", task_id=task.id)


def decode_task(encoded: EncodedTask) -> RestoredTask:
    """The task that ``encode_task`` was given.

    Raises:
        StoreFormatError: it cannot be read; the message names it.
    """
    try:
        spec = _read(_specs, encoded.spec)
        task = ProcessingTask(
            task_type=encoded.task_type,
            payload=decode_within(spec.payload, exact=spec.exact),
            id=encoded.id,
            priority=TaskPriority(encoded.priority),
            timeout=spec.timeout,
            max_retries=spec.max_retries,
            cpu_intensive=spec.cpu_intensive,
            memory_intensive=spec.memory_intensive,
            io_bound=spec.io_bound,
            tags=spec.tags,
            depends_on=encoded.depends_on,
            on_dependency_failure=spec.on_dependency_failure,  # type: ignore[arg-type]  # validated with the rest
            dependency_timeout=spec.dependency_timeout,
            memory_mb=spec.memory_mb,
            idempotency_key=encoded.idempotency_key,
            ephemeral=spec.ephemeral,
            created_at=spec.created_at,
        )
    except InvalidTaskError as error:
        raise StoreFormatError(f"task {encoded.id!r} cannot be read: {error.message}", task_id=encoded.id) from error
    except (*DAMAGE, StoreFormatError) as error:
        raise _unreadable(encoded.id, "task", error) from error
    return RestoredTask(task, spec.missing)


def encode_outcome(result: TaskResult) -> bytes:
    """Put how a task ended into bytes, but for its value and what the task itself tells. Never raises: it has ended."""
    outcome = _Outcome(
        VERSION,
        result.error,
        result.error_type,
        result.traceback,
        result.execution_time,
        result.wait_time,
        result.attempts,
        result.worker_id,
        result.completed_at,
        result.details if type(result.details) is dict else dict(result.details),
    )
    try:
        return _write(outcome)
    except UnicodeEncodeError:
        for name in ("error", "error_type", "traceback", "worker_id"):
            setattr(outcome, name, _clean(getattr(outcome, name)))
        return _write(outcome)


def decode_result(stored: StoredTask) -> TaskResult:
    """The result of a task that has ended.

    Raises:
        StoreFormatError: it cannot be read, or the task has not ended; the message names the task.
    """
    encoded = stored.task
    try:
        if stored.outcome is None:
            raise ValueError("has not ended")
        outcome = _read(_outcomes, stored.outcome)
        spec = _read(_specs, encoded.spec)
        return TaskResult(
            task_id=encoded.id,
            status=stored.status,
            result=None if stored.value is None else decode_value(stored.value),
            error=outcome.error,
            error_type=outcome.error_type,
            traceback=outcome.traceback,
            execution_time=outcome.execution_time,
            wait_time=outcome.wait_time,
            attempts=outcome.attempts,
            task_type=parse_task_type(encoded.task_type),
            priority=TaskPriority(encoded.priority),
            tags=spec.tags,
            worker_id=outcome.worker_id,
            created_at=spec.created_at,
            completed_at=outcome.completed_at,
            details=outcome.details,
        )
    except (*DAMAGE, StoreFormatError) as error:
        raise _unreadable(encoded.id, "result of task", error) from error


def _encoded(task: ProcessingTask, submitted_at: float) -> EncodedTask:
    payload: Any = task.payload if type(task.payload) is dict else dict(task.payload)
    missing: tuple[str, ...] = ()
    if task.ephemeral:
        missing = tuple(name for name in task.ephemeral if name in payload)
        payload = {name: value for name, value in payload.items() if name not in missing}

    def around(packed: Any, exact: bool) -> _Spec:
        return _Spec(
            VERSION,
            exact,
            packed,
            missing,
            task.created_at,
            task.timeout,
            task.max_retries,
            bool(task.cpu_intensive),
            bool(task.memory_intensive),
            bool(task.io_bound),
            frozenset(map(_text, task.tags)) if task.tags else task.tags,  # type: ignore[arg-type]  # a set is written like a frozenset
            task.on_dependency_failure,
            task.dependency_timeout,
            task.memory_mb,
            task.ephemeral,  # type: ignore[arg-type]  # a tuple since it was validated
        )

    return EncodedTask(
        _text(task.id),
        _text(str(task.task_type)),
        int(task.priority),
        task.created_at.timestamp(),
        submitted_at,
        None if task.idempotency_key is None else _text(task.idempotency_key),
        tuple(dict.fromkeys(map(_text, task.depends_on))) if task.depends_on else (),
        encode_within(payload, "payload", around),
    )


def _text(value: str) -> str:
    """A text that a store can have in a field of its own, and of no subclass."""
    if not value.isascii() and _clean(value) != value:
        raise UnserializableError("its id, type, key, tags and the like must be texts without a lone surrogate")
    return value if type(value) is str else str.__str__(value)


def _clean(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "backslashreplace").decode()


def _read(decoder: Decoder[_Made], data: bytes) -> _Made:
    check_nesting(data)
    made = decoder.decode(data)
    if made.version != VERSION:
        raise StoreFormatError("damaged, or made by a newer version of this library")
    return made


def _unreadable(task_id: str, what: str, error: BaseException) -> StoreFormatError:
    told = error.message if isinstance(error, StoreFormatError) else cause(error)
    return StoreFormatError(f"{what} {task_id!r} cannot be read: {told}", task_id=task_id)
