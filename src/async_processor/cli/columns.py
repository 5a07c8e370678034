"""Rows of text under each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .printable import printable

_GAP = "  "


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for each row; every column but the last is as wide as its widest cell. Cells are made safe to show."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)][:-1]
    for *cells, last in shown:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        yield _GAP.join([*padded, last]).rstrip()
