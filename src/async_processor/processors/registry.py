"""Which function runs which task type, and what is known about it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import AsyncProcessorError, ConfigurationError
from ..model import LaneName, ProcessingTask, ProcessingType, parse_task_type

ProcessorFunction = Callable[..., Any]


@dataclass(slots=True, frozen=True, kw_only=True)
class Readiness:
    """Whether tasks of a type could be done here and now.

    Attributes:
        provider: what would do them: a library, a program or a service.
        offline: whether nothing leaves the machine.
        problem: what is missing and what to do about it; None when all is there.
        remarks: what would be better, or is worth knowing; each a sentence.
    """

    provider: str
    offline: bool
    problem: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class ProcessorSpec:
    """A processor function and where it wants to run.

    Attributes:
        func: called as ``func(task)``, or ``func(task, context)`` if it takes a second parameter.
        is_async: whether calling it gives an awaitable.
        wants_context: whether it takes the ``TaskContext``.
        lane: the one lane it may run in, whatever hints a task carries; None to go by the hints.
        cpu_intensive, io_bound, memory_intensive: hints that hold for all tasks of the type, beside a task's own.
        resolve: for types whose payload tells how it runs: gives the spec to use for one payload. Called at submit,
            where its ``InvalidPayloadError`` refuses the task.
        check: refuses a task with an ``InvalidPayloadError``, before it is taken in. Called on the event loop for each
            task of the type, so it looks at types, sizes and choices and leaves what is inside to the function. A field
            that a dependency may bring is not missing in a task that has one.
        aclose: called once at shutdown, to close clients and models.
        readiness: finds out whether tasks of the type could be done, without doing one.
        example: makes a small payload that needs no key and no network, for a test of the installation.
    """

    func: ProcessorFunction
    is_async: bool
    wants_context: bool
    lane: LaneName | None = None
    cpu_intensive: bool = False
    io_bound: bool = False
    memory_intensive: bool = False
    resolve: Callable[[Mapping[str, Any]], ProcessorSpec] | None = None
    check: Callable[[ProcessingTask], object] | None = None
    aclose: Callable[[], Awaitable[None]] | None = None
    readiness: Callable[[], Awaitable[Readiness]] | None = None
    example: Callable[[], dict[str, Any]] | None = None


def inspect_function(func: ProcessorFunction, **options: Any) -> ProcessorSpec:
    """Find out how to call a function.

    Raises:
        ConfigurationError: it is not callable, is a generator, or takes neither one nor two arguments.
    """
    if not callable(func):
        raise ConfigurationError(f"a processor function must be callable, not {func!r}")
    target = _unwrapped(func)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise ConfigurationError(
            f"{_name(func)} is a generator: a processor function returns one result; "
            "collect the items, or report parts with TaskContext.report_progress"
        )
    return ProcessorSpec(
        func=func,
        is_async=inspect.iscoroutinefunction(target),
        wants_context=_wants_context(func),
        **options,
    )


def _unwrapped(func: ProcessorFunction) -> Any:
    """The function whose code runs: behind partials, bound methods and objects with ``__call__``."""
    while True:
        if isinstance(func, functools.partial):
            func = func.func
        elif inspect.ismethod(func):
            func = func.__func__
        elif inspect.isfunction(func) or inspect.isclass(func) or inspect.isbuiltin(func):
            return func
        else:
            call = getattr(type(func), "__call__", None)  # noqa: B004 - the code behind it is wanted, not a test
            return call if call is not None and inspect.isfunction(call) else func


def _wants_context(func: ProcessorFunction) -> bool:
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return False  # a builtin without a signature: it gets the task alone
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    required = [item for item in positional if item.default is item.empty]
    variadic = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    if not positional and not variadic:
        raise ConfigurationError(f"{_name(func)} takes no argument; a processor function takes the task")
    if len(required) > 2:
        raise ConfigurationError(
            f"{_name(func)} needs {len(required)} arguments; a processor function takes the task "
            "and, if it wants, the TaskContext"
        )
    named = next(
        (item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.default is item.empty), None
    )
    if named is not None:
        raise ConfigurationError(
            f"{_name(func)} needs the argument {named!r}, which no task brings; give it a default, or bind it with "
            "functools.partial"
        )
    if len(required) == 2:
        return True
    # An optional second parameter may be anything; only its name says that it is meant for the context.
    return len(positional) > 1 and positional[1].name == "context"


def _name(func: ProcessorFunction) -> str:
    return getattr(func, "__qualname__", None) or repr(func)


def failing(error: AsyncProcessorError) -> ProcessorSpec:
    """A spec for a task that cannot run: its one attempt fails with ``error``, on the event loop, at once."""

    async def fail(_task: ProcessingTask) -> None:
        raise error

    return ProcessorSpec(func=fail, is_async=True, wants_context=False, lane=LaneName.ASYNC)


class ProcessorRegistry:
    """Processor functions by task type. A later registration takes the place of an earlier one."""

    __slots__ = ("_closing", "_specs")

    def __init__(self, specs: Mapping[ProcessingType | str, ProcessorSpec] | None = None) -> None:
        self._specs: dict[str, ProcessorSpec] = {}
        # Each once, though several types share it, and also of functions that others took the place of.
        self._closing: dict[Callable[[], Awaitable[None]], None] = {}
        for task_type, spec in (specs or {}).items():
            self.register(task_type, spec)

    def register(self, task_type: ProcessingType | str, spec: ProcessorSpec) -> None:
        """Use ``spec`` for all tasks of a type submitted from now on."""
        self._specs[parse_task_type(task_type)] = spec
        if spec.aclose is not None:
            self._closing[spec.aclose] = None

    def get(self, task_type: ProcessingType | str) -> ProcessorSpec | None:
        """The spec of a type, or None."""
        return self._specs.get(task_type)

    def types(self) -> list[str]:
        """The types that have a function."""
        return list(self._specs)

    async def aclose(self) -> list[BaseException]:
        """Close every processor function that has something to close; gives back what went wrong."""
        problems: list[BaseException] = []
        for aclose in self._closing:
            try:
                await aclose()
            except Exception as error:  # noqa: BLE001 - one that cannot close must not keep the others open
                problems.append(error)
        return problems
