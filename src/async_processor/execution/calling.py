"""What every lane that runs in this process does the same way: the context, the call, and what came of it.

User code ends here. Whatever it raised becomes an ``ErrorInfo``, whatever it returned is checked to be a result.
"""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from typing import Any

from ..clock import Clock
from ..context import ProgressSink, TaskContext
from ..errors import LaneUnavailableError, PermanentError, ProcessorNotAvailableError
from ..model import LaneName
from ..outcome import NO_MEASURES, ErrorInfo, Measures, Raised, Returned
from .base import Attempt

# The types of nearly all results; the rest is asked what it is.
_PLAIN = frozenset({types.NoneType, bool, int, float, str, bytes, dict, list, tuple})
_UNFINISHED = (Awaitable, Generator, AsyncGenerator)


def make_context(attempt: Attempt, progress: ProgressSink, clock: Clock) -> TaskContext:
    """What the function is given as its second argument. The timeout counts from now."""
    return TaskContext(
        task_id=attempt.task.id,
        task_type=attempt.task.task_type,
        attempt=attempt.number,
        max_attempts=attempt.max_attempts,
        idempotency_key=attempt.task.idempotency_key,
        deadline=None if attempt.timeout is None else clock.monotonic() + attempt.timeout,
        dependencies=attempt.dependencies,
        progress=progress,
        clock=clock,
    )


def call(attempt: Attempt, context: TaskContext | None) -> Any:
    """Call the function; with its context, if it takes one."""
    return attempt.func(attempt.task) if context is None else attempt.func(attempt.task, context)


def failed(error: BaseException, measures: Measures = NO_MEASURES) -> Raised:
    """The outcome of an attempt whose function raised. Its traceback begins with the function, not with the lane."""
    return Raised(ErrorInfo.from_exception(error.with_traceback(_from_function(error.__traceback__))), measures)


def refused(error: BaseException, measures: Measures = NO_MEASURES) -> Raised:
    """The outcome of an attempt that the lane itself turns down: there is no traceback worth showing."""
    return Raised(ErrorInfo.from_exception(error, with_traceback=False), measures)


def is_awaitable(value: Any) -> bool:
    """Whether a function left its result to be awaited."""
    return type(value) not in _PLAIN and isinstance(value, Awaitable)


def returned(value: Any, attempt: Attempt, measures: Measures = NO_MEASURES) -> Returned | Raised:
    """The outcome of an attempt whose function returned: a coroutine or a generator is work, and no result."""
    if type(value) in _PLAIN or not isinstance(value, _UNFINISHED):
        return Returned(value, measures)
    kind = type(value).__name__
    discard(value)
    return refused(
        PermanentError(
            f"the function of task {attempt.task.id!r} returned a {kind} instead of a result; "
            "await it, or collect its items, in the function",
            task_id=attempt.task.id,
        ),
        measures,
    )


def not_async(attempt: Attempt) -> ProcessorNotAvailableError:
    """Why a function that is not async does not run on the event loop."""
    return ProcessorNotAvailableError(
        f"the function of task {attempt.task.id!r} is not async and would block the event loop; "
        "let it run in the thread lane, or make it an `async def`",
        task_id=attempt.task.id,
    )


def closed(lane: LaneName, attempt: Attempt) -> LaneUnavailableError:
    """Why nothing runs in a lane any more."""
    return LaneUnavailableError(
        f"the {lane} lane is closed and did not run task {attempt.task.id!r}; start a new processor",
        task_id=attempt.task.id,
    )


def _from_function(traceback: types.TracebackType | None) -> types.TracebackType | None:
    part = traceback
    while part is not None and part.tb_frame.f_globals.get("__package__") == __package__:
        part = part.tb_next
    # One that was raised on our side, because the function cannot be called like this, is shown as it is.
    return traceback if part is None else part


def discard(value: object) -> None:
    """Close what will not be run, so that nothing warns that it was never awaited."""
    if isinstance(value, Coroutine | Generator):
        try:
            value.close()
        except Exception:  # noqa: BLE001 - closing runs user code if it had begun; the refusal says all there is to say
            return
