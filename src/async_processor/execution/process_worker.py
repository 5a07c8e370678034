"""What runs in a worker process: its start, then one attempt after the other until the parent goes.

Only this package's light modules are imported here; everything else comes with the functions.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import pickle
import sys
import time
import traceback
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from ..clock import SystemClock
from ..context import TaskContext, current_task_id
from ..outcome import NO_MEASURES, ErrorInfo, Measures, Raised, Returned
from ..profile import profile_call
from .base import Attempt
from .calling import call, failed, is_awaitable, make_context, refused, returned
from .own_loop import OwnLoop
from .process_arena import Arena, ArenaFullError
from .process_codec import OVERHEAD_BYTES, Chunks, Encoder, FunctionCache, cannot_rebuild, encode
from .process_guard import (
    close_stdin,
    die_with_parent,
    end_group,
    lead_own_group,
    offer_to_oom_killer,
    reset_signals,
    take_environment,
)
from .process_job import Notes, rebuild_attempt
from .process_measure import Meter, max_resident_mb, resident_mb
from .process_progress import ProgressReporter
from .process_wire import BEGAN, RAISED, READY, RETURNED, START_FAILED, Frame, WorkerChannel

# What a worker of a memory-intensive task may keep beyond what it had when it was new: its imports, mostly.
GROWTH_MB = 64.0
_LOOK_EVERY_S = 0.005
ERROR_LIMIT_BYTES = 1024 * 1024


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told at its start.

    Attributes:
        parent: process id of the parent.
        environ: the environment to take over.
        folder: the working directory; None to stay.
        result_limit: largest result, in bytes.
        max_memory_mb: resident memory from which on this worker wants to be replaced; 0 for none.
        initializer: a function without arguments to call before the first attempt, as bytes.
    """

    parent: int
    environ: Mapping[str, str]
    folder: str | None
    result_limit: int
    max_memory_mb: float
    initializer: bytes | None


class Descriptors(NamedTuple):
    """What a worker inherits: the socket to its parent and its arenas, if any."""

    channel: int
    incoming: int | None
    outgoing: int | None

    def present(self) -> list[int]:
        """Those that there are."""
        return [item for item in self if item is not None]


@dataclass(slots=True, frozen=True)
class WorkerStart:
    """The object that multiprocessing unpickles in the new process, and then calls ``_bootstrap`` of.

    ``descriptors`` is None behind a fork server, which numbers them anew and keeps a list.
    """

    settings: WorkerSettings
    descriptors: Descriptors | None

    def _bootstrap(self, lifeline: int) -> int:
        lead_own_group()
        reset_signals()
        channel, incoming, outgoing = self.descriptors or _inherited()
        talk = WorkerChannel(
            channel,
            None if incoming is None else Arena(incoming),
            None if outgoing is None else Arena(outgoing),
        )
        die_with_parent(lifeline, self.settings.parent)
        try:
            _settle_in(self.settings)
        except BaseException as error:  # noqa: BLE001 - an initializer may do anything; the parent is told, and this ends
            text = _account_of(error).encode()
            talk.send(START_FAILED, b"", [text], len(text))
            return 1
        talk.send(READY)
        Worker(talk, self.settings).serve()
        # The parent closed its end: it has no use for this worker, or is gone.
        end_group()
        return 0


def _inherited() -> Descriptors:
    from multiprocessing import forkserver  # loaded already behind a fork server, and of no use anywhere else

    channel, *arenas = forkserver.get_inherited_fds() or [-1]
    incoming, outgoing = arenas or (None, None)
    return Descriptors(channel, incoming, outgoing)


def _settle_in(settings: WorkerSettings) -> None:
    close_stdin()
    offer_to_oom_killer()
    take_environment(settings.environ)
    if settings.folder is not None:
        os.chdir(settings.folder)
    if settings.initializer is not None:
        pickle.loads(settings.initializer)()  # noqa: S301 - from the parent of this very process


def _account_of(error: BaseException) -> str:
    info = ErrorInfo.from_exception(error)
    return f"{info.type_name}: {info.message}\n{info.traceback or ''}"


class Worker:
    """Runs the attempts that the parent sends, one at a time, in the main thread.

    Args:
        channel: to the parent.
        settings: limits.
    """

    __slots__ = ("_channel", "_functions", "_look_again_at", "_resident_when_new", "_results", "_settings")

    def __init__(self, channel: WorkerChannel, settings: WorkerSettings) -> None:
        self._channel = channel
        self._settings = settings
        self._functions = FunctionCache()
        self._results = Encoder()
        self._resident_when_new = resident_mb()
        self._look_again_at = 0.0

    def serve(self) -> None:
        """Run attempts until the parent closes its end, or is gone."""
        with contextlib.suppress(OSError):
            while (frame := self._channel.receive()) is not None:
                self._handle(frame)
                del frame

    def _handle(self, frame: Frame) -> None:
        reply = self._answer(frame)
        # Nothing of the attempt is held here any more: what its objects do when they are freed (fail, hang, crash) is
        # still part of it, and not of the next.
        _flush()
        notes = self._notes(reply)
        try:
            self._channel.send(reply.kind, notes, reply.body.parts, reply.body.size)
        except (MemoryError, ArenaFullError) as error:
            body = _raised(refused(error)).body
            self._channel.send(RAISED, notes, body.parts, body.size)

    def _answer(self, frame: Frame) -> _Reply:
        try:
            attempt = self._rebuild(frame)
        except BaseException as error:  # noqa: BLE001 - unpickling runs user code, as importing its module does
            return _raised(refused(cannot_rebuild("the function or the payload of the task", error)))
        return self._run(attempt)

    def _rebuild(self, frame: Frame) -> Attempt:
        arena = self._channel.incoming
        if not frame.in_arena or arena is None:
            message = pickle.loads(frame.body)  # noqa: S301 - from the parent of this very process
        else:
            try:
                message = arena.load(frame.size)
            finally:
                arena.trim(frame.size)
        return rebuild_attempt(frame.notes, message, self._functions)

    def _run(self, attempt: Attempt) -> _Reply:
        progress = ProgressReporter(self._channel) if attempt.wants_context else None
        context = None if progress is None else make_context(attempt, progress.report, SystemClock())
        meter = Meter() if attempt.profile or attempt.recycle_worker else None
        self._channel.send(BEGAN)
        outcome, profile = perform(attempt, context)
        reply = self._reply(outcome, attempt.task.id)
        if progress is not None:
            progress.finish()
        if meter is None:
            return reply
        return reply._replace(measures=replace(meter.read(), profile=profile), recycle=attempt.recycle_worker)

    def _reply(self, outcome: Returned | Raised, task_id: str) -> _Reply:
        if isinstance(outcome, Raised):
            return _raised(outcome)
        if outcome.value is None:
            return _NOTHING
        try:
            what = f"the result of task {task_id!r}"
            limit = self._settings.result_limit + OVERHEAD_BYTES
            return _Reply(RETURNED, self._results.encode(outcome.value, limit, what))
        except BaseException as error:  # noqa: BLE001 - pickling runs user code
            return _raised(refused(error))

    def _notes(self, reply: _Reply) -> bytes:
        outgrown = self._outgrown(reply.recycle)
        if reply.measures is NO_MEASURES and not outgrown:
            return b""
        return Notes(reply.measures, outgrown).encode()

    def _outgrown(self, recycle: bool) -> bool:
        if recycle and resident_mb() > self._resident_when_new + GROWTH_MB:
            return True
        limit, now = self._settings.max_memory_mb, time.monotonic()
        # What attempts that end within milliseconds of each other use is no matter of one of them.
        if not limit or now < self._look_again_at:
            return False
        self._look_again_at = now + _LOOK_EVERY_S
        # The cheap figure first.
        return limit < max_resident_mb() and resident_mb() > limit


class _Reply(NamedTuple):
    kind: int
    body: Chunks
    measures: Measures = NO_MEASURES
    recycle: bool = False


_NOTHING = _Reply(RETURNED, Chunks(0, "nothing"))


def _raised(outcome: Raised) -> _Reply:
    return _Reply(RAISED, encode(outcome.error, ERROR_LIMIT_BYTES, "the error"))


def perform(attempt: Attempt, context: TaskContext | None) -> tuple[Returned | Raised, str | None]:
    """Call the function in this thread; what came of it, and its profile if one was wanted. Never raises."""
    if not attempt.profile:
        return _outcome(attempt, context), None
    profiled = profile_call(partial(_outcome, attempt, context))
    return profiled.value, profiled.text


def _outcome(attempt: Attempt, context: TaskContext | None) -> Returned | Raised:
    try:
        variables = contextvars.copy_context()
        variables.run(current_task_id.set, attempt.task.id)
        if attempt.is_async:
            return OwnLoop().run(_drive(attempt, context, None), variables)
        value = variables.run(call, attempt, context)
        if is_awaitable(value):
            return OwnLoop().run(_drive(attempt, context, value), variables)
        return returned(value, attempt)
    except BaseException as error:  # noqa: BLE001 - user code ends here; its SystemExit must not end the worker
        return _failed(error)


async def _drive(attempt: Attempt, context: TaskContext | None, awaitable: Awaitable[Any] | None) -> Returned | Raised:
    try:
        return returned(await (call(attempt, context) if awaitable is None else awaitable), attempt)
    except BaseException as error:  # noqa: BLE001 - as above; on a loop, SystemExit would stop the clean-up as well
        return _failed(error)


def _failed(error: BaseException) -> Raised:
    if not isinstance(error, MemoryError):
        return failed(error)
    # Its frames hold what filled the memory.
    traceback.clear_frames(error.__traceback__)
    outcome = failed(error)
    said = "" if outcome.error.message == "MemoryError" else f": {outcome.error.message}"
    return Raised(replace(outcome.error, message=f"out of memory in the worker process{said}"))


def _flush() -> None:
    # What is buffered would be lost with the worker.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - the function may have put anything in the place of the stream
            continue
