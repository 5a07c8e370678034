"""The parent's end of one worker: sends it attempts, reads what it reports, notices its death. On the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import NamedTuple, TypeVar

from ..errors import LaneError
from ..outcome import Raised, Returned
from . import process_wire as wire
from .calling import refused
from .process_arena import MAPPED_BYTES, Arena, after
from .process_codec import cannot_rebuild
from .process_exit import Exit
from .process_job import Job, Notes
from .process_new import NewWorker
from .process_progress import read_progress
from .process_threads import InThread

logger = logging.getLogger("async_processor.execution")

T = TypeVar("T")

_READ_BYTES = 64 * 1024
# What a dead worker left in the socket is read in at most so many pieces: more than its buffer holds.
_MAX_LAST_READS = 256
_PIECES_PER_CALL = 512
# Small pieces are put together first.
_JOINED_BYTES = 4096
# How long to wait for the exit code of a process that has ended before it counts as unknown.
_EXIT_CODE_S = 0.5
# Only while a worker is dying, and only where nothing becomes readable when it has.
_POLL_S = 0.01


class End(NamedTuple):
    """How an attempt ended. ``outgrown``: its worker has become too large to take another."""

    outcome: Returned | Raised
    outgrown: bool = False


class WorkerListener:
    """Whoever a worker belongs to at the moment. Told on the event loop; a subclass says what it wants to hear."""

    __slots__ = ()

    def worker_ready(self, worker: WorkerHandle) -> None:
        """It takes attempts now."""

    def worker_start_failed(self, worker: WorkerHandle, reason: str) -> None:
        """It could not make itself ready, and ends."""

    def attempt_began(self, worker: WorkerHandle) -> None:
        """The function of its attempt is about to be called."""

    def attempt_progress(self, worker: WorkerHandle, fraction: float, message: str) -> None:
        """The function of its attempt says how far it is."""

    def attempt_ended(self, worker: WorkerHandle, end: End) -> None:
        """Its attempt is over."""

    def worker_gone(self, worker: WorkerHandle, exit_code: int | None) -> None:
        """It has ended and was reaped. The last that is heard of it."""


class WorkerHandle:
    """One worker process.

    Args:
        loop: to watch it on.
        home: the context variables to tell the listener in.
        new: the process and our ends of what connects us.
        listener: whom to tell; may be exchanged.

    Attributes:
        pid: of the process.
        attempts: how many were sent to it.
        listener: whom to tell.
        complaint: why it was killed, if for a fault of its own.
    """

    __slots__ = (
        "_exit", "_frames", "_home", "_in_thread", "_loop", "_new", "_task_id", "_unsent", "attempts",
        "complaint", "listener", "pid",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, home: contextvars.Context, new: NewWorker, listener: WorkerListener
    ) -> None:
        self.pid = new.process.pid
        self.attempts = 0
        self.listener = listener
        self.complaint = ""
        self._loop = loop
        self._home = home
        self._new = new
        self._frames = wire.FrameReader()
        self._task_id = ""
        self._unsent: list[memoryview] = []
        self._in_thread = False
        self._exit: Exit | None = None
        # A callback of the loop runs with the context variables of whoever registered it.
        home.copy().run(self._watch)

    def send(self, job: Job, task_id: str) -> bool:
        """Send an attempt. False if the worker has died and was surely not given it."""
        if self._exit is not None:
            return False
        self.attempts += 1
        self._task_id = task_id
        body, arena = job.body, self._new.outgoing
        if arena is None or body.size <= wire.INLINE_BYTES:
            return self._write([wire.head(wire.JOB, notes=job.function, size=body.size), *body.parts])
        fill = partial(arena.write, body.parts, body.size)
        filled = partial(self._filled, wire.head(wire.JOB, notes=job.function, size=body.size, in_arena=True))
        if body.size <= MAPPED_BYTES or not self._do_in_thread(fill, filled):
            filled(*_tried(fill))
        return True

    def kill(self) -> None:
        """End it at once, with all that it started. The listener is told, later, when it is gone."""
        if self._exit is None:
            self._new.process.kill()
            if not self._new.process.descriptors():
                self._loop.call_later(_POLL_S, self._poll_exit, context=self._home)

    # ---- sending

    def _filled(self, head: bytes, _: None, error: BaseException | None) -> None:
        if error is None:
            # If this fails the worker is dying, and the attempt counts as lost with it.
            self._write([head])
            return
        problem = LaneError(f"task {self._task_id!r} was not sent to a worker process: {error}", task_id=self._task_id)
        self._loop.call_soon(self._tell_ended, End(refused(problem)), None, context=self._home)

    def _write(self, parts: Sequence[bytes | memoryview]) -> bool:
        size = sum(map(len, parts))
        if size <= _JOINED_BYTES:
            parts = [b"".join(parts)]
        try:
            # One piece, as nearly always, costs less through ``write``.
            channel = self._new.channel
            written = os.write(channel, parts[0]) if len(parts) == 1 else os.writev(channel, parts[:_PIECES_PER_CALL])
        except BlockingIOError:
            written = 0
        except OSError:
            return False
        if written < size:
            self._unsent = after([memoryview(part) for part in parts], written)
            self._home.copy().run(self._loop.add_writer, self._new.channel, self._write_more)
        return True

    def _write_more(self) -> None:
        try:
            written = os.writev(self._new.channel, self._unsent[:_PIECES_PER_CALL])
        except BlockingIOError:
            return
        except OSError:
            self._unsent = []
        else:
            self._unsent = after(self._unsent, written)
        if not self._unsent:
            self._loop.remove_writer(self._new.channel)

    # ---- reading

    def _watch(self) -> None:
        self._loop.add_reader(self._new.channel, self._on_readable)
        for descriptor in self._new.process.descriptors():
            self._loop.add_reader(descriptor, self._on_exit_sign, descriptor)

    def _on_readable(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._new.channel)
            # It closed its end, so it has died, or is of no use any more.
            self.kill()

    def _read(self) -> bool:
        """Take what has arrived. False if nothing more will."""
        try:
            data = os.read(self._new.channel, _READ_BYTES)
            frames = self._frames.feed(data)
        except BlockingIOError:
            return self._exit is None
        except OSError:
            return False
        except wire.WireError as error:
            self.complaint = f"something else than this library wrote to its socket: {error}"
            return False
        try:
            for frame in frames:
                self._take(frame)
        except Exception as error:
            # A bug of ours. What was read with this frame is lost: the worker's end is the only report still to be had.
            logger.exception("a report of worker process %d could not be taken", self.pid)
            self.complaint = f"its report could not be taken: {type(error).__name__}: {error}"
            return False
        return bool(data)

    def _take(self, frame: wire.Frame) -> None:
        match frame.kind:
            case wire.BEGAN:
                self.listener.attempt_began(self)
            case wire.RETURNED | wire.RAISED:
                self._take_end(frame)
            case wire.PROGRESS:
                self.listener.attempt_progress(self, *read_progress(frame))
            case wire.READY:
                self.listener.worker_ready(self)
            case wire.START_FAILED:
                self.listener.worker_start_failed(self, frame.body.decode())

    def _take_end(self, frame: wire.Frame) -> None:
        work = partial(_read_end, frame, self._new.incoming)
        large = frame.in_arena and frame.size > MAPPED_BYTES
        if not large or not self._do_in_thread(work, self._tell_ended):
            self._tell_ended(*_tried(work))

    def _tell_ended(self, end: End | None, error: BaseException | None) -> None:
        if error is not None:
            end = End(refused(cannot_rebuild(f"the result of task {self._task_id!r}", error)))
        assert end is not None  # noqa: S101 - one of the two is given
        self.listener.attempt_ended(self, end)

    # ---- the end

    def _on_exit_sign(self, descriptor: int) -> None:
        process = self._new.process
        known = process.exit()
        if known is not None:
            self._finish(known)
        elif descriptor not in process.descriptors():
            self._loop.remove_reader(descriptor)  # the fork server died, and with it the report
        elif process.ended():
            self._loop.remove_reader(descriptor)
            self._loop.call_later(_EXIT_CODE_S, self._finish, Exit(None), context=self._home)

    def _poll_exit(self) -> None:
        if self._exit is not None:
            return
        known = self._new.process.exit()
        if known is not None:
            self._finish(known)
        else:
            self._loop.call_later(_POLL_S, self._poll_exit, context=self._home)

    def _finish(self, known: Exit) -> None:
        if self._exit is not None:
            return
        self._exit = known
        # What it started may have outlived it.
        self._new.process.kill()
        for descriptor in (self._new.channel, *self._new.process.descriptors()):
            self._loop.remove_reader(descriptor)
        self._loop.remove_writer(self._new.channel)
        # It may have said something before it died.
        for _ in takewhile(lambda _: self._read(), range(_MAX_LAST_READS)):
            pass
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._exit is None or self._in_thread:
            return
        self._new.close()
        self._new.process.close()
        self.listener.worker_gone(self, self._exit.code)

    def _do_in_thread(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> bool:
        """Use the arenas in a thread; they stay open meanwhile. False if there is no thread to be had."""

        def finished(result: T | None, error: BaseException | None) -> None:
            self._in_thread = False
            done(result, error)
            self._close_if_done()

        try:
            InThread(self._loop, self._home, work, finished)
        except RuntimeError:
            return False
        self._in_thread = True
        return True


def _tried(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return work(), None
    except KeyboardInterrupt:
        raise  # the user's Ctrl-C
    except BaseException as error:  # noqa: BLE001 - unpickling runs user code, and the attempt must end whatever it does
        return None, error


def _read_end(frame: wire.Frame, arena: Arena | None) -> End:
    """The end of an attempt, from a frame. In a thread, if it is large."""
    notes = Notes.decode(frame.notes)
    if not frame.size:
        return End(Returned(None, notes.measures), notes.outgrown)
    if not frame.in_arena or arena is None:
        body = pickle.loads(frame.body)  # noqa: S301 - from a child of this very process
    else:
        try:
            body = arena.load(frame.size)
        finally:
            arena.trim(frame.size)
    kind = Returned if frame.kind == wire.RETURNED else Raised
    return End(kind(body, notes.measures), notes.outgrown)
