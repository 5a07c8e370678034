"""A processor on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from ..clock import Clock
from ..config import ProcessorConfig
from ..execution.base import Lane
from ..model import LaneName
from ..processor import AdvancedAsyncProcessor
from ..runtime.lanes import LaneSizes
from .inline_lane import InlineLane
from .loop import VirtualTimeLoop


def inline_lanes(sizes: LaneSizes, config: ProcessorConfig, clock: Clock) -> Mapping[LaneName, Lane]:
    """An ``InlineLane`` in place of every real lane: ``AdvancedAsyncProcessor(lanes=inline_lanes)``."""
    counts = {
        LaneName.ASYNC: sizes.workers,
        LaneName.THREAD: sizes.thread_workers,
        LaneName.PROCESS: sizes.process_workers,
    }
    return {
        name: InlineLane(
            name,
            count,
            # As in the real lanes: only on the event loop has an attempt begun when it was handed in.
            begins_at_once=name is LaneName.ASYNC,
            stop_grace=0.0 if name is LaneName.THREAD else config.cancel_grace_s,
            clock=clock,
        )
        for name, count in counts.items()
    }


def virtual_processor(**options: Any) -> AdvancedAsyncProcessor:
    """A processor for the running ``VirtualTimeLoop``: its clock, in-line lanes, and dice drawn from its seed.

    Args:
        options: arguments of ``AdvancedAsyncProcessor``. Monitoring is off unless asked for, because watching an
            event loop for real stalls takes a thread; the configuration is the default one, whatever the
            environment says.

    Raises:
        RuntimeError: called elsewhere than on a running ``VirtualTimeLoop``.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError(f"virtual_processor belongs into run_virtual, not on a {type(loop).__name__}")
    defaults: dict[str, Any] = {
        "enable_monitoring": False,
        "config": options.get("config") or ProcessorConfig(),
        "clock": loop.clock,
        "lanes": inline_lanes,
        "rng": random.Random(loop.seed),  # noqa: S311 - jitter, not secrets
    }
    return AdvancedAsyncProcessor(**(defaults | options))
