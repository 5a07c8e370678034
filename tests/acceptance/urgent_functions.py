"""What runs in test_urgent; a module of its own, because worker processes import it."""

from __future__ import annotations

import asyncio
import time

from async_processor import ProcessingTask


async def noop(task: ProcessingTask) -> None:
    """The urgent one."""


async def rest(task: ProcessingTask) -> None:
    await asyncio.sleep(0.02)


def block(task: ProcessingTask) -> None:
    time.sleep(0.02)


def spin(task: ProcessingTask) -> None:
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
