"""Checks of the application's own that decide about readiness: a database that answers, a model that is loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from ..errors import ConfigurationError
from ..monitoring.health import HealthCheck

logger = logging.getLogger("async_processor.server")

TIMEOUT_S = 0.5
"""With what else an answer takes, less than the second that a probe waits."""
KEPT_S = 1.0
"""However many ask, what is checked is asked once in so many seconds."""

OwnCheck = Callable[[], Awaitable[object]]


class OwnChecks:
    """Runs them all side by side, each bounded in time.

    Args:
        checks: name -> an async function without arguments; that it raises or takes too long means no.

    Raises:
        ConfigurationError: a name cannot be shown on a line of its own.
    """

    def __init__(self, checks: Mapping[str, OwnCheck]) -> None:
        for name in checks:
            if not name or not name.isprintable():
                raise ConfigurationError(f"the name of a check must be printable text, not {name!r}")
        self._checks = dict(checks)
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[tuple[HealthCheck, ...]] | None = None

    async def look(self) -> tuple[HealthCheck, ...]:
        """What they say, or have just said."""
        if self._asking is None or (self._asking.done() and monotonic() - self._asked_at >= KEPT_S):
            self._asking = asyncio.create_task(self._ask_all(), name="readiness-checks")
        # Others wait for the same answer.
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> tuple[HealthCheck, ...]:
        found = await asyncio.gather(*(_asked(name, check) for name, check in self._checks.items()))
        self._asked_at = monotonic()
        return tuple(found)


async def _asked(name: str, check: OwnCheck) -> HealthCheck:
    try:
        async with asyncio.timeout(TIMEOUT_S) as limit:
            await check()
    except Exception as error:
        if limit.expired():
            return HealthCheck(name, "fail", f"the check {name!r} did not end within {TIMEOUT_S:g} s")
        # Its text stays in the log: it may hold the address or the password of what was asked.
        logger.warning("the check %r failed", name, exc_info=error)
        return HealthCheck(name, "fail", f"the check {name!r} failed with {type(error).__name__}")
    return HealthCheck(name)
