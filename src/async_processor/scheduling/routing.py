"""Which lane a task runs in: a table over the function and the hints, first match wins."""

from __future__ import annotations

from typing import NamedTuple

from ..model import LaneName


class Hints(NamedTuple):
    """What is known of a task's work.

    Attributes:
        is_async: whether the function is a coroutine function.
        cpu_intensive, io_bound, memory_intensive: the task's own hints, or those declared with the function.
        pinned: the one lane that the function may run in, whatever the hints say.
        has_cluster: whether the processor was configured with a cluster.
    """

    is_async: bool
    cpu_intensive: bool = False
    io_bound: bool = False
    memory_intensive: bool = False
    pinned: LaneName | None = None
    has_cluster: bool = False


def route(hints: Hints) -> LaneName:
    """The lane for a task.

    Memory comes before everything, because only a process of its own can be measured and ended; then an explicit
    wait for I/O, which a thread does best even when some computing comes with it.
    """
    if hints.pinned is not None:
        return hints.pinned
    if hints.memory_intensive or (hints.cpu_intensive and not hints.io_bound):
        return LaneName.RAY if hints.has_cluster else LaneName.PROCESS
    if hints.io_bound or not hints.is_async:
        return LaneName.THREAD
    return LaneName.ASYNC
