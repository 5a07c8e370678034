"""The bodies of the workloads, importable by worker processes. The same for every system."""

from __future__ import annotations

import os
import time
from typing import Any

TASKS = {"W1": 20_000, "W2": 5_000, "W2b": 5_000, "W3": 500, "W5": 2_000, "W8": 100_000, "W9": 200}
SLOTS = 10
BATCH_TASKS, BATCH_S, URGENT_S = 2_000, 0.010, 0.001
TEN_MB = 10_000_000
CPU_TASK_S = 0.020
LOOP_TIMEOUT_S = 0.2


def noop(*_: Any) -> None:
    """Nothing."""


def echo(value: bytes) -> bytes:
    """Give back what came."""
    return value


def spin(seconds: float) -> float:
    """Compute for so many seconds of processor time."""
    began = time.process_time()
    number = 0
    while time.process_time() - began < seconds:
        number += 1
    return seconds


def busy_process(seconds: float) -> int:
    """Compute for so long that another process must take the next one; which process this is."""
    spin(seconds)
    return os.getpid()


def endless(*_: Any) -> None:
    """Compute for ever."""
    while True:
        pass
