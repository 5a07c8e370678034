"""One owner per store: a lock on a file beside it, which the system lets go when the owner's process dies.

``flock`` and not ``fcntl``: it belongs to this opening of the file, so that a second processor in the same process is
refused too, and no other library's ``close`` lets it go. The descriptor is not inherited by programs that are started.
"""

from __future__ import annotations

import fcntl
import os

from ..errors import StoreLockedError

SUFFIX = "-lock"


class StoreLock:
    """Held from ``take`` to ``release``. The file stays: to erase it would let two owners lock two files."""

    def __init__(self, path: str) -> None:
        self.path = f"{path}{SUFFIX}"
        self._store = path
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock, or say at once who has it.

        Raises:
            StoreLockedError: another processor has it.
            OSError: the lock's file cannot be written.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreLockedError(
                f"the store {self._store} belongs to another processor ({self._who(owner)}): shut that down first, "
                "or give this one a store of its own"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @staticmethod
    def _who(owner: str) -> str:
        if owner == str(os.getpid()):
            return f"in this process, {owner}"
        return f"process {owner}" if owner.isdecimal() else "of a process that is just starting"
