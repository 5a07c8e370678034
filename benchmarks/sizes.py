"""How much of each workload is done: all of it, less for a quick look, next to nothing to see whether it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of tasks, but where a name says otherwise.

    Attributes:
        at_once, in_threads, in_processes: no-ops of W1, W2 and W2b.
        one_at_a_time: of W3.
        batch: tasks that fill the slots in W4.
        diamonds: graphs of W5.
        durable_s, durable_warm_s: seconds of W6 and W6f.
        big: how often the 10 MB go to a process in W7.
        pending: that wait in W8.
        computing: of W9.
        endless: loops that are ended in W10.
        growth: how many wait at once in W11, fewest first; the ratio is of the last to the first.
        drained: that wait when the event loop is watched; in_graph: of the chain and of the fan-out of W11.
        turns: of W12.
    """

    at_once: int
    in_threads: int
    in_processes: int
    one_at_a_time: int
    batch: int
    diamonds: int
    durable_s: float
    durable_warm_s: float
    big: int
    pending: int
    computing: int
    endless: int
    growth: tuple[int, ...]
    drained: int
    in_graph: int
    turns: int


FULL = Sizes(
    at_once=20_000, in_threads=5_000, in_processes=5_000, one_at_a_time=500, batch=2_000, diamonds=2_000,
    durable_s=2.0, durable_warm_s=0.3, big=20, pending=100_000, computing=200, endless=10,
    growth=(1_000, 10_000, 100_000, 1_000_000), drained=100_000, in_graph=100_000, turns=1_000,
)  # fmt: skip
QUICK = Sizes(
    at_once=10_000, in_threads=2_000, in_processes=2_000, one_at_a_time=200, batch=600, diamonds=500,
    durable_s=0.5, durable_warm_s=0.1, big=5, pending=20_000, computing=50, endless=2,
    growth=(1_000, 10_000), drained=20_000, in_graph=10_000, turns=200,
)  # fmt: skip
TINY = Sizes(
    at_once=50, in_threads=20, in_processes=20, one_at_a_time=5, batch=60, diamonds=5,
    durable_s=0.2, durable_warm_s=0.05, big=1, pending=200, computing=4, endless=1,
    growth=(10, 100), drained=100, in_graph=100, turns=3,
)  # fmt: skip
SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}
