"""Lines on standard output and standard error."""

from __future__ import annotations

import sys
from typing import Any

from .printable import printable


def print_line(line: str) -> None:
    """One line on standard output; what its encoding cannot write is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def tell(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def complain(command: str, problem: Any) -> None:
    """Say what is wrong, and who says so."""
    tell(f"async-processor {command}: {printable(problem)}")
