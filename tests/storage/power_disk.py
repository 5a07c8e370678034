"""A disk that loses its power: what a recorded program wrote, and what might be left of it at any moment.

A program is recorded by the system calls it makes on files: writes, truncations, syncs, names made and removed. What
was not synced may be there or not, in part and in any order, as on a real disk with a cache of its own. Recording the
calls and not the database library means that the interpreter's own SQLite is tested, and the files beside it too.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
CALLS = "write,pwrite64,ftruncate,fdatasync,fsync,openat,unlink,rename,mkdir"

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. \w+ resumed>)?(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = " <unfinished ...>"
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


def can_record() -> bool:
    """Whether programs can be traced here."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


class Call(NamedTuple):
    """One system call that succeeded: ``path`` is the file or directory it was made on."""

    name: str
    path: str
    data: bytes = b""
    number: int = 0
    """Offset of a write (-1: where the last one ended), length of a truncation."""
    target: str = ""


def record(folder: Path, log: Path, *command: str) -> list[Call]:
    """Run a program of this interpreter and give what it did to files below a folder, in order."""
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-xx",
            "-s",
            "1000000",
            "-e",
            f"trace={CALLS}",
            "-o",
            str(log),
            sys.executable,
            *command,
        ],
        check=True,
        timeout=50,
    )
    return [call for call in _calls(log) if call.path.startswith(str(folder))]


def _calls(log: Path) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in log.read_text(encoding="ascii").splitlines():
        found = _LINE.match(line)
        assert found is not None, line
        process, text = found.groups()
        if text.endswith(_UNFINISHED):
            begun[process] = text.removesuffix(_UNFINISHED)
            continue
        whole = _CALL.match(begun.pop(process, "") + text if "resumed>" in line else text)
        if whole is not None and int(whole[3]) >= 0:
            yield from _call(whole[1], whole[2])


def _call(name: str, arguments: str) -> Iterator[Call]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    file = _FILE.match(arguments)
    path = bytes.fromhex(file[1].replace("\\x", "")).decode() if file else ""
    last = arguments.rpartition(", ")[2]
    match name:
        case "pwrite64":
            yield Call("write", path, texts[0], int(last))
        case "write":
            yield Call("write", path, texts[0], -1)
        case "ftruncate":
            yield Call("truncate", path, number=int(last))
        case "fdatasync" | "fsync":
            yield Call("sync", path)
        case "openat" if "O_CREAT" in arguments:
            yield Call("create", texts[0].decode())
        case "unlink":
            yield Call("unlink", texts[0].decode())
        case "rename":
            yield Call("rename", texts[0].decode(), target=texts[1].decode())
        case "mkdir":
            yield Call("mkdir", texts[0].decode())


@dataclass
class Content:
    """What is in a file: on the disk for certain, and written since. In a folder, nothing: it has names."""

    folder: bool = False
    kept: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)
    end: int = 0

    def apply(self, call: Call, data: bytearray) -> None:
        if call.name == "truncate":
            del data[call.number :]
            data.extend(bytes(max(0, call.number - len(data))))
            return
        data.extend(bytes(max(0, call.number - len(data))))
        data[call.number : call.number + len(call.data)] = call.data

    def sync(self) -> None:
        for call in self.pending:
            self.apply(call, self.kept)
        self.pending.clear()

    def left(self, rng: random.Random) -> bytes:
        """What a cut might leave of it."""
        data = bytearray(self.kept)
        for call in _some(self.pending, rng):
            self.apply(call, data)
        return bytes(data)


def _some(pending: list[Call], rng: random.Random) -> list[Call]:
    """None, all, the first, or any of the writes; the last of them perhaps torn at a sector."""
    match rng.randrange(4):
        case 0:
            return []
        case 1:
            chosen = list(pending)
        case 2:
            chosen = pending[: rng.randint(0, len(pending))]
        case _:
            chosen = [call for call in pending if rng.random() < 0.5]
    if chosen and len(chosen[-1].data) > SECTOR and rng.random() < 0.5:
        sectors = rng.randrange(1, len(chosen[-1].data) // SECTOR + 1)
        chosen[-1] = chosen[-1]._replace(data=chosen[-1].data[: sectors * SECTOR])
    return chosen


class Disk:
    """All files, as they came to be by a number of calls."""

    def __init__(self) -> None:
        self._names: dict[str, Content] = {}
        # Names as the disk has them for certain, and what was done to them since, by directory.
        self._kept_names: dict[str, Content] = {}
        self._pending_names: dict[str, list[Call]] = {}
        self._made: dict[str, Content] = {}

    def do(self, call: Call) -> None:
        """Carry out one call."""
        match call.name:
            case "create" | "mkdir":
                self._create(call)
            case "unlink" | "rename":
                self._rename(call)
            case "sync":
                self._sync(call.path)
            case _:
                self._write(call)

    def _create(self, call: Call) -> None:
        if call.path not in self._names:
            self._names[call.path] = Content(folder=call.name == "mkdir")
            self._changed(call, self._names[call.path])

    def _rename(self, call: Call) -> None:
        content = self._names.pop(call.path, None)
        if content is not None:
            if call.target:
                self._names[call.target] = content
            self._changed(call, content)

    def _changed(self, call: Call, content: Content) -> None:
        self._pending_names.setdefault(call.path.rpartition("/")[0], []).append(call)
        self._made[call.path] = content

    def _write(self, call: Call) -> None:
        content = self._names[call.path]
        if call.number == -1:
            call = call._replace(number=content.end)
        content.end = call.number + len(call.data)
        content.pending.append(call)

    def _sync(self, path: str) -> None:
        if path in self._names:
            self._names[path].sync()
        # A directory; or, for a directory of results, both.
        for call in self._pending_names.pop(path, []):
            self._apply_name(call, self._kept_names)

    def _apply_name(self, call: Call, names: dict[str, Content]) -> None:
        if call.name in ("create", "mkdir"):
            names[call.path] = self._made[call.path]
            return
        content = names.pop(call.path, self._made[call.path])
        if call.target:
            names[call.target] = content

    def cut(self, rng: random.Random, source: Path, target: Path) -> None:
        """Write what a cut at this moment might leave of a folder into another."""
        names = dict(self._kept_names)
        for pending in self._pending_names.values():
            # A file system keeps the changes of one directory in order.
            for call in pending[: rng.randint(0, len(pending))]:
                self._apply_name(call, names)
        # What is in a folder comes after it.
        for name, content in sorted(names.items()):
            place = target / Path(name).relative_to(source)
            if not place.parent.is_dir() or name.endswith(("-shm", "-lock")):
                continue
            if content.folder:
                place.mkdir()
            else:
                place.write_bytes(content.left(rng))
