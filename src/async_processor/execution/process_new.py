"""What a new worker consists of, and what makes one. Apart from ``process_spawn``, which is dear to import."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple, Protocol

from .process_arena import Arena
from .process_exit import WorkerProcess
from .process_worker import WorkerSettings

StartMethod = Literal["forkserver", "spawn"]


class NewWorker(NamedTuple):
    """A worker process that was started and is not ready yet, and the parent's ends of everything."""

    process: WorkerProcess
    channel: int
    lifeline: int
    outgoing: Arena | None
    incoming: Arena | None

    def close(self) -> None:
        """Let go of all ends but those of the process."""
        os.close(self.channel)
        os.close(self.lifeline)
        for arena in (self.outgoing, self.incoming):
            if arena is not None:
                arena.close()


class Launcher(Protocol):
    """Starts worker processes in one way."""

    def launch(self, name: str, settings: WorkerSettings, deadline: float) -> NewWorker:
        """Start a worker; called in a thread.

        Args:
            name: of the process.
            settings: for the worker.
            deadline: when to give up, on ``time.monotonic``.

        Raises:
            OSError, EOFError: it could not be started.
        """
        ...

    def close(self) -> None:
        """End what helps to start workers; called in a thread when no worker is left."""
        ...
