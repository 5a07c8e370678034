"""A worker process as its parent sees it: how to end it, and how to learn that it ended and with what code."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from typing import NamedTuple, Protocol

_REPORT = struct.Struct("q")
_DESTROY_S = 1.0
_WAIT_STEP_S = 0.005


class Exit(NamedTuple):
    """A process has ended. ``code`` is negative for a signal, and None if nobody can tell any more."""

    code: int | None

    def in_words(self) -> str:
        """How it ended."""
        if self.code is None:
            return "it ended, nobody knows how,"
        return f"it ended with exit code {self.code}" if self.code >= 0 else f"it was ended by signal {-self.code}"


class ExitSource(Protocol):
    """Who knows the exit code of a worker."""

    @property
    def descriptor(self) -> int | None:
        """Becomes readable when there is something to ask for; None if nothing does."""
        ...

    def ask(self, ended: bool) -> Exit | None:
        """The exit, if it is known. ``ended``: whether the process has ended, as far as the system shows it."""
        ...

    def close(self) -> None:
        """Let go of what is held for that."""
        ...


class SpawnExit:
    """For a child of this process.

    Args:
        pid: of the child.
    """

    descriptor = None

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def ask(self, ended: bool) -> Exit | None:  # noqa: ARG002 - the system knows
        """Reap the child, if it has ended."""
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            return Exit(None)  # the application has reaped it
        return Exit(os.waitstatus_to_exitcode(status)) if pid else None

    def close(self) -> None:
        """Nothing is held."""


class ForkServerExit:
    """For a child of the fork server, which reaps it and writes its exit code to a pipe.

    Args:
        status: our end of the pipe, not blocking; closed with this.
    """

    def __init__(self, status: int) -> None:
        self._status = status
        self._server_gone = False

    @property
    def descriptor(self) -> int | None:
        """The pipe, as long as somebody is there to write to it."""
        return None if self._server_gone else self._status

    def ask(self, ended: bool) -> Exit | None:
        """Read the report. If the fork server has died there will be none: then the process itself is looked at."""
        if not self._server_gone:
            try:
                report = os.read(self._status, _REPORT.size)
            except BlockingIOError:
                return None
            if len(report) == _REPORT.size:
                return Exit(*_REPORT.unpack(report))
            self._server_gone = True
        return Exit(None) if ended else None

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._status)


class WorkerProcess:
    """One worker process.

    Args:
        pid: of the process, which leads its own process group or is about to.
        source: who knows its exit code.
    """

    __slots__ = ("_pidfd", "_source", "pid")

    def __init__(self, pid: int, source: ExitSource) -> None:
        self.pid = pid
        self._source = source
        try:
            self._pidfd: int | None = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._pidfd = None  # not Linux, or an old one, or it has ended and was reaped

    def descriptors(self) -> list[int]:
        """Those that become readable when it ends."""
        return [item for item in (self._pidfd, self._source.descriptor) if item is not None]

    def ended(self) -> bool:
        """Whether it has ended, reaped or not."""
        if self._pidfd is not None:
            return bool(select.select([self._pidfd], [], [], 0)[0])
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def exit(self) -> Exit | None:
        """Its exit; None if it has not ended, or its code is not known yet."""
        return self._source.ask(self.ended())

    def kill(self) -> None:
        """End it at once, and all that it started. Does nothing to a process that has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The group outlives its leader, and no other process gets its number while it does.
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # It may not lead its group yet.
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif not self.ended():
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> Exit:
        """Wait for its end, blocking; unknown if it takes longer than that."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            known = self.exit()
            if known is not None:
                return known
            time.sleep(_WAIT_STEP_S)
        return Exit(None)

    def destroy(self) -> None:
        """Kill it, reap it and let go of it; blocks for some milliseconds."""
        self.kill()
        self.wait(_DESTROY_S)
        self.close()

    def close(self) -> None:
        """Let go of its descriptors."""
        self._source.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
