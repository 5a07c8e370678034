"""SQL by name, from the files beside this module; and one statement for many rows.

Python gives up its interpreter lock at every step of a statement, and while the event loop is busy it takes up to 5 ms
to get it back. A hundred rows by ``executemany`` are a hundred steps, and took 120 ms beside a busy loop; as one
statement of many tuples they are one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "sql"
_NAMED = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_TUPLE = re.compile(r"/\*rows\*/ (\([?, ]+\))")
# Tuples in one statement are a power of two up to this, so that few texts are prepared, and stay so.
MOST_ROWS = 64


class Statement:
    """One named statement."""

    def __init__(self, text: str) -> None:
        found = _TUPLE.search(text)
        self.text = text
        self._tuple = found[1] if found else ""
        self._texts: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"<Statement {self.text.split(maxsplit=3)[:3]}>"

    def write(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Carry it out for all rows, in as few steps as there can be. Returns how many rows it changed."""
        changed = 0
        for text, flat in self._pieces(rows):
            # executemany of one: unlike execute it gives the interpreter lock up only once.
            changed += connection.executemany(text, (flat,)).rowcount
        return changed

    def read(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What it finds for all rows, without an order."""
        return [found for text, flat in self._pieces(rows) for found in connection.execute(text, flat)]

    def _pieces(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
        start, left = 0, len(rows)
        while left:
            size = min(1 << (left.bit_length() - 1), MOST_ROWS)
            yield self._for(size), list(chain.from_iterable(rows[start : start + size]))
            start += size
            left -= size

    def _for(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self.text.replace(f"/*rows*/ {self._tuple}", ", ".join([self._tuple] * size))
        return text


@lru_cache
def statements(file: str = "queries.sql") -> Mapping[str, Statement]:
    """The statements of a file, by name."""
    parts = _NAMED.split((FOLDER / file).read_text(encoding="utf-8"))
    return {name: Statement(_plain(text)) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def script(file: str) -> str:
    """A file that is carried out as a whole."""
    return (FOLDER / file).read_text(encoding="utf-8")


def _plain(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip().rstrip(";")
