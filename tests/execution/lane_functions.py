"""Processor functions for the lane tests. All at module level, so that they can travel to a worker process."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from async_processor.context import TaskContext
from async_processor.errors import PermanentError, RetryableError
from async_processor.model import ProcessingTask

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


@dataclass(frozen=True)
class AsAsync:
    """The async form of a function that does not wait."""

    body: Callable[..., Any]

    async def __call__(self, *arguments: Any) -> Any:
        return self.body(*arguments)


# ---- what they return


def double(task: ProcessingTask) -> int:
    return task.payload["number"] * 2


async def double_async(task: ProcessingTask) -> int:
    return task.payload["number"] * 2


class Doubler:
    def __call__(self, task: ProcessingTask) -> int:
        return double(task)

    def method(self, task: ProcessingTask) -> int:
        return double(task)

    async def async_method(self, task: ProcessingTask) -> int:
        return double(task)


def double_with(task: ProcessingTask, *, factor: int) -> int:
    return task.payload["number"] * factor


async def double_with_async(task: ProcessingTask, *, factor: int) -> int:
    return task.payload["number"] * factor


def echo(task: ProcessingTask) -> Any:
    return task.payload["value"]


def many_bytes(task: ProcessingTask) -> bytes:
    return bytes(range(256)) * (task.payload["size"] // 256)


def describe_context(task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
    return {
        "task_id": context.task_id,
        "task_type": str(context.task_type),
        "attempt": context.attempt,
        "max_attempts": context.max_attempts,
        "idempotency_key": context.idempotency_key,
        "time_remaining": context.time_remaining(),
        "cancelled": context.cancelled,
        "dependencies": {name: result.result for name, result in context.dependencies.items()},
        "first": context.dependencies.first("earlier"),
    }


def report_progress(task: ProcessingTask, context: TaskContext) -> str:
    for part in range(task.payload["parts"]):
        context.report_progress(part / task.payload["parts"], f"part {part}")
    context.report_progress(1.0, "all")
    return "reported"


def read_variable(task: ProcessingTask) -> str:
    return variable.get()


def change_variable(task: ProcessingTask) -> str:
    variable.set("changed by an attempt")
    return variable.get()


async def _later(value: int) -> int:
    await asyncio.sleep(0)
    return value


def return_coroutine(task: ProcessingTask) -> Any:
    return _later(5)


def return_generator(task: ProcessingTask) -> Iterator[int]:
    return (number for number in range(3))


async def _numbers() -> AsyncIterator[int]:
    yield 1


def return_async_generator(task: ProcessingTask) -> AsyncIterator[int]:
    return _numbers()


def burn(task: ProcessingTask) -> int:
    """Use processor time: as much as asked for, in this thread."""
    rounds = 0
    until = time.thread_time() + task.payload["seconds"]
    while time.thread_time() < until:
        rounds += 1
    return rounds


# ---- what they raise


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class ExitingTextError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class OwnPermanentError(Exception):
    permanent = True


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("a plain error"),
    "TimeoutError": lambda: TimeoutError("not the attempt's own"),
    "CancelledError": lambda: asyncio.CancelledError("nobody asked"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("not from a keyboard"),
    "SystemExit": lambda: SystemExit(3),
    "StopIteration": lambda: StopIteration("value"),
    "GeneratorExit": lambda: GeneratorExit("out"),
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("two")]),
    "BrokenTextError": BrokenTextError,
    "ExitingTextError": ExitingTextError,
    "MemoryError": lambda: MemoryError("10 MB of text: " + "x" * 10_000_000),
    "RecursionError": lambda: RecursionError("too deep"),
    "UnicodeError": lambda: UnicodeError("a lone surrogate \udc80"),
}

FLAGGED: dict[str, Callable[[], BaseException]] = {
    "PermanentError": lambda: PermanentError("never again"),
    "OwnPermanentError": lambda: OwnPermanentError("never again"),
    "RetryableError": lambda: RetryableError("later", retry_after=12.5),
    "ValueError": lambda: ValueError("perhaps"),
}


def raise_error(task: ProcessingTask) -> None:
    error = {**ERRORS, **FLAGGED}[task.payload["error"]]()
    raise error


def raise_group_chain(task: ProcessingTask) -> None:
    try:
        double(task)
    except KeyError as error:
        raise ValueError("the number is missing") from error


# ---- what does not end by itself


def wait_for_cancel(task: ProcessingTask, context: TaskContext) -> str:
    """Wait as a thread has to: by looking whether to go on."""
    context.report_progress(0.0, "begun")
    while not context.cancelled:
        time.sleep(0.001)
    return "ended of itself"


async def wait_for_cancel_async(task: ProcessingTask, context: TaskContext) -> str:
    context.report_progress(0.0, "begun")
    await asyncio.sleep(3_600)
    return "never"


# ---- what can be seen from outside


def leave_a_mark(task: ProcessingTask) -> None:
    with Path(task.payload["path"]).open("a") as file:
        file.write("ran\n")
