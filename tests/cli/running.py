"""``async-processor run`` as a process of its own, for tests of what it does and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from tests.execution.process.kit import alive
from tests.source_code import ROOT

COMMAND = [sys.executable, "-m", "tests.cli.command"]
PROGRAM = "tests.cli.programs"
# What a machine that has other things to do may add to any time, in seconds.
SLACK_S = 1.0


class Program:
    """One ``async-processor run`` in a process group of its own."""

    def __init__(
        self,
        folder: Path,
        function: str,
        *options: str,
        prefix: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.store = folder / "tasks.db"
        self.process = subprocess.Popen(
            [*prefix, *command, "run", f"{PROGRAM}:{function}", "--store", f"sqlite:///{self.store}", *options],
            cwd=ROOT,
            env={**os.environ, "PROGRAM_FOLDER": str(folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.01)

    def end(self, seconds: float = 20.0) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        try:
            out, error = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self.process.returncode, out, error

    def close(self) -> None:
        """Leave nothing of it, whatever the test found."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


Launch = Callable[..., Program]


def run(
    *arguments: str, command: Sequence[str | Path] = COMMAND, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """``async-processor run`` to its end."""
    return subprocess.run(
        [*command, "run", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PROGRAM_FOLDER": str(folder)},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def assert_gone(processes: list[psutil.Process]) -> None:
    """Within a second. Not with ``psutil.wait_procs``, which also waits for others to take in the dead."""
    deadline = time.monotonic() + 1.0 + 2 * SLACK_S
    while left := [process for process in processes if alive(process.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def ended(program: Program) -> tuple[int, str, float]:
    """Exit code, the line that it says, and how long its end took."""
    began = time.monotonic()
    # Its output ends with the last of its workers, so that does not tell.
    while program.process.poll() is None and time.monotonic() - began < 20.0:
        time.sleep(0.01)
    seconds = time.monotonic() - began
    code, out, error = program.end()
    assert out == ""
    return code, error, seconds
