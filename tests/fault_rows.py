"""Which test names which row of ``docs/faults.md``, read from comments such as ``# E10`` or ``# R1, R6: <= 20 MB``.

``python -m tests.fault_rows`` writes the last column of the page anew.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.markdown import Page
from tests.source_code import ROOT

PAGE = ROOT / "docs" / "faults.md"

_ROWS = re.compile(r"^#\s*([BDEHPRST]\d{1,2}(?:, [BDEHPRST]\d{1,2})*)\b")
_PAGE_ROW = re.compile(r"^\| ([A-Z]\d{1,2}) \| (.*?) \| (.*) \|$", re.MULTILINE)

Row = str
Test = str


def named_in_tests() -> dict[Row, list[Test]]:
    """Row -> the tests that name it, as ``path::test``."""
    found: defaultdict[Row, list[Test]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for row, test in _named_in(path):
            if test not in found[row]:
                found[row].append(test)
    return dict(found)


def named_on_page() -> dict[Row, list[Test]]:
    """The same, as the page says."""
    return {row: re.findall(r"`([^`]+::[^`]+)`", tests) for row, _, tests in _PAGE_ROW.findall(Page(PAGE).text)}


def write_page() -> None:
    """Set the last column of every row of the page to the tests there are."""
    tests = named_in_tests()

    def row(found: re.Match[str]) -> str:
        named = "<br>".join(f"`{test}`" for test in tests.get(found[1], []))
        return f"| {found[1]} | {found[2]} | {named} |"

    PAGE.write_text(_PAGE_ROW.sub(row, Page(PAGE).text), encoding="utf-8")


def _named_in(path: Path) -> Iterator[tuple[Row, Test]]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tests = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        rows = _ROWS.match(token.string) if token.type == tokenize.COMMENT else None
        for test in tests if rows else ():
            if _first_line(test, lines) <= token.start[0] <= (test.end_lineno or 0):
                assert rows is not None
                yield from ((row, f"{path.relative_to(ROOT)}::{test.name}") for row in rows[1].split(", "))


def _first_line(test: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Of the test, its decorators, and the comment right above."""
    first = min([test.lineno, *(item.lineno for item in test.decorator_list)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return first


if __name__ == "__main__":
    write_page()
