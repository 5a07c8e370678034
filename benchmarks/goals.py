"""What we aim at: a table of figures, each with the value that is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Goal:
    """A value that a figure of a workload is to reach, and which way is better."""

    workload: str
    figure: str
    value: float
    better: Better

    def met_by(self, value: float) -> bool:
        return self.missed_by(value) <= 1.0

    def missed_by(self, value: float) -> float:
        """Times that the figure is worse than the goal; below 1 it is better."""
        return self.value / value if self.better == "higher" else value / self.value


GOALS = (
    Goal("W1", "no-op tasks", 150_000, "higher"),
    Goal("W2", "no-op tasks in threads", 32_000, "higher"),
    Goal("W2b", "no-op tasks in processes", 20_000, "higher"),
    Goal("W3/a", "one at a time, event loop p50", 20, "lower"),
    Goal("W3/t", "one at a time, thread p50", 100, "lower"),
    Goal("W3/p", "one at a time, process p50", 100, "lower"),
    Goal("W4", "urgent task under load p50", 1.5, "lower"),
    Goal("W4", "urgent task under load p99", 3, "lower"),
    Goal("W4d", "urgent task under load p99", 20, "lower"),
    Goal("W5", "diamonds", 30_000, "higher"),
    Goal("W6/100", "durable tasks", 40_000, "higher"),
    Goal("W6f/100", "durable tasks", 30_000, "higher"),
    Goal("W7", "10 MB to a process and back p50", 6, "lower"),
    Goal("W8", "memory per pending task", 1_000, "lower"),
    Goal("W9", "ideal / actual, tasks of 20 ms on 2 processes", 97.5, "higher"),
    Goal("W10", "endless loop, past its limit until TIMEOUT p50", 10, "lower"),
    Goal("W10", "endless loop, until the next task is done p50", 15, "lower"),
    Goal("W11/growth", "cost per task, most to fewest pending", 1.5, "lower"),
    Goal("W11/drain", "event loop late by, while they drain max", 10, "lower"),
    Goal("W12", "voice turn but for its bodies p50", 1, "lower"),
)
