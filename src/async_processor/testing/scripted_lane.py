"""A lane in which nothing runs: the test says what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..execution.base import Attempt, AttemptSink
from ..figures import LaneStatistics
from ..model import LaneName
from ..outcome import AttemptOutcome, Stopped, StopReason
from .slots import Slots


class ScriptedLane:
    """A lane in which nothing runs: the test says when an attempt begins, what it reports, and how it ends.

    Args:
        name: which lane it stands in for.
        slots: how many slots it has, or their names.
        begins_at_once: whether ``run`` means begun; if not, the test calls ``begin``.
        stop_grace: seconds between ``stop`` and ``abandon``.

    Attributes:
        started: every attempt so far, in order.
        running: those that have not ended, by token.
        stops: what the engine asked to stop, and why, in order.
        abandoned: those the engine gave up, by token; ``finish`` on one of them is a report that comes too late.
    """

    def __init__(
        self,
        name: LaneName = LaneName.ASYNC,
        slots: int | Sequence[str] = 1,
        *,
        begins_at_once: bool = False,
        stop_grace: float = 1.0,
    ) -> None:
        self._name = name
        self._slots = Slots(name, slots)
        self._begins_at_once = begins_at_once
        self._stop_grace = stop_grace
        self._sink: AttemptSink | None = None
        self._arrived = asyncio.Event()
        self.started: list[Attempt] = []
        self.running: dict[int, Attempt] = {}
        self.stops: list[tuple[int, StopReason]] = []
        self.abandoned: dict[int, Attempt] = {}
        self._abandoned_total = 0
        self._stale_reports = 0

    # ---- the script

    def token_of(self, task_id: str) -> int:
        """The token of a task's running attempt.

        Raises:
            KeyError: it has none.
        """
        for token, attempt in self.running.items():
            if attempt.task.id == task_id:
                return token
        raise KeyError(f"no attempt of task {task_id!r} runs here")

    async def arrival(self, task_id: str, number: int = 1) -> int:
        """Wait until attempt ``number`` of a task was handed in; gives its token."""
        while True:
            for attempt in self.started:
                if (attempt.task.id, attempt.number) == (task_id, number):
                    return attempt.token
            self._arrived.clear()
            await self._arrived.wait()

    def begin(self, token: int) -> None:
        """Report that the function of an attempt is about to be called."""
        self._known(token)
        self._report().attempt_began(token)

    def progress(self, token: int, fraction: float, message: str = "") -> None:
        """Report progress of an attempt."""
        self._known(token)
        self._report().attempt_progress(token, fraction, message)

    def finish(self, token: int, outcome: AttemptOutcome) -> None:
        """End an attempt.

        Raises:
            KeyError: it has ended, or there never was one.
        """
        attempt = self._known(token)
        if self.running.pop(token, None) is not None:
            self._slots.release(attempt)
        else:
            del self.abandoned[token]
            self._stale_reports += 1
        self._report().attempt_ended(token, outcome)

    def _known(self, token: int) -> Attempt:
        attempt = self.running.get(token) or self.abandoned.get(token)
        if attempt is None:
            raise KeyError(f"attempt {token} does not run here")
        return attempt

    # ---- the protocol

    @property
    def name(self) -> LaneName:
        """Which lane it stands in for."""
        return self._name

    @property
    def begins_at_once(self) -> bool:
        """As given."""
        return self._begins_at_once

    @property
    def stop_grace(self) -> float:
        """As given."""
        return self._stop_grace

    @property
    def slots(self) -> Sequence[str]:
        """The names of its slots."""
        return self._slots.names

    async def start(self, sink: AttemptSink) -> None:
        """Report to ``sink`` from now on."""
        self._sink = sink

    def run(self, attempt: Attempt) -> None:
        """Note the attempt.

        Raises:
            AssertionError: its slot is occupied.
        """
        self._slots.take(attempt)
        self.started.append(attempt)
        self.running[attempt.token] = attempt
        self._arrived.set()

    def stop(self, token: int, reason: StopReason) -> None:
        """Note the wish; the script decides what comes of it."""
        if token in self.running:
            self.stops.append((token, reason))

    def abandon(self, token: int) -> None:
        """Note that the engine gave the attempt up."""
        attempt = self.running.pop(token, None)
        if attempt is not None:
            self._slots.release(attempt)
            self.abandoned[token] = attempt
            self._abandoned_total += 1

    def statistics(self) -> LaneStatistics:
        """What was abandoned; it is always healthy."""
        return LaneStatistics(
            abandoned=len(self.abandoned), abandoned_total=self._abandoned_total, stale_reports=self._stale_reports
        )

    async def aclose(self, timeout: float) -> None:  # noqa: ARG002 - nothing here takes time
        """End whatever the script left running, as stopped."""
        for token in list(self.running):
            self.finish(token, Stopped())

    def _report(self) -> AttemptSink:
        assert self._sink is not None, "the lane was not started"  # noqa: S101 - a fake for tests
        return self._sink
