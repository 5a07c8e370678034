"""``async-processor run``: a program's processor functions, and what a store holds for them, until a signal."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import AsyncProcessorError, ConfigurationError
from ..processor import AdvancedAsyncProcessor
from ..runtime.stores import MEMORY, Durability
from .exit_code import ExitCode
from .interruption import InterruptedBySignal, Interruption, interruptible
from .output import complain, tell

_COMMAND = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line says.

    Attributes:
        program: MODULE:FUNCTION.
        store, durability: where tasks are kept.
        max_workers, max_thread_workers, max_process_workers, queue_size: as of the processor.
        timeout: seconds that running tasks are given at the end.
        until_idle: whether to end when no task waits or runs.
    """

    program: str
    store: str
    durability: Durability
    max_workers: int
    max_thread_workers: int
    max_process_workers: int
    queue_size: int
    timeout: float
    until_idle: bool


Setup = Callable[[AdvancedAsyncProcessor], Awaitable[None] | None]


def run_program(options: RunOptions) -> ExitCode:
    """Run until told to end; says what went wrong on standard error."""
    try:
        setup = load(options.program)
        asyncio.run(_run(setup, options))
    except ConfigurationError as error:
        complain(_COMMAND, error)
        return ExitCode.USAGE
    except InterruptedBySignal as error:
        tell(f"async-processor run: stopped by {error}{_left(options)}")
        return ExitCode(128 + error.number)
    except AsyncProcessorError as error:
        complain(_COMMAND, error)
        return ExitCode.FAILED
    return ExitCode.OK


def load(program: str) -> Setup:
    """The function that MODULE:FUNCTION names, from the working directory or what is installed.

    Raises:
        ConfigurationError: there is none.
    """
    module, _, name = program.partition(":")
    if not module or not name:
        raise ConfigurationError(f"name the program as MODULE:FUNCTION, not {program!r}")
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        # What the program itself fails to import is its own matter, and shown with its traceback.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {module!r} in {here} or installed") from None
    except AttributeError:
        raise ConfigurationError(f"the module {module!r} has no {name!r}") from None
    if not callable(function):
        raise ConfigurationError(
            f"{program} must be a function that takes the processor, not {type(function).__name__}"
        )
    setup: Setup = function
    return setup


async def _run(setup: Setup, options: RunOptions) -> None:
    processor = AdvancedAsyncProcessor(
        options.max_workers,
        options.max_thread_workers,
        options.max_process_workers,
        options.queue_size,
        store=options.store,
        durability=options.durability,
    )
    with interruptible() as interruption:
        interruption.on_second = _end_at_once
        try:
            await interruption.run(_work(processor, setup, options))
        finally:
            await _shut_down(processor, interruption, options.timeout)


async def _work(processor: AdvancedAsyncProcessor, setup: Setup, options: RunOptions) -> None:
    own = None
    if not inspect.iscoroutinefunction(setup):
        # Before the start, so that what the store holds finds its functions.
        own = setup(processor)
    await processor.start()
    if inspect.iscoroutinefunction(setup):
        own = setup(processor)
    if own is not None:
        await own
    if options.until_idle:
        await processor.wait_until_idle()
    else:
        await asyncio.Event().wait()


async def _shut_down(processor: AdvancedAsyncProcessor, interruption: Interruption, timeout: float) -> None:
    await processor.shutdown(timeout)
    interruption.on_second = None


def _end_at_once(number: int) -> None:
    """Somebody insists. The store bears it, and workers end with their parent."""
    tell("async-processor run: ended at once")
    os._exit(128 + number)


def _left(options: RunOptions) -> str:
    if options.store == MEMORY:
        return ""
    from ..storage.sqlite_view import StoreView
    from .store_option import file_of

    try:
        count = StoreView(file_of(options.store)).counts().of_status("pending", "running")
    except AsyncProcessorError as error:
        return f"; what is left cannot be counted: {error}"
    return f"; {count} tasks stay in the store for the next start"
