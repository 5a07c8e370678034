"""Runs a program of a few lines in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

TIMEOUT_S = 30.0


class Script:
    """A running program; ended with the ``with`` block, whatever happens."""

    def __init__(self, text: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def runs(self, wait: float = 0.5) -> bool:
        """Whether it still runs after some seconds."""
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            return True
        return False

    def finish(self) -> tuple[list[str], str]:
        """Wait for its end; gives the remaining lines it printed, and what it wrote as errors."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return out.splitlines(), err
