"""Messages between the parent and one worker, over a socket pair.

A frame is a header, some notes and a body: the notes of a job are its function, those of a result its measures. A large
body lies in an arena instead (``process_arena``), and the frame only says how long it is. A result without a body is
None. One attempt is under way per worker, so frames need no address:

    parent -> worker    JOB
    worker -> parent    READY | START_FAILED, then per attempt: [BEGAN [PROGRESS ...]] RETURNED | RAISED
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple

from .process_arena import Arena

JOB, READY, START_FAILED, BEGAN, PROGRESS, RETURNED, RAISED = range(1, 8)
_IN_ARENA = 1
# kind, flags, bytes of notes, bytes of body
_HEADER = struct.Struct("<BBIQ")
_READ_BYTES = 64 * 1024
# Larger bodies pass through an arena: about here the copy through the socket's buffers becomes dearer.
INLINE_BYTES = 64 * 1024


class WireError(Exception):
    """What arrived is no frame: somebody else wrote to the socket."""


class Frame(NamedTuple):
    """One message. ``size`` is that of the body, which is empty here if ``in_arena``."""

    kind: int
    in_arena: bool
    size: int
    notes: bytes
    body: bytes


class FrameReader:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        # The beginning of a frame, and how many bytes there must be to go on with it. Empty nearly always.
        self._buffer = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take what arrived; gives the frames that are complete with it.

        Raises:
            WireError: these are no frames.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data, self._buffer = bytes(self._buffer), bytearray()
        frames: list[Frame] = []
        at, length = 0, len(data)
        needed = _HEADER.size
        while length - at >= needed:
            kind, flags, notes, size = _HEADER.unpack_from(data, at)
            if not JOB <= kind <= RAISED or flags > _IN_ARENA:
                raise WireError(f"no frame begins with kind {kind} and flags {flags}")
            start = at + _HEADER.size
            middle = start + notes
            end = middle if flags else middle + size
            if end > length:
                needed = end - at
                break
            frames.append(Frame(kind, bool(flags), size, data[start:middle], data[middle:end]))
            at = end
        if at < length:
            self._buffer += data[at:] if at else data
            self._needed = needed
        return frames


def head(kind: int, *, notes: bytes = b"", size: int = 0, in_arena: bool = False) -> bytes:
    """The beginning of a frame; its body of ``size`` bytes follows, unless it lies in the arena."""
    return _HEADER.pack(kind, _IN_ARENA if in_arena else 0, len(notes), size) + notes


_BARE = {kind: head(kind) for kind in range(JOB, RAISED + 1)}


class WorkerChannel:
    """The worker's end. Blocking; several threads may send.

    Args:
        fd: the socket.
        incoming: the arena from the parent, or None.
        outgoing: the arena to the parent, or None.
    """

    __slots__ = ("_fd", "_frames", "_lock", "_outgoing", "_reader", "incoming")

    def __init__(self, fd: int, incoming: Arena | None, outgoing: Arena | None) -> None:
        self.incoming = incoming
        self._fd = fd
        self._outgoing = outgoing
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self._lock = threading.Lock()

    def receive(self) -> Frame | None:
        """Wait for the next frame; None when the parent has closed its end."""
        while not self._frames:
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                return None
            self._frames = self._reader.feed(data)
        return self._frames.pop(0)

    def send(self, kind: int, notes: bytes = b"", parts: Sequence[bytes] = (), size: int = 0) -> None:
        """Send a frame with a body of ``size`` bytes.

        Raises:
            ArenaFullError: there is no memory for the body; nothing was sent.
            OSError: the parent has gone.
        """
        if not size and not notes:
            self._write([_BARE[kind]])
        elif self._outgoing is None or size <= INLINE_BYTES:
            self._write([head(kind, notes=notes, size=size), *parts])
        else:
            self._outgoing.write(parts, size)
            self._write([head(kind, notes=notes, size=size, in_arena=True)])

    def _write(self, parts: Sequence[bytes]) -> None:
        with self._lock:
            if 1 < len(parts) < 4:  # nearly always: one call, one wake-up at the other end
                parts = [b"".join(parts)]
            for part in parts:
                written = os.write(self._fd, part)
                while written < len(part):
                    written += os.write(self._fd, memoryview(part)[written:])
