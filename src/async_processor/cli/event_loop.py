"""The event loop that the command runs on: uvloop where it is installed, which is faster, and asyncio's own otherwise.

The package itself takes whatever loop the application runs; only the command, which is an application, chooses one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """What ``work`` gives, run on a loop of its own, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=_faster_loop()) as runner:
        return runner.run(work)


def _faster_loop() -> Any:
    """What makes loops of uvloop; None where it is not installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
