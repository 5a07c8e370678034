"""taskiq with its broker in memory: tasks by message, checked and encoded as for a broker elsewhere."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Self

from taskiq import InMemoryBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult

from benchmarks import functions as body
from benchmarks.system import Adapters, Call, Calls

NAME = "taskiq"
PACKAGE = "taskiq"
ABOUT = "InMemoryBroker: no slots for coroutines, all run at once; no priorities; whoever hands in orders; nothing kept"


class _Results(TaskiqMiddleware):
    """Tells of results by its own hook, rather than asking for them again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: dict[str, asyncio.Future[Any]] = {}

    def of(self, task_id: str) -> asyncio.Future[Any]:
        return self.futures.setdefault(task_id, asyncio.get_running_loop().create_future())

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        future = self.of(message.task_id)
        if result.error is None:
            future.set_result(result.return_value)
        else:
            future.set_exception(result.error)


class Taskiq(Calls):
    """A broker.

    Args:
        functions: the bodies.
    """

    def __init__(self, functions: dict[str, Callable[..., Any]]) -> None:
        self._functions = functions

    async def __aenter__(self) -> Self:
        self._results = _Results()
        # No conversion of arguments by their annotations; it keeps no results beside ours.
        self._broker = InMemoryBroker(sync_tasks_pool_size=2, max_stored_results=1, cast_types=False)
        self._broker.add_middlewares(self._results)
        self._tasks = {
            name: self._broker.register_task(function, task_name=name) for name, function in self._functions.items()
        }
        await self._broker.startup()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._broker.shutdown()

    async def call(self, call: Call) -> asyncio.Future[Any]:
        task = await self._tasks[call.body].kiq(*call.arguments)
        return self._results.of(task.task_id)


_on_loop = functools.partial(
    Taskiq, {name: function for name, function in body.COROUTINES.items() if name in ("noop", "successor", "total")}
)
_threads = functools.partial(Taskiq, {"noop": body.noop})

ADAPTERS: Adapters = {
    **dict.fromkeys(("W1", "W3/a", "W5", "W11/growth", "W12"), _on_loop),
    **dict.fromkeys(("W2", "W3/t"), _threads),
}
