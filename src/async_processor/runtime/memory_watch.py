"""Looks at memory as long as there is something to decide with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .faults import Faults
from .memory_gate import SAMPLE_INTERVAL_S, MemoryGate


class MemoryWatch:
    """Has the gate read memory now and again, and passes on what changed.

    Args:
        gate: reads memory.
        matters: whether memory-intensive tasks wait or run.
        changed: told whether there is pressure, whenever that changed.
        faults: told of errors of our own.
    """

    def __init__(
        self, gate: MemoryGate, matters: Callable[[], bool], changed: Callable[[bool], None], faults: Faults
    ) -> None:
        self.gate = gate
        self._matters = matters
        self._changed = changed
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look now, and again as long as it matters."""
        if self._timer is None:
            self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        try:
            changed = self.gate.refresh()
        except Exception as error:  # noqa: BLE001 - no descriptor is left, say; it is tried again, until then nothing changes
            self._faults.survived("reading memory", error)
            changed = False
        if changed:
            self._changed(self.gate.under_pressure)
        if self._matters():
            self._timer = self._loop.call_later(SAMPLE_INTERVAL_S, self._look)
