"""Runs any lane the way the engine does, and holds it to the protocol while it is at it.

To put another lane under the conformance suite, add a ``LaneCase`` to ``LANES``.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.execution import lane_functions as functions

from async_processor.clock import SystemClock
from async_processor.execution.async_lane import AsyncLane
from async_processor.execution.base import Attempt, Lane
from async_processor.execution.process_lane import ProcessLane
from async_processor.execution.thread_lane import ThreadLane
from async_processor.model import LaneName, ProcessingTask
from async_processor.outcome import AttemptOutcome
from async_processor.testing import InlineLane

WAIT_S = 20.0


def make_async_lane(slots: Sequence[str]) -> Lane:
    return AsyncLane(slots, cancel_grace=1.0, clock=SystemClock())


def make_thread_lane(slots: Sequence[str]) -> Lane:
    return ThreadLane(slots, max_abandoned=10, clock=SystemClock())


def make_inline_lane(slots: Sequence[str]) -> Lane:
    return InlineLane(LaneName.ASYNC, slots, clock=SystemClock())


def make_process_lane(slots: Sequence[str]) -> Lane:
    return ProcessLane(
        slots,
        start_method="forkserver",
        worker_start_timeout=WAIT_S,
        max_tasks_per_worker=0,
        max_worker_memory_mb=0,
        max_payload_bytes=64 * 1024 * 1024,
        max_result_bytes=64 * 1024 * 1024,
        clock=SystemClock(),
    )


@dataclass(frozen=True)
class LaneCase:
    """One way to run functions.

    Attributes:
        make: makes the lane, given the names of its slots.
        is_async: whether the functions handed to it are async.
        in_process: whether they run in this process, so that they see its context variables.
        measures: whether the lane measures processor time.
    """

    make: Callable[[Sequence[str]], Lane]
    is_async: bool
    in_process: bool = True
    measures: bool = True


LANES: dict[str, LaneCase] = {
    "async": LaneCase(make_async_lane, is_async=True),
    "thread": LaneCase(make_thread_lane, is_async=False),
    "thread-async": LaneCase(make_thread_lane, is_async=True),
    "process": LaneCase(make_process_lane, is_async=False, in_process=False),
    "inline": LaneCase(make_inline_lane, is_async=True, measures=False),
}


@dataclass
class RecordingSink:
    """Keeps what a lane reports, and every breach of the protocol that can be seen from here."""

    began: list[int] = field(default_factory=list)
    progress: list[tuple[int, float, str]] = field(default_factory=list)
    ended: dict[int, AttemptOutcome] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    on_end: Callable[[int], None] | None = None
    _thread: int = field(default_factory=threading.get_ident)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def attempt_began(self, token: int) -> None:
        self._check(token)
        self.began.append(token)
        self._changed.set()

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        self._check(token)
        self.progress.append((token, fraction, message))
        self._changed.set()

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        self._check(token)
        self.ended[token] = outcome
        self._changed.set()
        if self.on_end is not None:
            self.on_end(token)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def outcome(self, token: int) -> AttemptOutcome:
        await self.wait_until(lambda: token in self.ended)
        return self.ended[token]

    async def begun(self, token: int) -> None:
        """Wait until the function runs; it must say so as its first progress."""
        await self.wait_until(lambda: any(item[0] == token for item in self.progress))

    def _check(self, token: int) -> None:
        if threading.get_ident() != self._thread:
            self.faults.append(f"attempt {token} was reported on another thread")
        if token in self.ended:
            self.faults.append(f"attempt {token} was reported after its end")


class Bench:
    """A started lane of four slots, and attempts for it."""

    def __init__(self, case: LaneCase, lane: Lane, sink: RecordingSink) -> None:
        self.case = case
        self.lane = lane
        self.sink = sink
        self.given: Counter[int] = Counter()
        self.abandoned: set[int] = set()
        self._tokens = itertools.count(1)

    def form(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """A function that does not wait, in the form of this case."""
        return functions.AsAsync(body) if self.case.is_async else body

    @property
    def waiting(self) -> Callable[..., Any]:
        """A function that ends only when it is stopped."""
        return functions.wait_for_cancel_async if self.case.is_async else functions.wait_for_cancel

    def attempt(
        self, func: Callable[..., Any], payload: dict[str, Any] | None = None, *, slot: int = 0, **options: Any
    ) -> Attempt:
        token = next(self._tokens)
        options.setdefault("task", ProcessingTask("work", payload or {}, id=f"task-{token}"))
        options.setdefault("wants_context", False)
        options.setdefault("is_async", self.case.is_async)
        return Attempt(token=token, slot=self.lane.slots[slot], func=func, **options)

    def run(self, func: Callable[..., Any], payload: dict[str, Any] | None = None, **options: Any) -> int:
        """Begin an attempt; gives its token."""
        attempt = self.attempt(func, payload, **options)
        self.given[attempt.token] += 1
        self.lane.run(attempt)
        return attempt.token

    async def outcome_of(
        self, func: Callable[..., Any], payload: dict[str, Any] | None = None, **options: Any
    ) -> AttemptOutcome:
        """Run an attempt to its end."""
        return await self.sink.outcome(self.run(func, payload, **options))

    def abandon(self, token: int) -> None:
        self.abandoned.add(token)
        self.lane.abandon(token)

    def check(self) -> None:
        """Every attempt was reported ended exactly once; one that was abandoned at most once."""
        assert self.sink.faults == []
        assert self.sink.ended.keys() - self.given.keys() == set()
        assert self.given.keys() - self.sink.ended.keys() - self.abandoned == set()


@asynccontextmanager
async def open_bench(case: LaneCase, lane: Lane | None = None) -> AsyncIterator[Bench]:
    """A bench whose lane is closed and checked at the end."""
    if lane is None:
        lane = case.make([f"slot-{number}" for number in range(4)])
    sink = RecordingSink()
    await lane.start(sink)
    bench = Bench(case, lane, sink)
    try:
        yield bench
    finally:
        await lane.aclose(WAIT_S)
    bench.check()
