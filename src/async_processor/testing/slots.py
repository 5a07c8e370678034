"""The slots of a lane for tests."""

from __future__ import annotations

from collections.abc import Sequence

from ..execution.base import Attempt
from ..model import LaneName


class Slots:
    """Which attempt is where.

    Holds the engine to its side of the protocol: a lane for tests that let a slot be taken twice would hide the fault.
    """

    def __init__(self, name: LaneName, slots: int | Sequence[str]) -> None:
        self.names = tuple(f"{name}-{number}" for number in range(slots)) if isinstance(slots, int) else tuple(slots)
        self._taken: dict[str, int] = {}

    def take(self, attempt: Attempt) -> None:
        """An attempt comes into its slot.

        Raises:
            AssertionError: another one is still there.
        """
        other = self._taken.get(attempt.slot)
        if other is not None:
            raise AssertionError(f"attempt {attempt.token} was put into {attempt.slot}, where {other} still runs")
        self._taken[attempt.slot] = attempt.token

    def release(self, attempt: Attempt) -> None:
        """An attempt has left its slot."""
        del self._taken[attempt.slot]
