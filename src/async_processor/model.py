"""What a caller handles: tasks, results and their enums."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import sys
import types
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal

from .errors import InvalidTaskError, TaskCancelledError, TaskFailedError, TaskTimeoutError

DEFAULT_TIMEOUT_S = 300.0
DEFAULT_MAX_RETRIES = 3
_MAX_TEXT = 200
_PREVIEW_DEPTH = 8
_PREVIEW_ITEMS = 200
_PREVIEW_TEXT = 10_000


class ProcessingType(StrEnum):
    """The task types with a built-in processor, and ``CUSTOM``. Any other string names a type of one's own."""

    AUDIO_TRANSCRIPTION = "audio_transcription"
    AUDIO_ENHANCEMENT = "audio_enhancement"
    AI_RESPONSE = "ai_response"
    EMOTION_ANALYSIS = "emotion_analysis"
    IMAGE_GENERATION = "image_generation"
    IMAGE_PROCESSING = "image_processing"
    TEXT_ANALYSIS = "text_analysis"
    DATA_ANALYTICS = "data_analytics"
    DATABASE_OPERATION = "database_operation"
    NOTIFICATION = "notification"
    CUSTOM = "custom"


_BUILT_IN_TYPES = {item.value: item for item in ProcessingType}


class TaskPriority(IntEnum):
    """How urgent a task is; the smaller number goes first."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BATCH = 5


class TaskStatus(StrEnum):
    """Where a task stands. The last four are terminal and never left."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"

    @property
    def is_terminal(self) -> bool:
        """Whether a task of this status has ended."""
        return self not in (TaskStatus.PENDING, TaskStatus.RUNNING)


class LaneName(StrEnum):
    """The places where attempts run, each with slots of its own."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"
    RAY = "ray"


# A random prefix and a counter: as unique as uuid4 across processes and restarts, at a thirteenth of its cost.
_id_counter = itertools.count(1)
_id_prefix = os.urandom(6).hex()


def _renew_id_prefix() -> None:
    # A forked child inherits prefix and counter; it must not repeat its parent's ids.
    global _id_prefix  # noqa: PLW0603 - the fork hook has nowhere else to put it
    _id_prefix = os.urandom(6).hex()


os.register_at_fork(after_in_child=_renew_id_prefix)


def new_task_id() -> str:
    """An id that no other task has, in this process or another."""
    return f"{_id_prefix}-{next(_id_counter):x}"


_NO_TAGS: frozenset[str] = frozenset()
_ONLY_STRINGS = frozenset({str})


def _utc_now() -> datetime:
    return datetime.now(UTC)


TaskCallback = Callable[["TaskResult"], Awaitable[None] | None]


@dataclass(slots=True, eq=False)
class ProcessingTask:
    """One piece of work, as its caller describes it.

    Attributes:
        task_type: which processor function runs it: a ``ProcessingType`` or the name of a registered one.
        payload: the data for that function. Keys are strings.
        id: unique; made when not given.
        priority: order of start among tasks that could start.
        timeout: seconds that one attempt may run; None for no limit.
        max_retries: how many further attempts may follow a failed one.
        cpu_intensive: run it in a worker process.
        memory_intensive: run it in a worker process, and only when memory allows.
        io_bound: run it in a thread.
        tags: for the caller's own tracking; shown in logs and results, never in metrics.
        depends_on: ids of tasks that must end before this one starts, submitted or yet to be.
        on_dependency_failure: "cancel" (default) or "run" when a dependency ends without completing.
        dependency_timeout: seconds to wait for a dependency that nobody submits; None for the configured one.
        memory_mb: expected peak memory in MiB, for ``memory_intensive`` tasks; None to use what was learned.
        callback: called once with the ``TaskResult``; sync or async. Its errors are logged, never felt.
        idempotency_key: names the work: while a task of this key is remembered, submitting another gives back the
            first one's id. Also handed to the processor function, the same on every attempt; None means the id.
        ephemeral: names of payload fields that are used in memory and never written to a store. A task whose process
            dies before it has ended then fails, and says so.
        created_at: when the task was made (UTC).

    Raises:
        InvalidTaskError: a field has a type or value that cannot be used; ``field`` names it.
    """

    task_type: ProcessingType | str
    payload: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_task_id)
    priority: TaskPriority = TaskPriority.NORMAL
    timeout: float | None = DEFAULT_TIMEOUT_S
    max_retries: int = DEFAULT_MAX_RETRIES
    cpu_intensive: bool = False
    memory_intensive: bool = False
    io_bound: bool = False
    tags: frozenset[str] | set[str] = _NO_TAGS
    depends_on: Sequence[str] = ()
    on_dependency_failure: Literal["cancel", "run"] = "cancel"
    dependency_timeout: float | None = None
    memory_mb: float | None = None
    callback: TaskCallback | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    ephemeral: Sequence[str] = ()
    created_at: datetime = field(default_factory=_utc_now)

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Check every field; also called at submit, because fields may be assigned after construction.

        Raises:
            InvalidTaskError: naming the first field that cannot be used.
        """
        # This runs twice for each task, so the types that nearly all have are told apart before anything is called.
        if type(self.task_type) is not ProcessingType:
            self.task_type = parse_task_type(self.task_type)
        if type(self.priority) is not TaskPriority:
            self.priority = parse_priority(self.priority)
        if type(self.id) is not str or not 0 < len(self.id) <= _MAX_TEXT:
            _check_text(self, "id", self.id)
        if (type(self.payload) is not dict or self.payload) and not _has_string_keys(self.payload):
            raise _bad(self, "payload", "a mapping with string keys")
        if self.timeout is not None:
            _check_seconds(self, "timeout", self.timeout, positive=True)
        if type(self.max_retries) is not int or self.max_retries < 0:
            raise _bad(self, "max_retries", "a whole number of 0 or more")
        if self.depends_on != ():
            self.depends_on = _checked_strings(self, "depends_on", self.depends_on, tuple)
        if self.tags != _NO_TAGS:
            self.tags = _checked_strings(self, "tags", self.tags, frozenset)
        if self.on_dependency_failure not in ("cancel", "run"):
            raise _bad(self, "on_dependency_failure", '"cancel" or "run"')
        self._validate_optional()

    def _validate_optional(self) -> None:
        if self.dependency_timeout is not None:
            _check_seconds(self, "dependency_timeout", self.dependency_timeout, positive=False)
        if self.memory_mb is not None:
            _check_seconds(self, "memory_mb", self.memory_mb, positive=True)
        if self.callback is not None and not callable(self.callback):
            raise _bad(self, "callback", "a function that takes the TaskResult, or None")
        if self.idempotency_key is not None:
            _check_text(self, "idempotency_key", self.idempotency_key)
        if self.ephemeral != ():
            self.ephemeral = _checked_strings(self, "ephemeral", self.ephemeral, tuple)

    def to_dict(self) -> dict[str, Any]:
        """Every field in plain JSON types, whatever the payload holds.

        Bytes become their size and a digest, callables their name; long or deep values are cut, so the result
        is for people to look at, not for rebuilding the task.
        """
        plain = {item.name: preview(getattr(self, item.name)) for item in fields(self)}
        plain["task_type"] = str(self.task_type)
        plain["priority"] = self.priority.name
        return plain

    def __repr__(self) -> str:
        waits = f" after {len(self.depends_on)}" if self.depends_on else ""
        return f"<ProcessingTask {self.id} {self.task_type} {self.priority.name}{waits}>"


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskResult:
    """How a task ended. Published exactly once per task, after its last attempt.

    Attributes:
        task_id: the task's id.
        status: COMPLETED, FAILED, TIMEOUT or CANCELLED.
        result: what the processor function returned; None unless COMPLETED.
        error: what went wrong, in words; None when COMPLETED.
        error_type: class name of the exception behind a failure, e.g. ``"ValueError"``.
        traceback: the text of the traceback where there was one, cut to its last lines.
        execution_time: seconds that the last attempt ran; 0.0 if none started.
        wait_time: seconds from submit to the start of the first attempt, or to the end if none started.
        attempts: how many attempts were started.
        task_type, priority, tags: as on the task.
        worker_id: the slot of the last attempt, e.g. ``"process-1"``; None if none started.
        created_at: when the task was made (UTC).
        completed_at: when it ended (UTC).
        details: further figures of the last attempt (``cpu_time``, ``peak_memory_mb``), where measured.
    """

    task_id: str
    status: TaskStatus
    result: Any = None
    error: str | None = None
    error_type: str | None = None
    traceback: str | None = field(default=None, repr=False)
    execution_time: float = 0.0
    wait_time: float = 0.0
    attempts: int = 0
    task_type: ProcessingType | str = ProcessingType.CUSTOM
    priority: TaskPriority = TaskPriority.NORMAL
    tags: frozenset[str] | set[str] = frozenset()
    worker_id: str | None = None
    created_at: datetime = field(default_factory=_utc_now)
    completed_at: datetime = field(default_factory=_utc_now)
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the task completed."""
        return self.status is TaskStatus.COMPLETED

    def unwrap(self) -> Any:
        """The result of a completed task.

        Raises:
            TaskTimeoutError: it exceeded its timeout.
            TaskCancelledError: it was cancelled.
            TaskFailedError: it failed.
        """
        if self.status is TaskStatus.COMPLETED:
            return self.result
        kind: type[TaskFailedError] = TaskFailedError
        if self.status is TaskStatus.TIMEOUT:
            kind = TaskTimeoutError
        elif self.status is TaskStatus.CANCELLED:
            kind = TaskCancelledError
        raise kind(f"task {self.task_id!r} ended {self.status}: {self.error}", task_id=self.task_id)

    def to_dict(self) -> dict[str, Any]:
        """Every field in plain JSON types, cut as in ``ProcessingTask.to_dict``."""
        plain = {item.name: preview(getattr(self, item.name)) for item in fields(self)}
        plain["task_type"] = str(self.task_type)
        plain["priority"] = self.priority.name
        return plain


def create_task(
    task_type: ProcessingType | str,
    payload: Mapping[str, Any] | None = None,
    priority: TaskPriority | str | int = TaskPriority.NORMAL,
    **options: Any,
) -> ProcessingTask:
    """Make a task; ``options`` are the further fields of ``ProcessingTask``.

    Args:
        task_type: a ``ProcessingType``, its value, or the name of a registered type.
        payload: the data for the processor function.
        priority: a ``TaskPriority``, its name in any case, or its number.

    Raises:
        InvalidTaskError: a field cannot be used, or there is no field of that name.
    """
    unknown = options.keys() - _OPTION_NAMES
    if unknown:
        name = min(unknown)
        raise InvalidTaskError(
            f"create_task has no option {name!r}; it takes {', '.join(sorted(_OPTION_NAMES))}", field=name
        )
    return ProcessingTask(task_type, {} if payload is None else payload, priority=parse_priority(priority), **options)


_OPTION_NAMES = {item.name for item in fields(ProcessingTask)} - {"task_type", "payload", "priority"}


def parse_task_type(value: object) -> ProcessingType | str:
    """A task type from what a caller may write.

    Raises:
        InvalidTaskError: not a string, or an empty one.
    """
    if isinstance(value, ProcessingType):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise InvalidTaskError(
            f"task_type must be a ProcessingType or the name of a registered type, not {value!r}",
            field="task_type",
        )
    return _BUILT_IN_TYPES.get(value.lower(), value)


def parse_priority(value: object) -> TaskPriority:
    """A priority from what a caller may write.

    Raises:
        InvalidTaskError: no such name or number.
    """
    if isinstance(value, TaskPriority):
        return value
    try:
        if isinstance(value, str):
            return TaskPriority[value.upper()]
        if isinstance(value, int) and not isinstance(value, bool):
            return TaskPriority(value)
    except (KeyError, ValueError):
        pass
    known = ", ".join(f"{item.name} ({item.value})" for item in TaskPriority)
    raise InvalidTaskError(f"priority must be one of {known}, not {value!r}", field="priority")


def preview(value: Any, depth: int = _PREVIEW_DEPTH) -> Any:
    """A picture of any value in JSON types, bounded in depth and length. Never raises."""
    try:
        return _preview(value, depth)
    except Exception:  # noqa: BLE001 - a value of the caller's may do anything when looked at
        return f"<{type(value).__name__}>"


def _preview(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return preview(value.value, depth)
    if isinstance(value, int | float):
        return _preview_number(value)
    if isinstance(value, str):
        return _cut(value.encode("utf-8", "backslashreplace").decode("utf-8"))
    if isinstance(value, bytes | bytearray | memoryview):
        return _preview_bytes(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth <= 0:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping | set | frozenset | list | tuple):
        return _preview_container(value, depth)
    return _preview_object(value)


def _preview_number(value: float) -> Any:
    if isinstance(value, int):
        # Digits of a huge integer cost quadratic time, and other languages' JSON cannot read them.
        return int(value) if value.bit_length() <= 64 else f"<int of {value.bit_length()} bits>"
    return float(value) if math.isfinite(value) else str(float(value))


def _preview_bytes(value: bytes | bytearray | memoryview) -> dict[str, Any]:
    view = memoryview(value)
    head = hashlib.sha256(view if view.c_contiguous else view.tobytes()).hexdigest()[:16]
    return {"bytes": view.nbytes, "sha256": head}


def _preview_container(value: Any, depth: int) -> Any:
    try:
        if isinstance(value, Mapping):
            pairs = itertools.islice(value.items(), _PREVIEW_ITEMS)
            return {str(preview(key, 1)): preview(item, depth - 1) for key, item in pairs}
        items: Iterable[Any] = value
        if isinstance(value, set | frozenset):
            items = sorted(value, key=_sort_key)
        return [preview(item, depth - 1) for item in itertools.islice(items, _PREVIEW_ITEMS)]
    except Exception as error:  # noqa: BLE001 - a container of the caller's may do anything when read
        return f"<{type(value).__name__}: {type(error).__name__} when read>"


def _sort_key(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


def _preview_object(value: Any) -> str:
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
        return f"<{getattr(value, '__module__', '?')}.{value.__qualname__}>"
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _PREVIEW_TEXT else f"{text[:_PREVIEW_TEXT]}... ({len(text)} characters)"


def _bad(task: ProcessingTask, name: str, wanted: str) -> InvalidTaskError:
    shown = preview(getattr(task, name), 1)
    return InvalidTaskError(
        f"task {task.id!r}: {name} must be {wanted}, not {shown!r}", field=name, task_id=str(task.id)
    )


def _has_string_keys(value: object) -> bool:
    if type(value) is dict and _ONLY_STRINGS.issuperset(map(type, value)):
        return True
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _check_text(task: ProcessingTask, name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise _bad(task, name, f"a string of 1 to {_MAX_TEXT} characters")


def _check_seconds(task: ProcessingTask, name: str, value: object, *, positive: bool) -> None:
    if type(value) is float and 0.0 < value < math.inf:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared with the largest float: an integer beyond it cannot even be asked whether it is finite.
    usable = number and 0 <= value <= sys.float_info.max  # type: ignore[operator]  # a number by now
    if not usable or (positive and value == 0):
        wanted = "a finite number above 0" if positive else "a finite number of 0 or more"
        raise _bad(task, name, f"{wanted}, or None")


def _checked_strings(task: ProcessingTask, name: str, value: Any, kind: Callable[[Any], Any]) -> Any:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _bad(task, name, "a collection of strings")
    # Any iterable will do once; keep what it yielded.
    items = tuple(value)
    if not all(isinstance(item, str) and item for item in items):
        raise _bad(task, name, "a collection of non-empty strings")
    return kind(items)
