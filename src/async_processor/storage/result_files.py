"""Values too large for a row, in files beside the database.

A file is named by what is in it (SHA-256), so that equal values share one and a damaged one is noticed. It is on the
disk before the commit that names it, whatever the durability of the store: a row whose file a power cut took would be
a damaged result, not a lost one. It goes after the commit that forgot it. A crash between the two leaves a file that
nobody names: those are swept after the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from .sqlite_schema import sync_directory

SUFFIX = "-results"
_NEW = ".new"


class MissingValueError(ValueError):
    """The file of a value is not there or holds something else."""


class ResultFiles:
    """The files of one store.

    Args:
        path: the store's.
    """

    def __init__(self, path: str) -> None:
        self._folder = Path(f"{path}{SUFFIX}")
        self._made: set[Path] = set()

    def put(self, value: bytes) -> str:
        """Keep a value; returns the name by which it is found.

        Raises:
            OSError: there is no room, or the disk fails.
        """
        name = hashlib.sha256(value).hexdigest()
        file = self._file(name)
        if file.exists():
            # Whoever put it there may have been killed before its name was on the disk.
            self._make_folder(file.parent)
            sync_directory(str(file.parent))
        else:
            self._write(file, value)
        return name

    def get(self, name: str) -> bytes:
        """The value of that name.

        Raises:
            MissingValueError: it is not there, or is not what was kept.
            OSError: it cannot be read now.
        """
        try:
            value = self._file(name).read_bytes()
        except FileNotFoundError:
            raise MissingValueError(f"the file of its result, {self._file(name)}, is gone") from None
        if hashlib.sha256(value).hexdigest() != name:
            raise MissingValueError(f"the file of its result, {self._file(name)}, is damaged")
        return value

    def drop(self, name: str) -> None:
        """Erase what nobody names any more. It is no harm if it stays: the next sweep takes it."""
        with contextlib.suppress(OSError):
            self._file(name).unlink()

    def sweep(self, named: Collection[str]) -> int:
        """Erase all files but those of these names. Returns how many."""
        erased = 0
        for file in self._all():
            if file.name not in named:
                with contextlib.suppress(OSError):
                    file.unlink()
                    erased += 1
        return erased

    def _file(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _all(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for folder in list(self._folder.iterdir()):
                if folder.is_dir():
                    yield from list(folder.iterdir())

    def _write(self, file: Path, value: bytes) -> None:
        self._make_folder(file.parent)
        new = file.with_suffix(_NEW)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as output:
            output.write(value)
            output.flush()
            os.fsync(output.fileno())
        new.replace(file)
        try:
            sync_directory(str(file.parent))
        except OSError:
            # Whoever tries again must not take it for kept.
            file.unlink()
            raise

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._made:
            # One by one: parents made on the way would be open to others.
            for item in (self._folder, folder):
                item.mkdir(mode=0o700, exist_ok=True)
                sync_directory(str(item.parent))
            self._made.add(folder)
