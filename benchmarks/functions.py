"""The bodies of the workloads, importable by worker processes. The same for every system."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

SLOTS = 10
BATCH_S, URGENT_S = 0.010, 0.001
TEN_MB = 10_000_000
CPU_TASK_S = 0.020
BUSY_S = 0.020
LOOP_TIMEOUT_S = 0.2


def noop(*_: Any) -> None:
    """Nothing."""


def nap(seconds: float) -> None:
    """Wait for so many seconds."""
    time.sleep(seconds)


def successor(number: int) -> int:
    """The next number."""
    return number + 1


def total(*numbers: int) -> int:
    """What tasks that were waited for gave, together."""
    return sum(numbers)


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


def busy_process() -> int:
    """Compute for so long that another process must take the next one; which process this is."""
    spin(BUSY_S)
    return os.getpid()


def endless(*_: Any) -> None:
    """Compute for ever."""
    while True:
        pass


PLAIN: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (noop, nap, successor, total, echo, spin, busy_process, endless)
}


class Gate:
    """Holds up a coroutine, and thereby its slot, until it is opened."""

    def __init__(self) -> None:
        self.close()

    def close(self) -> None:
        """Begin anew."""
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def block(self) -> None:
        self.entered.set()
        await self.opened.wait()


gate = Gate()


async def _noop() -> None:
    """Nothing."""


async def _nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _successor(number: int) -> int:
    return number + 1


async def _total(*numbers: int) -> int:
    return sum(numbers)


COROUTINES: dict[str, Callable[..., Awaitable[Any]]] = {
    "noop": _noop, "nap": _nap, "successor": _successor, "total": _total, "block": gate.block,
}  # fmt: skip
"""The same for systems that run coroutines."""
