"""Makes worker processes. Everything here may block for some milliseconds and is called in a thread.

Both start methods use what multiprocessing has for them below its ``Process`` class: its fork server (one of our own
per lane, so that nothing is shared with the application's use of it) and its spawn command line. ``Process`` itself is
left out because it makes every child import the application's ``__main__``, and so runs scripts without a guard again.
The child reads from a pipe two pickles, the second of an object whose ``_bootstrap`` it calls; the parent keeps its end
of that pipe open as long as it lives: the worker's lifeline.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from multiprocessing import spawn, util
from multiprocessing.forkserver import ForkServer
from typing import Any, Self

from .process_arena import Arena
from .process_exit import ForkServerExit, SpawnExit, WorkerProcess
from .process_new import Launcher, NewWorker, StartMethod
from .process_worker import Descriptors, WorkerSettings, WorkerStart

_PRELOADED = [WorkerStart.__module__]
_PID = struct.Struct("q")
_LAST_WORDS_S = 0.5


def make_launcher(method: StartMethod, *, shared_memory: bool) -> Launcher:
    """The launcher for a start method."""
    return ForkServerLauncher(shared_memory) if method == "forkserver" else SpawnLauncher(shared_memory)


class SpawnLauncher:
    """Starts each worker as a fresh interpreter."""

    def __init__(self, shared_memory: bool) -> None:
        self._shared_memory = shared_memory

    def launch(self, name: str, settings: WorkerSettings, deadline: float) -> NewWorker:
        """As in ``Launcher``."""
        with _Ends(self._shared_memory) as ends:
            lifeline_there, lifeline = os.pipe()
            ends.undo.callback(os.close, lifeline)
            ends.child.callback(os.close, lifeline_there)
            command: list[Any] = [os.fsencode(item) for item in spawn.get_command_line(pipe_handle=lifeline_there)]
            executable = os.fsencode(spawn.get_executable())
            pid = util.spawnv_passfds(executable, command, [lifeline_there, *ends.descriptors.present()])
            process = ends.started(WorkerProcess(pid, SpawnExit(pid)))
            _instruct(process, lifeline, _instructions(name, WorkerStart(settings, ends.descriptors)), deadline)
            return ends.hand_over(process, lifeline)

    def close(self) -> None:
        """Nothing helps."""


class ForkServerLauncher:
    """Lets a small process without threads fork itself for each worker.

    It is started at first need, and again when it has gone. Workers outlive it.
    """

    def __init__(self, shared_memory: bool) -> None:
        self._shared_memory = shared_memory
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def launch(self, name: str, settings: WorkerSettings, deadline: float) -> NewWorker:
        """As in ``Launcher``."""
        with _Ends(self._shared_memory) as ends:
            server = self._running_server()
            try:
                return self._launch(server, ends, _instructions(name, WorkerStart(settings, None)), deadline)
            except BaseException:
                # It may hang, or somebody else has reaped it: the next start gets a new one.
                self._discard(server)
                raise

    def close(self) -> None:
        """End the fork server."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            _end_server(server)

    def _launch(self, server: ForkServer, ends: _Ends, instructions: bytes, deadline: float) -> NewWorker:
        status, lifeline = server.connect_to_new_process(ends.descriptors.present())
        ends.undo.callback(os.close, lifeline)
        try:
            pid = _read_pid(status, deadline)
        except BaseException:
            os.close(status)
            raise
        process = ends.started(WorkerProcess(pid, ForkServerExit(status)))
        _instruct(process, lifeline, instructions, deadline)
        return ends.hand_over(process, lifeline)

    def _running_server(self) -> ForkServer:
        with self._lock:
            if self._server is None:
                self._server = ForkServer()
                self._server.set_forkserver_preload(_PRELOADED)
            return self._server

    def _discard(self, server: ForkServer) -> None:
        with self._lock:
            if self._server is not server:
                return
            self._server = None
        _end_server(server)


def _end_server(server: ForkServer) -> None:
    """Kill a fork server, which keeps no state, and reap it. Its workers go on."""
    # No public way leads to the process of a fork server. Workers hold it open, so it would not end by being let go.
    inner: Any = server
    with contextlib.suppress(OSError, TypeError):  # it has ended, or was never started
        os.kill(inner._forkserver_pid, signal.SIGKILL)
    with contextlib.suppress(OSError, TypeError):
        inner._stop()


def _instructions(name: str, start: WorkerStart) -> bytes:
    here = start.settings.folder or os.curdir
    preparation = {
        "name": name,
        # An empty entry means the folder where the application was started, not that of the worker.
        "sys_path": [entry or here for entry in sys.path],
        "sys_argv": sys.argv,
    }
    return pickle.dumps(preparation) + pickle.dumps(start)


class _Ends:
    """Both ends of what connects parent and worker. The worker's ends, and on failure everything, are closed again.

    Attributes:
        descriptors: the worker's ends.
        undo: what must be undone if the start fails.
        child: closes the worker's ends here.
    """

    def __init__(self, shared_memory: bool) -> None:
        self.undo = contextlib.ExitStack()
        self.child = contextlib.ExitStack()
        self._shared_memory = shared_memory

    def __enter__(self) -> Self:
        here, there = socket.socketpair()
        # Bare descriptors: a lane that is thrown away without being closed then warns of nothing.
        self._channel = here.detach()
        self.undo.callback(os.close, self._channel)
        os.set_blocking(self._channel, False)
        self._outgoing: Arena | None
        self._incoming: Arena | None
        self._outgoing, self._incoming = self._arenas()
        self.descriptors = Descriptors(
            there.detach(),
            None if self._outgoing is None else self._outgoing.fileno(),
            None if self._incoming is None else self._incoming.fileno(),
        )
        self.child.callback(os.close, self.descriptors.channel)
        return self

    def started(self, process: WorkerProcess) -> WorkerProcess:
        """The worker has its ends now."""
        self.undo.callback(process.destroy)
        self.child.close()
        return process

    def hand_over(self, process: WorkerProcess, lifeline: int) -> NewWorker:
        """The start succeeded: everything belongs to whoever asked for it."""
        self.undo.pop_all()
        return NewWorker(process, self._channel, lifeline, self._outgoing, self._incoming)

    def __exit__(self, *_: object) -> None:
        self.child.close()
        self.undo.close()

    def _arenas(self) -> tuple[Arena, Arena] | tuple[None, None]:
        outgoing, incoming = (Arena.create(), Arena.create()) if self._shared_memory else (None, None)
        for arena in (outgoing, incoming):
            if arena is not None:
                self.undo.callback(arena.close)
        # One alone would do as well, but it is both or neither that a worker expects.
        return (None, None) if outgoing is None or incoming is None else (outgoing, incoming)


def _read_pid(status: int, deadline: float) -> int:
    os.set_blocking(status, False)
    data = b""
    while len(data) < _PID.size:
        _await(status, select.POLLIN, deadline)
        piece = os.read(status, _PID.size - len(data))
        if not piece:
            raise EOFError("the fork server ended")
        data += piece
    pid: int = _PID.unpack(data)[0]
    return pid


def _instruct(process: WorkerProcess, lifeline: int, data: bytes, deadline: float) -> None:
    os.set_blocking(lifeline, False)
    pending = memoryview(data)
    try:
        while pending:
            _await(lifeline, select.POLLOUT, deadline)
            pending = pending[os.write(lifeline, pending) :]
    except BrokenPipeError:
        raise EOFError(f"{process.wait(_LAST_WORDS_S).in_words()} before it was ready; see its stderr") from None


def _await(fd: int, event: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(fd, event)
    if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError("the new process did not answer in time")
