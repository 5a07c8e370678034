"""An application of somebody's own, with a processor in it, served by Uvicorn, and with signal handlers of its own.

Says on standard output what becomes of the handlers. A program, not a test: ``python -m tests.server.hosted``.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from async_processor import AdvancedAsyncProcessor, create_task
from async_processor.server import StreamSettings, create_app, health_routes


def handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def same(before: dict[int, Any]) -> str:
    changed = [signal.Signals(number).name for number, handler in handlers().items() if handler != before[number]]
    return "same" if not changed else f"changed: {changed}"


def tell(what: str) -> None:
    print(what, flush=True)  # noqa: T201 - this is what it is for


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    serving = handlers()
    tell(f"serving: {'own' if serving[signal.SIGTERM] is own else 'the server'}")
    processor.register_processor("noop", lambda task: None)
    async with processor:
        for hints in ({}, {"io_bound": True}, {"cpu_intensive": True}):
            await processor.wait_for_task(await processor.submit_task(create_task("noop", **hints)))
        tell(f"started: {same(serving)}")
        yield
    tell(f"ended: {same(serving)}")


def own(number: int, frame: FrameType | None) -> None:
    tell(f"own handler: {signal.Signals(number).name}")


processor = AdvancedAsyncProcessor(max_process_workers=1)
app = Starlette(
    lifespan=lifespan,
    # The stream ends itself in the end, or this server would wait for it.
    routes=[*health_routes(processor), Mount("/work", create_app(processor, stream=StreamSettings(life_s=0.5)))],
)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGINT, own)
    before = handlers()
    tell(f"made: {same(before)}")
    uvicorn.run(app, port=0, access_log=False)
    tell(f"afterwards: {same(before)}")
