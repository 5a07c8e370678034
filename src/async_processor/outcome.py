"""How one attempt ended: what a lane reports, the retry policy judges and the result shows.

An exception is turned into an ``ErrorInfo`` once, at the border where user code ends. From there on only text and
flags travel: no frame, no local variable and no foreign object is kept alive by a failure.
"""

from __future__ import annotations

import sys
import traceback as _traceback
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .errors import LaneError, RetryableError

MAX_MESSAGE_CHARS = 2_000
MAX_TRACEBACK_CHARS = 16_000
_MAX_TRACEBACK_FRAMES = 40


class StopReason(Enum):
    """Why an attempt is asked to stop."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"


@dataclass(slots=True, frozen=True, kw_only=True)
class ErrorInfo:
    """An exception as text and flags.

    Attributes:
        type_name: class name of the exception, e.g. ``"ValueError"``.
        message: its text, cut.
        traceback: the traceback as text, cut to its last frames; None where there is none.
        permanent: whether no retry can mend it.
        retry_after: seconds to wait at least before the next attempt, if the error knows.
        lane_failed: whether the place failed and not the function.
    """

    type_name: str
    message: str
    traceback: str | None = None
    permanent: bool = False
    retry_after: float | None = None
    lane_failed: bool = False

    @classmethod
    def from_exception(cls, error: BaseException, *, with_traceback: bool = True) -> ErrorInfo:
        """Describe an exception. Never raises, whatever the exception's own methods do."""
        return cls(
            type_name=type(error).__name__,
            message=_message_of(error),
            traceback=_traceback_of(error) if with_traceback else None,
            permanent=getattr(type(error), "permanent", None) is True,
            retry_after=_retry_after_of(error),
            lane_failed=isinstance(error, LaneError),
        )


@dataclass(slots=True, frozen=True)
class Measures:
    """What an attempt used, where the lane could measure it.

    Attributes:
        cpu_time: seconds of processor time.
        peak_memory_mb: highest resident memory of the worker during the attempt, MiB.
        profile: where the time went, as text, if the attempt was profiled (see ``profile.profile_call``).
    """

    cpu_time: float | None = None
    peak_memory_mb: float | None = None
    profile: str | None = None


NO_MEASURES = Measures()


@dataclass(slots=True, frozen=True)
class Returned:
    """The function returned ``value``."""

    value: Any
    measures: Measures = NO_MEASURES


@dataclass(slots=True, frozen=True)
class Raised:
    """The function raised, or its lane failed under it."""

    error: ErrorInfo
    measures: Measures = NO_MEASURES


@dataclass(slots=True, frozen=True)
class Stopped:
    """The attempt ended because the lane was told to stop it."""

    measures: Measures = NO_MEASURES


AttemptOutcome = Returned | Raised | Stopped


def _message_of(error: BaseException) -> str:
    try:
        # Joined, because __str__ may give a subclass of str with methods of its own.
        text = "".join([str(error), ""])
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may do anything, sys.exit() included
        return f"(its message cannot be read: {type(broken).__name__})"
    if len(text) > MAX_MESSAGE_CHARS:
        text = f"{text[:MAX_MESSAGE_CHARS]}... ({len(text)} characters)"
    # A lone surrogate would break whoever encodes the message next.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text or type(error).__name__


def _traceback_of(error: BaseException) -> str:
    try:
        lines = _traceback.format_exception(
            type(error), error, error.__traceback__, limit=-_MAX_TRACEBACK_FRAMES, chain=True
        )
        text = "".join(line[-MAX_TRACEBACK_CHARS:] for line in lines)
    except BaseException as broken:  # noqa: BLE001 - formatting runs the user's __str__, __notes__ and __cause__
        return f"(traceback cannot be formatted: {type(broken).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TRACEBACK_CHARS else "..." + text[-MAX_TRACEBACK_CHARS:]


def _retry_after_of(error: BaseException) -> float | None:
    if not isinstance(error, RetryableError):
        return None
    try:
        value = error.retry_after
    except BaseException:  # noqa: BLE001 - a user's property may do anything
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # Compared with the largest float: an integer beyond it cannot even be asked whether it is finite.
    return float(value) if 0 <= value <= sys.float_info.max else None
