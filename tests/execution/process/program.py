"""Runs a program in an interpreter of its own, with arguments and an input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

import pytest
from tests.execution.scripts import TIMEOUT_S, Script


class Program(Script):
    """A running program; ended with the ``with`` block, whatever happens."""

    def __init__(
        self,
        text: str,
        arguments: Sequence[str] = (),
        *,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        keep_input: bool = False,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *options, "-c", text, *arguments],
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


def as_ordinary_user() -> list[str]:
    """What to put before a command so that the limits that do not hold for root hold for it; it may read everything."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv for this")
    reading = "+dac_override,+dac_read_search"
    return ["setpriv", "--reuid=54321", "--clear-groups", f"--inh-caps={reading}", f"--ambient-caps={reading}"]
