"""Looks up dependencies that ended in an earlier run and that the scheduler therefore does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..errors import StoreError
from ..storage.base import StoredTask
from .faults import Faults
from .journal import Journal

RETRY_PAUSE_S = 0.5


class DependencyLookup:
    """Asks the store for tasks that somebody waits for, all that were named meanwhile at once.

    Args:
        journal: the store.
        known: whether the scheduler knows a task by now.
        found: handed every task that has ended.
        faults: told of errors of our own.
    """

    def __init__(
        self, journal: Journal, known: Callable[[str], bool], found: Callable[[StoredTask], None], faults: Faults
    ) -> None:
        self._journal = journal
        self._known = known
        self._found = found
        self._faults = faults
        self._wanted: dict[str, None] = {}
        self._asking: asyncio.Task[None] | None = None

    def want(self, task_ids: Iterable[str]) -> None:
        """Look for these tasks soon."""
        self._wanted.update(dict.fromkeys(task_ids))
        if self._wanted and self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="async-processor-dependencies")

    def stop(self) -> None:
        """Nobody waits any more."""
        self._wanted.clear()
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                await self._ask_for([item for item in wanted if not self._known(item)])
        except Exception as error:  # noqa: BLE001 - ours, or of a store; who waits fails in time, the next may be found
            self._faults.survived("looking up dependencies", error)
        finally:
            self._asking = None

    async def _ask_for(self, task_ids: list[str]) -> None:
        try:
            found = await self._journal.find(task_ids)
        except StoreError:
            # It says itself that it fails. Nobody is told yet that what they wait for does not exist.
            self._wanted.update(dict.fromkeys(task_ids))
            await asyncio.sleep(RETRY_PAUSE_S)
            return
        for stored in found.values():
            if stored.status.is_terminal:
                self._found(stored)
