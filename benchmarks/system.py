"""What a system must be able to do for the workloads: hand in a task, and wait for its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self


class System:
    """One library, set up; an async context manager that is ready within.

    Attributes:
        share: of the counts of a workload; the slow do less, for a rate is a rate.
    """

    share = 1.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Release all that was set up."""

    def task(
        self,
        body: str,
        *arguments: Any,
        urgent: bool = False,
        after: Sequence[Any] = (),
        timeout: float | None = None,
    ) -> Any:
        """What is handed in. Made before the clock starts, where a workload asks for the time of many.

        Args:
            body: name of a function in ``benchmarks.functions``.
            arguments: for it.
            urgent: whether it overtakes those that are not.
            after: handles of the tasks whose results are its further arguments.
            timeout: seconds after which it is to be ended.
        """
        raise NotImplementedError

    async def submit(self, task: Any) -> Any:
        """Hand it in; the handle by which its result can be asked for, as often as one likes."""
        raise NotImplementedError

    async def result(self, handle: Any) -> Any:
        """Wait until it is done; what it gave. Raises what it raised."""
        return await handle

    async def done(self, handles: Sequence[Any]) -> None:
        """Wait until all are done."""
        for handle in handles:
            await self.result(handle)

    async def timed_out(self, handle: Any) -> bool:
        """Wait until it has ended; whether its timeout ended it."""
        raise NotImplementedError

    async def one(self, body: str, *arguments: Any, **how: Any) -> Any:
        """Hand in a task and wait for its result."""
        return await self.result(await self.submit(self.task(body, *arguments, **how)))


Opener = Callable[[], System]
Adapters = dict[str, Callable[..., Any]]
"""By workload, what opens the system for it: an ``Opener``, or for W6 and W6f a ``durable.Durable``."""


@dataclass(frozen=True)
class Call:
    """A task of a system that has no tasks of its own, or none to be made beforehand."""

    body: str
    arguments: tuple[Any, ...]
    after: Sequence[Any] = ()
    urgent: bool = False
    timeout: float | None = None


class Calls(System):
    """A system that does not know what waits for what: whoever hands in waits first. Subclasses say how to ``call``."""

    def task(
        self,
        body: str,
        *arguments: Any,
        urgent: bool = False,
        after: Sequence[Any] = (),
        timeout: float | None = None,
    ) -> Call:
        return Call(body, arguments, after, urgent, timeout)

    async def submit(self, task: Call) -> Any:
        if task.after:
            return asyncio.create_task(self._after(task))
        return await self.call(task)

    async def call(self, call: Call) -> Any:
        """Hand it in, regardless of ``after``; an awaitable for its result, unless ``result`` knows better."""
        raise NotImplementedError

    async def result(self, handle: Any) -> Any:
        return await handle if isinstance(handle, asyncio.Task) else await self.called(handle)

    async def called(self, handle: Any) -> Any:
        """What ``call`` gave, once it is done."""
        return await handle

    async def _after(self, task: Call) -> Any:
        earlier = [await self.result(handle) for handle in task.after]
        return await self.called(await self.call(Call(task.body, (*task.arguments, *earlier), (), task.urgent)))
