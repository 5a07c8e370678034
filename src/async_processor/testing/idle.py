"""Waiting for all work to be done."""

from __future__ import annotations

from typing import Protocol


class Idling(Protocol):
    """Whatever can tell when it has nothing left to do: ``AdvancedAsyncProcessor`` can."""

    async def wait_until_idle(self, timeout: float | None = None) -> None: ...


async def run_until_idle(processor: Idling, timeout: float | None = 10.0) -> None:
    """Wait until no task of ``processor`` waits or runs.

    Args:
        processor: the processor.
        timeout: seconds, virtual ones on a ``VirtualTimeLoop``; None for no limit.

    Raises:
        TimeoutError: something still waits or runs.
    """
    await processor.wait_until_idle(timeout)
