"""What a relay hands on, and how often."""

from __future__ import annotations

import asyncio
import contextvars

from async_processor.execution.progress import INTERVAL_S, ProgressRelay
from async_processor.outcome import AttemptOutcome
from async_processor.testing import run_virtual


class ReportsAgain:
    """A sink in whose very call the next report comes, as from a thread at the worst moment."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.relay: ProgressRelay | None = None

    def attempt_began(self, token: int) -> None: ...

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None: ...

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        self.at.append(asyncio.get_running_loop().time())
        assert self.relay is not None
        self.relay.report(0.5, "again")


def test_a_report_that_comes_while_one_is_handed_on_waits_for_its_turn():
    async def main() -> list[float]:
        sink = ReportsAgain()
        loop = asyncio.get_running_loop()
        sink.relay = relay = ProgressRelay(1, sink, loop, contextvars.copy_context())
        began = loop.time()
        relay.report(0.0, "first")
        await asyncio.sleep(10.5 * INTERVAL_S)
        relay.drop()
        return [at - began for at in sink.at]

    at = run_virtual(main, seed=1)

    assert [round(seconds / INTERVAL_S, 3) for seconds in at] == list(range(11))
