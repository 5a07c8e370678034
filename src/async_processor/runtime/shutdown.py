"""The end of a run: stop taking work, drain, cancel, kill, release everybody. Never longer than asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from ..clock import Clock
from ..processors.registry import ProcessorRegistry
from .engine import Engine

logger = logging.getLogger("async_processor.shutdown")

# After the time for draining there is one second in all for what remains; these are its parts.
STOP_S = 0.4
LANES_S = 0.3
STORE_S = 0.3
CLOSING_S = 0.15


async def shut_down(engine: Engine, registry: ProcessorRegistry, clock: Clock, timeout: float, own: str | None) -> None:
    """End a run within ``timeout`` + 1 seconds, whatever its tasks do.

    Args:
        own: id of the task that asks for the shutdown from within, which cannot be waited for; None if none does.
    """
    engine.close_intake("was shut down")
    await _drained(engine, clock.monotonic() + timeout, clock, own)
    engine.stop_running()
    await _drained(engine, clock.monotonic() + STOP_S, clock, None)
    engine.abandon_running()
    engine.stop_timers()
    closing = [_bounded(lane.aclose(LANES_S), LANES_S * 2, f"{lane.name} lane") for lane in engine.lanes.values()]
    if engine.journal is not None:
        # All attempts have ended or were given up by now: what lanes still report changes nothing.
        closing.append(_bounded(engine.journal.aclose(STORE_S), STORE_S * 2, "store"))
    await asyncio.gather(*closing)
    await engine.callbacks.aclose(CLOSING_S)
    await _close_processors(registry)
    engine.hub.stopped(clock.monotonic())


async def _drained(engine: Engine, deadline: float, clock: Clock, own: str | None) -> None:
    """Wait until nothing runs (but ``own``), at most until ``deadline``."""
    while running := [item for item in engine.running_ids() if item != own]:
        remaining = deadline - clock.monotonic()
        if remaining <= 0:
            return
        waiter = engine.waiter(running[0])
        if waiter is not None:
            await asyncio.wait([waiter[1]], timeout=remaining)


async def _close_processors(registry: ProcessorRegistry) -> None:
    async def close() -> None:
        for problem in await registry.aclose():
            logger.warning("a processor function could not be closed: %s", type(problem).__name__, exc_info=problem)

    await _bounded(close(), CLOSING_S, "processor functions")


async def _bounded(work: Coroutine[object, object, None], seconds: float, what: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        logger.warning("closing the %s took longer than %g s and was given up", what, seconds)
    except Exception:
        # The others must be closed all the same.
        logger.exception("closing the %s failed", what)
