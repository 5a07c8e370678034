"""Loudness by ITU-R BS.1770-4, measured with ``pyloudnorm``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..extras import needs_extra

if TYPE_CHECKING:
    from ..samples import Samples

NAME = "pyloudnorm"
MIN_SECONDS = 0.4
"""One gating block of the standard: what is shorter has no loudness."""


def loudness(samples: Samples, rate: int) -> float | None:
    """Integrated loudness in LUFS; None for what is too short, or silent by the standard's gate (-70 LUFS).

    Raises:
        MissingExtraError: pyloudnorm is not installed.
    """
    if len(samples) < MIN_SECONDS * rate:
        return None
    with needs_extra("voice", needed_for="measuring the loudness of recordings"):
        import pyloudnorm

    # "DeMan" are the standard's own filters at any rate; the library's default rounds their parameters.
    value = float(pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(samples))
    return value if math.isfinite(value) else None
