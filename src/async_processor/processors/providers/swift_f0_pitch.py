"""The pitch of a voice over time, by SwiftF0 (a small network; weights in its wheel, run by onnxruntime)."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from ..extras import needs_extra

if TYPE_CHECKING:
    from ..samples import Flags, Samples

NAME = "swift-f0"
# From the deepest men to shrieking children.
MIN_HZ, MAX_HZ = 60.0, 800.0
# The threshold that its authors calibrated the voicing score for.
_VOICED = 0.5


@functools.cache
def _tracker() -> Any:
    # Loaded at first use and kept for the life of the worker process. One thread and no busy waiting, because the
    # other cores belong to the other workers.
    with needs_extra("voice", needed_for="EMOTION_ANALYSIS of recordings"):
        # Read when onnxruntime is imported, which writes a name for this machine to disk and reports to its maker
        # otherwise. What is said to work offline does neither.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)


def track_pitch(samples: Samples, rate: int) -> tuple[Samples, Flags]:
    """Fundamental frequency in Hz, and whether there is one, for each 16 ms.

    Raises:
        MissingExtraError: swift-f0 is not installed.
    """
    found = _tracker().detect(samples, rate, MIN_HZ, MAX_HZ)
    return found.pitch_hz, found.confidence >= _VOICED
