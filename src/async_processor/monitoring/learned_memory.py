"""How much memory tasks of a type need, learned from how much they took."""

from __future__ import annotations

from collections import OrderedDict, deque
from math import ceil, isfinite

# As many as make the 95th percentile differ from the maximum, and as few as forget an old version of a function soon.
REMEMBERED_PEAKS = 40
_SHARE = 0.95


class LearnedMemory:
    """Peaks of the latest attempts by task type, and from them what the next one should be given.

    The estimate is the 95th percentile (nearest rank) of the latest 40 peaks: up to nineteen of them that is the
    highest, so it errs upwards while little is known, and afterwards one outlier in twenty no longer holds memory back.

    Args:
        max_types: how many task types are remembered; the one that was seen least recently is forgotten.
    """

    def __init__(self, max_types: int = 200) -> None:
        self._max_types = max_types
        self._peaks: OrderedDict[str, deque[float]] = OrderedDict()

    def observe(self, task_type: str, peak_mb: float) -> None:
        """Remember the peak of an attempt, in MiB. What is no positive number is not remembered."""
        if not (isfinite(peak_mb) and peak_mb > 0):
            return
        peaks = self._peaks.get(task_type)
        if peaks is None:
            peaks = self._peaks[task_type] = deque(maxlen=REMEMBERED_PEAKS)
            if len(self._peaks) > self._max_types:
                self._peaks.popitem(last=False)
        peaks.append(peak_mb)
        self._peaks.move_to_end(task_type)

    def expected_mb(self, task_type: str) -> float | None:
        """How much the next attempt of this type will need, in MiB; None if none was seen."""
        peaks = self._peaks.get(task_type)
        return None if peaks is None else _upper(peaks)

    def snapshot(self) -> dict[str, float]:
        """The estimate of every remembered type, in MiB."""
        return {task_type: _upper(peaks) for task_type, peaks in self._peaks.items()}


def _upper(peaks: deque[float]) -> float:
    return sorted(peaks)[ceil(_SHARE * len(peaks)) - 1]
