"""Every error of the library, in one tree.

::

    AsyncProcessorError
    ├── ConfigurationError            (ValueError)  a setting is missing, contradictory or out of range
    │   └── MissingExtraError         (ImportError) an optional library is not installed
    ├── InvalidTaskError              (ValueError)  a field of a task cannot be used; refused at submit
    │   ├── DuplicateTaskError                      the id is already in use
    │   └── CyclicDependencyError                   the task would wait for itself
    ├── UnknownTaskError              (KeyError)    no task of that id is known (any more)
    ├── QueueFullError                              ``submit_task_nowait`` found no room
    ├── ProcessorNotRunningError      (RuntimeError) not started, shutting down or shut down
    ├── WrongThreadError              (RuntimeError) called from elsewhere than the processor's event loop
    ├── StoreError                                  the store cannot be read or written now
    │   ├── StoreLockedError                        another processor has it
    │   └── StoreFormatError          (ValueError)  no store, damaged, or made by a newer version
    ├── SubscriberTooSlowError                      too many events waited for a subscriber, which was dropped
    ├── TaskFailedError                             raised by ``TaskResult.unwrap`` for what did not complete
    │   ├── TaskTimeoutError          (TimeoutError)
    │   └── TaskCancelledError
    ├── PermanentError                              an attempt failed in a way that no retry can mend
    │   ├── InvalidPayloadError       (ValueError)  the payload is wrong; refused at submit if its form tells
    │   ├── InvalidResultError        (ValueError)  a result is not of the form that it is read as
    │   ├── ProcessorNotAvailableError              nothing is registered for the type, or it cannot run here
    │   ├── AuthenticationError                     a provider refused the credentials
    │   ├── UnserializableError       (TypeError)   something cannot cross to a process, or be kept in a store
    │   └── SizeLimitError            (ValueError)  payload or result is larger than the limit
    ├── RetryableError                              an attempt failed and says when to try again
    │   └── ProviderError                           a provider did not answer, or not usefully
    └── LaneError                                   the place where an attempt ran failed, not the attempt
        ├── WorkerDiedError                         the worker process ended under the attempt
        ├── WorkerStartError                        no worker process could be started
        └── LaneUnavailableError                    the lane takes no work (too many abandoned threads)

Errors that concern one task carry its id in ``task_id``; the message names it too.
"""

from __future__ import annotations

import signal as _signal
from collections.abc import Sequence
from typing import ClassVar


class AsyncProcessorError(Exception):
    """Base of all errors raised by this library.

    Args:
        message: what was wrong, with which task, and what to do about it.
        task_id: the task concerned, where there is one.
    """

    permanent: ClassVar[bool] = False
    """Whether no retry can mend it. Any exception class may declare this of itself."""

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.task_id = task_id

    def __str__(self) -> str:
        return self.message


class ConfigurationError(AsyncProcessorError, ValueError):
    """A setting is missing, contradictory or out of range."""

    permanent = True


class MissingExtraError(ConfigurationError, ImportError):
    """An optional library is not installed; the message holds the line that installs it."""

    def __init__(self, extra: str, *, needed_for: str, task_id: str | None = None) -> None:
        super().__init__(
            f"{needed_for} needs the optional extra {extra!r}: pip install 'advanced-async-processor[{extra}]'",
            task_id=task_id,
        )
        self.extra = extra
        self.needed_for = needed_for


class InvalidTaskError(AsyncProcessorError, ValueError):
    """A field of a task cannot be used. Refused at submit; the task leaves no trace."""

    def __init__(self, message: str, *, field: str | None = None, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.field = field


class DuplicateTaskError(InvalidTaskError):
    """A task of this id is waiting, running or still remembered."""


class CyclicDependencyError(InvalidTaskError):
    """The task would, by way of its dependencies, wait for itself. ``path`` holds the ids of the circle."""

    def __init__(self, path: Sequence[str], *, task_id: str) -> None:
        shown = list(path) if len(path) <= 12 else [*path[:6], "...", *path[-5:]]
        super().__init__(
            f"task {task_id!r} would wait for itself: {' -> '.join(shown)}; remove one of these dependencies",
            field="depends_on",
            task_id=task_id,
        )
        self.path = tuple(path)


class UnknownTaskError(AsyncProcessorError, KeyError):
    """No task of that id was submitted, or its result is no longer kept."""


class QueueFullError(AsyncProcessorError):
    """``queue_size`` tasks are waiting already. Use ``await submit_task`` to wait for room."""


class ProcessorNotRunningError(AsyncProcessorError, RuntimeError):
    """The processor was not started, is shutting down, or was shut down."""


class WrongThreadError(AsyncProcessorError, RuntimeError):
    """A method of the processor was called from another thread than that of its event loop. Nothing was changed."""


class StoreError(AsyncProcessorError):
    """The store cannot be read or written now. What was refused with it left no trace; the message says what helps."""


class StoreLockedError(StoreError):
    """Another processor has the store: a store has one owner at a time. Nothing was changed."""


class StoreFormatError(StoreError, ValueError):
    """The file is no store of this library, is damaged, or was made by a newer version. It is left as it is."""


class SubscriberTooSlowError(AsyncProcessorError):
    """More than ``max_pending`` events waited for a subscriber: it was dropped, and nothing else noticed."""


class TaskFailedError(AsyncProcessorError):
    """Raised by ``TaskResult.unwrap`` when the task ended without a result."""


class TaskTimeoutError(TaskFailedError, TimeoutError):
    """The task's last attempt exceeded its timeout."""


class TaskCancelledError(TaskFailedError):
    """The task was cancelled, by a caller or because a dependency did not complete."""


class PermanentError(AsyncProcessorError):
    """Raise this (or a subclass) in a processor function for a failure that no retry can mend."""

    permanent = True


class InvalidPayloadError(PermanentError, ValueError):
    """The payload is wrong. ``field`` names the key; the message says what to send instead.

    Raised at submit by a built-in type whose schema the payload breaks; what shows only when it is used fails the task.
    """

    def __init__(self, message: str, *, field: str | None = None, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.field = field


class InvalidResultError(PermanentError, ValueError):
    """A task's result is not of the form that it is read as. ``field`` says where, as in ``"segments[0].start"``."""

    def __init__(self, message: str, *, field: str | None = None, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.field = field


class ProcessorNotAvailableError(PermanentError):
    """No processor function is registered for the type, or the one there is cannot run here."""


class AuthenticationError(PermanentError):
    """A provider refused the credentials. The credentials are never part of the message."""


class UnserializableError(PermanentError, TypeError):
    """A function, payload or result cannot be sent to or from a worker process, or be kept in a store."""


class SizeLimitError(PermanentError, ValueError):
    """A payload or result is larger than the configured limit."""


class RetryableError(AsyncProcessorError):
    """A failure that another attempt may mend.

    Args:
        message: what went wrong.
        retry_after: seconds to wait at least before the next attempt; None leaves it to the backoff.
        task_id: the task concerned, where there is one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.retry_after = retry_after


class ProviderError(RetryableError):
    """A provider (a library or a hosted service) did not answer, or not with something usable."""


class LaneError(AsyncProcessorError):
    """The place where an attempt ran failed, not the attempt itself. Retried like any failure."""


class WorkerDiedError(LaneError):
    """The worker process ended while it ran the attempt.

    ``exit_code`` is the code it ended with, or None; ``signal`` the number of the signal that ended it, or None.
    """

    def __init__(self, task_id: str, *, exit_code: int | None, detail: str = "") -> None:
        self.exit_code = exit_code if exit_code is not None and exit_code >= 0 else None
        self.signal = -exit_code if exit_code is not None and exit_code < 0 else None
        super().__init__(
            f"the worker process of task {task_id!r} died ({self._cause()})"
            + (f": {detail}" if detail else "")
            + "; only this attempt was lost",
            task_id=task_id,
        )

    def _cause(self) -> str:
        if self.signal is not None:
            try:
                name = _signal.Signals(self.signal).name
            except ValueError:
                name = "unknown"
            return f"signal {self.signal}, {name}"
        return "exit code unknown" if self.exit_code is None else f"exit code {self.exit_code}"


class WorkerStartError(LaneError):
    """No worker process could be started for the attempt."""


class LaneUnavailableError(LaneError):
    """The lane takes no further work for now; the message says why and what would help."""
