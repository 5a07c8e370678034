"""How much memory there is, and how much of it is in use: of the container where there is one, else of the machine.

The figures of the machine are wrong inside a container, so limits are read from the control groups: that of the process
and every one above it that can be seen, version 2 and version 1 alike. A reading costs some 30 microseconds per group
and 20 for the machine; it is meant for a few times per second, off the hot path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Version 1 writes "no limit" as the largest multiple of the page size; nothing real comes near.
_NO_LIMIT = 2**60


class MemoryReader:
    """Memory limit and use of this process's surroundings.

    Which control groups count is found out once; limits and use are read anew each time, because both change.

    Args:
        root: where the file system begins; for tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._groups = tuple(_find_groups(root))

    def limit_bytes(self) -> int:
        """The least of all limits: those of the control groups and the memory of the machine."""
        return min(limit for limit, _ in self._readings())

    def used_bytes(self) -> int:
        """How much of ``limit_bytes`` is taken.

        Page cache that the kernel would give back counts as free. Where several limits hold, the one with the least
        room left decides, so ``limit_bytes() - used_bytes()`` is what can really be had.
        """
        readings = list(self._readings())
        limit = min(limit for limit, _ in readings)
        return limit - min(limit - used for limit, used in readings)

    def _readings(self) -> Iterator[tuple[int, int]]:
        yield _read_machine(self._root)
        for group in self._groups:
            reading = group.read()
            if reading is not None:
                yield reading


# psutil is imported at first use: that takes a tenth of the time in which the whole package is to be imported.


def own_process() -> psutil.Process:
    """This process."""
    import psutil

    return psutil.Process()


def process_tree() -> tuple[psutil.Process, ...]:
    """This process and all below it. Reads through all processes of the machine: about 15 microseconds for each.

    Raises:
        OSError: the processes cannot be listed now: no descriptors are left, or ``/proc`` is hidden.
    """
    import psutil

    try:
        own = psutil.Process()
        return (own, *own.children(recursive=True))
    except psutil.Error as error:
        raise OSError(f"the processes below this one cannot be listed: {error}") from error


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """Resident memory of processes, 10 microseconds for each. Pages that several of them share count several times.

    Raises:
        OSError: no descriptors are left.
    """
    return sum(map(_resident, processes))


def _resident(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        # It ended since it was listed, or runs under another user.
        return 0


def _read_machine(root: Path) -> tuple[int, int]:
    try:
        text = _read(root / "proc/meminfo")
    except OSError:
        text = b""
    total, available = 1024 * _figure(text, b"MemTotal:", 0), 1024 * _figure(text, b"MemAvailable:", 0)
    if not total:
        import psutil

        memory = psutil.virtual_memory()
        total, available = memory.total, memory.available
    return total, total - available


@dataclass(slots=True, frozen=True)
class _Version:
    limit: str
    usage: str
    reclaimable: bytes


_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
_V2 = _Version("memory.max", "memory.current", b"inactive_file")


class _Group:
    """A control group that may limit memory."""

    __slots__ = ("_limit", "_reclaimable", "_stat", "_usage")

    def __init__(self, directory: Path, version: _Version) -> None:
        self._limit = directory / version.limit
        self._usage = directory / version.usage
        self._stat = directory / "memory.stat"
        self._reclaimable = version.reclaimable

    def read(self) -> tuple[int, int] | None:
        """Limit and use in bytes; None if it limits nothing (any more)."""
        try:
            text = _read(self._limit).strip()
            stat = _read(self._stat)
            # Version 1 names here the least limit of all groups above, also of those that cannot be seen.
            above = _figure(stat, b"hierarchical_memory_limit", _NO_LIMIT)
            limit = min(above, _NO_LIMIT if text == b"max" else int(text))
            if limit >= _NO_LIMIT:
                return None
            return limit, max(0, int(_read(self._usage)) - _figure(stat, self._reclaimable, 0))
        except (OSError, ValueError):
            return None


def _read(path: Path) -> bytes:
    # Unbuffered: half the price for the few bytes that such a file has.
    with path.open("rb", buffering=0) as file:
        return file.read()


def _figure(text: bytes, name: bytes, default: int) -> int:
    """The number after ``name`` at the beginning of a line, as in ``memory.stat`` and ``meminfo``."""
    found = re.search(rb"^%b\s+(\d+)" % name, text, re.MULTILINE)
    return default if found is None else int(found[1])


def _find_groups(root: Path) -> Iterator[_Group]:
    """The memory groups of this process, innermost first."""
    try:
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8")
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8")
    except OSError:
        return
    for line in memberships.splitlines():
        _, controllers, own_path = line.split(":", 2)
        if controllers == "":
            version, kind, option = _V2, "cgroup2", ""
        elif "memory" in controllers.split(","):
            version, kind, option = _V1, "cgroup", "memory"
        else:
            continue
        for top, mounted in _mounts(mounts, kind, option):
            yield from _upwards(root / mounted.lstrip("/"), _below(own_path, top), version)


def _mounts(mountinfo: str, kind: str, option: str) -> Iterator[tuple[str, str]]:
    """Of every control group mount of this kind: which group is at its top, and where it is mounted."""
    for line in mountinfo.splitlines():
        place, _, what = line.partition(" - ")
        where, which = place.split(), what.split()
        if which[0] == kind and (not option or option in which[-1].split(",")):
            # The kernel writes blanks and the like as three octal digits.
            unescaped = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), where[4])
            yield where[3], unescaped
            return


def _below(own_path: str, top: str) -> PurePosixPath:
    """The way from a mount's top down to the own group; empty if the mount does not show the own group."""
    path = PurePosixPath(own_path)
    if ".." in path.parts or not path.is_relative_to(top):
        return PurePosixPath()
    return path.relative_to(top)


def _upwards(mounted: Path, below: PurePosixPath, version: _Version) -> Iterator[_Group]:
    for way in (below, *below.parents):
        directory = mounted / way
        if (directory / version.limit).exists():
            yield _Group(directory, version)
