"""Runs ``store_child`` and talks with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.source_code import ROOT

WAIT_S = 25.0


@asynccontextmanager
async def child(
    mode: str, path: Path, *more: object, before: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running child; killed in the end.

    Args:
        mode: what it does.
        path: the store.
        more: arguments of the mode.
        before: a program that runs it.
    """
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", "tests.storage.store_child", mode, str(path), *map(str, more),
        cwd=ROOT, stdout=subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        # asyncio closes its pipes one turn later.
        await asyncio.sleep(0)


async def line_of(process: asyncio.subprocess.Process) -> str:
    """What it says next."""
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        return (await process.stdout.readline()).decode().strip()


async def lines_of(process: asyncio.subprocess.Process) -> list[str]:
    """All that it said, when it has ended. A line that was cut off by a kill is left out."""
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    return [line.decode().strip() for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
