"""Runs a program in an interpreter of its own, with arguments and an input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from tests.execution.scripts import TIMEOUT_S, Script


class Program(Script):
    """A running program; ended with the ``with`` block, whatever happens."""

    def __init__(self, text: str, arguments: Sequence[str] = (), *, keep_input: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, *arguments],
            stdin=subprocess.PIPE if keep_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.process:
            self.process.kill()

    def finish(self, typed: str | None = None) -> tuple[list[str], str]:
        """Wait for its end; gives the remaining lines it printed, and what it wrote as errors."""
        out, err = self.process.communicate(typed, timeout=TIMEOUT_S)
        return out.splitlines(), err
