"""What a test may leave behind: nothing. Compares threads, child processes, open files and asyncio tasks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import NamedTuple

import psutil

DEADLINE_S = 5.0
_DESCRIPTORS = Path("/proc/self/fd")


class Leftovers(NamedTuple):
    """What is there, by kind. Names, so that a failure tells what was left."""

    threads: frozenset[str]
    children: frozenset[str]
    descriptors: frozenset[str]
    tasks: frozenset[str]

    def beyond(self, earlier: Leftovers) -> dict[str, list[str]]:
        """What was not there earlier, by kind; empty kinds left out."""
        added = {name: sorted(getattr(self, name) - getattr(earlier, name)) for name in self._fields}
        return {name: items for name, items in added.items() if items}


def look() -> Leftovers:
    """What there is now. Called on the loop's thread, or without a loop."""
    return Leftovers(
        threads=frozenset(_threads()),
        children=frozenset(child_processes()),
        descriptors=frozenset(_descriptors()),
        tasks=frozenset(_tasks()),
    )


async def assert_back_to(earlier: Leftovers) -> None:
    """Fail unless everything new is gone within some seconds: threads and processes may need a moment to end."""
    until = time.monotonic() + DEADLINE_S
    while (left := look().beyond(earlier)) and time.monotonic() < until:
        gc.collect()
        await asyncio.sleep(0.01)
    assert left == {}, f"left behind: {left}"


def _threads() -> list[str]:
    # Threads of a loop's default executor end with the loop.
    return [f"{item.name} ({item.ident})" for item in threading.enumerate() if not item.name.startswith("asyncio_")]


# The helpers of multiprocessing live as long as this process, once started: they are no leak.


def child_processes() -> list[str]:
    """Processes below this one, without the helpers."""
    helpers = {resource_tracker._resource_tracker._pid, forkserver._forkserver._forkserver_pid}
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.pid not in helpers:
                found.append(f"{child.pid} {child.name()}")
    return found


def _descriptors() -> list[str]:
    helpers = {resource_tracker._resource_tracker._fd, forkserver._forkserver._forkserver_alive_fd}
    found = []
    for entry in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.exists() else []:
        # The one that the listing itself used is gone by now.
        with contextlib.suppress(FileNotFoundError):
            if int(entry.name) not in helpers:
                found.append(f"{entry.name} {entry.readlink()}")
    return found


def _tasks() -> list[str]:
    try:
        current = asyncio.current_task()
    except RuntimeError:
        return []
    return [f"{task.get_name()} {task.get_coro()!r}" for task in asyncio.all_tasks() if task is not current]
