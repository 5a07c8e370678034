"""CUSTOM: the payload brings the function.

``{'processor': function, ...}``: the function is called with the payload, as a plain dict, and with the task's context
if it takes a second parameter. It may be sync or async, and runs where a registered function of its kind would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config import ProcessorConfig
from ..context import TaskContext
from ..errors import ConfigurationError, InvalidPayloadError
from ..model import ProcessingTask
from . import payload as read
from .extras import missing_extra
from .registry import ProcessorSpec, Readiness, inspect_function

FIELD = "processor"
PROVIDER = "payload"
_WANTED = "a function that takes the payload, e.g. lambda payload: payload['input'] * 2"


class PayloadFunction:
    """Calls the function that a task's payload brings.

    Has no state and stands at the top of its module, so that it can be sent to a worker process: the function itself
    travels there with the payload.
    """

    __slots__ = ()

    def __call__(self, task: ProcessingTask, *context: TaskContext) -> Any:
        return task.payload[FIELD](dict(task.payload), *context)

    def __repr__(self) -> str:
        return f"payload[{FIELD!r}]"


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:  # noqa: ARG001 - all built-in processors are made so
    """The processor function for CUSTOM. How it is called is known per payload only: see ``resolve``."""
    return ProcessorSpec(
        func=PayloadFunction(),
        is_async=False,
        wants_context=False,
        resolve=resolve,
        readiness=readiness,
        example=example,
    )


async def readiness() -> Readiness:
    """It always works; closures need a library to get to a process."""
    closures = missing_extra("closures", "a lambda or closure in a worker process", "cloudpickle")
    return Readiness(provider=PROVIDER, offline=True, remarks=() if closures is None else (closures,))


def example() -> dict[str, Any]:
    """A function and what it works on."""
    return {FIELD: count_words, "text": "once upon a time"}


def count_words(payload: Mapping[str, Any]) -> dict[str, int]:
    """The function of the example."""
    return {"words": len(payload["text"].split())}


def resolve(payload: Mapping[str, Any]) -> ProcessorSpec:
    """How to call the function in a payload.

    Raises:
        InvalidPayloadError: there is none, or it cannot be called with the payload.
    """
    function = payload.get(FIELD)
    if function is None:
        raise read.invalid(FIELD, f"is missing; it must be {_WANTED}")
    if not callable(function):
        read.refuse(FIELD, _WANTED, function)
    try:
        found = inspect_function(function)
    except ConfigurationError as error:
        raise _unusable(error.message.partition(";")[0]) from None  # what follows tells of tasks, not of payloads
    except Exception as error:  # noqa: BLE001 - a border: a callable of the caller's may do anything when looked at
        raise _unusable(f"looking at it raised {type(error).__name__}") from None
    return ProcessorSpec(func=PayloadFunction(), is_async=found.is_async, wants_context=found.wants_context)


def _unusable(problem: str) -> InvalidPayloadError:
    return read.invalid(
        FIELD, f"must take the payload, and if it wants the TaskContext, and return one result; {problem}"
    )
