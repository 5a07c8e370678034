"""Memory shared by two processes, through which large messages pass: one arena per worker and direction.

An arena is an anonymous file (memfd) that both ends hold. One message lies in it at a time. Up to 16 MiB it is used as
mapped memory, whose pages stay, so that the next message costs one copy at each end and no page faults. What is larger
goes through read and write calls, which let other Python threads run meanwhile, and its memory is given back.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from collections.abc import Sequence
from typing import Any

MAPPED_BYTES = 16 * 1024 * 1024
_PIECES_PER_CALL = 512  # below the system's IOV_MAX of 1024


class ArenaFullError(Exception):
    """The system has no memory for the message."""


class Arena:
    """One end of an arena.

    Args:
        fd: the anonymous file; closed with the arena.
    """

    __slots__ = ("_fd", "_map")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> Arena | None:
        """A new arena, empty; None where the system has no anonymous files."""
        if not hasattr(os, "memfd_create"):
            return None
        try:
            fd = os.memfd_create("async-processor-arena")
        except OSError:
            return None
        # Sparse: takes address space only until it is written to.
        os.ftruncate(fd, MAPPED_BYTES)
        return cls(fd)

    def fileno(self) -> int:
        """The descriptor, for handing it to the other process."""
        return self._fd

    def write(self, parts: Sequence[bytes], size: int) -> None:
        """Put a message of ``size`` bytes in.

        Raises:
            ArenaFullError: there is no memory for it.
        """
        if size > MAPPED_BYTES:
            try:
                self._write_through(parts)
            except OSError as error:
                raise ArenaFullError(f"no memory to pass {size:,} bytes between processes: {error}") from error
            return
        memory, at = self._mapped(), 0
        for part in parts:
            memory[at : at + len(part)] = part
            at += len(part)

    def load(self, size: int) -> Any:
        """Unpickle the message of ``size`` bytes that the other end put in. Raises whatever unpickling raises."""
        if size <= MAPPED_BYTES:
            with memoryview(self._mapped()) as view, view[:size] as message:
                return pickle.loads(message)  # noqa: S301 - between a process and its own child
        with io.FileIO(self._fd, "rb", closefd=False) as raw:
            raw.seek(0)
            # Large bytes are read straight into their place.
            return pickle.load(io.BufferedReader(raw))  # noqa: S301 - between a process and its own child

    def trim(self, size: int) -> None:
        """Give back what a message of ``size`` bytes took beyond the mapped memory; called by its reader."""
        if size > MAPPED_BYTES:
            os.ftruncate(self._fd, MAPPED_BYTES)

    def close(self) -> None:
        """Let go of it."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.close(self._fd)

    def _mapped(self) -> mmap.mmap:
        # Neither end ever makes the file shorter than this: to touch memory beyond its end would be fatal.
        if self._map is None:
            self._map = mmap.mmap(self._fd, MAPPED_BYTES)
        return self._map

    def _write_through(self, parts: Sequence[bytes]) -> None:
        at = 0
        for first in range(0, len(parts), _PIECES_PER_CALL):
            pending = [memoryview(part) for part in parts[first : first + _PIECES_PER_CALL]]
            while pending:
                written = os.pwritev(self._fd, pending, at)
                at += written
                pending = after(pending, written)


def after(pending: Sequence[memoryview], written: int) -> list[memoryview]:
    """What is left of some pieces when so many bytes of them are written."""
    left = list(pending)
    while left and written >= len(left[0]):
        written -= len(left.pop(0))
    if written:
        left[0] = left[0][written:]
    return left
