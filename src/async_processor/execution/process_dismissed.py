"""Workers that are of no use any more: killed, and kept until they are gone."""

from __future__ import annotations

from collections.abc import Callable

from .process_handle import End, WorkerHandle, WorkerListener


class DismissedWorkers(WorkerListener):
    """The workers of a lane that no slot has any more.

    Args:
        on_gone: called whenever one has gone.

    Attributes:
        abandoned: those of them whose attempt was given up.
        stale_reports: attempts given up that were heard of once more.
    """

    __slots__ = ("_on_gone", "_workers", "abandoned", "stale_reports")

    def __init__(self, on_gone: Callable[[], None]) -> None:
        self.abandoned: set[WorkerHandle] = set()
        self.stale_reports = 0
        self._workers: set[WorkerHandle] = set()
        self._on_gone = on_gone

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, worker: WorkerHandle) -> None:
        """Kill a worker, and wait for its end."""
        worker.listener = self
        self._workers.add(worker)
        worker.kill()

    def attempt_ended(self, worker: WorkerHandle, end: End) -> None:  # noqa: ARG002
        """It was over before the worker died, too late for anybody to know."""
        self.stale_reports += 1

    def worker_gone(self, worker: WorkerHandle, exit_code: int | None) -> None:  # noqa: ARG002
        """It has gone."""
        self._workers.discard(worker)
        self.abandoned.discard(worker)
        self._on_gone()
