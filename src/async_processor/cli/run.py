"""``async-processor run``: a program's processor functions, and what a store holds for them, until a signal."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import AsyncProcessorError, ConfigurationError
from ..processor import AdvancedAsyncProcessor
from ..runtime.stores import MEMORY, Durability
from ..storage.sqlite_view import StoreView
from . import event_loop
from .deadline import Deadline, end_at_once
from .exit_code import ExitCode
from .interruption import InterruptedBySignal, Interruption, interruptible
from .output import complain, tell
from .serving import serve
from .store_option import file_of

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
        http: where to serve health and events, PORT or HOST:PORT; None for nowhere.
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
    http: str | None = None


Setup = Callable[[AdvancedAsyncProcessor], Awaitable[None] | None]


def run_program(options: RunOptions) -> ExitCode:
    """Run until told to end; says what went wrong on standard error."""
    try:
        _check_timeout(options.timeout)
        setup = load(options.program)
        return _run_until_told(setup, options)
    except KeyboardInterrupt:
        # While the program was being imported: nothing runs yet.
        tell("async-processor run: stopped by SIGINT")
        return ExitCode.INTERRUPTED
    except ConfigurationError as error:
        complain(_COMMAND, error)
        return ExitCode.USAGE
    except AsyncProcessorError as error:
        complain(_COMMAND, error)
        return ExitCode.FAILED


def _check_timeout(timeout: float) -> None:
    """Before anything runs, not when it is to end.

    Raises:
        ConfigurationError: no such time can be waited for.
    """
    if not 0 <= timeout < float("inf"):
        raise ConfigurationError(f"--timeout must be a finite number of seconds, 0 or more, not {timeout!r}")


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
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # What the program itself fails to import is its own matter, and shown with its traceback.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {module!r} in {here} or installed") from None
    function = getattr(imported, name, None)
    if function is None:
        raise ConfigurationError(f"the module {module!r} has no {name!r}")
    if not callable(function):
        raise ConfigurationError(
            f"{program} must be a function that takes the processor, not {type(function).__name__}"
        )
    setup: Setup = function
    return setup


def _run_until_told(setup: Setup, options: RunOptions) -> ExitCode:
    deadline = Deadline(options.timeout + 1.0)
    # Also after the loop: the interpreter's end waits for threads of libraries.
    with interruptible(on_first=deadline.begin, on_second=end_at_once) as interruption:
        try:
            event_loop.run(_run(setup, options, interruption))
        except InterruptedBySignal as error:
            tell(f"async-processor run: stopped by {error}{_left(options)}")
            return ExitCode(128 + error.number)
    return ExitCode.OK


async def _run(setup: Setup, options: RunOptions, interruption: Interruption) -> None:
    processor = AdvancedAsyncProcessor(
        options.max_workers,
        options.max_thread_workers,
        options.max_process_workers,
        options.queue_size,
        store=options.store,
        durability=options.durability,
    )
    # Before anything is taken up, which may take its time: probes want an answer meanwhile.
    server = None if options.http is None else serve(processor, options.http)
    try:
        await interruption.run(_work(processor, setup, options))
    finally:
        ending = asyncio.create_task(processor.shutdown(options.timeout))
        if server is not None:
            # While running tasks are given their time, whoever asks is told that no more are taken.
            await asyncio.wait([ending], timeout=options.timeout)
            await server.stop()
        await ending


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


def _left(options: RunOptions) -> str:
    if options.store == MEMORY:
        return ""
    try:
        count = StoreView(file_of(options.store)).unfinished()
    except AsyncProcessorError as error:
        return f"; what is left cannot be counted: {error}"
    return f"; {count} {'task stays' if count == 1 else 'tasks stay'} in the store for the next start"
