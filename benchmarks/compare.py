"""Which figures of two runs differ by more than their rounds do among themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Run
from benchmarks.report import number

ROUNDS = 3
"""So few samples at least, on both sides, before a difference counts: two rounds fall apart by chance too often."""


@dataclass(frozen=True)
class Difference:
    """A figure of a system whose samples lie all on one side of those of the other run."""

    workload: str
    figure: str
    unit: str
    system: str
    before: float
    after: float
    improved: bool

    def __str__(self) -> str:
        change = f"{100 * (self.after / self.before - 1):+.0f} %" if self.before else ""
        return (
            f"{'better' if self.improved else 'WORSE'}  {self.workload} {self.figure}, {self.system}: "
            f"{number(self.before)} -> {number(self.after)} {self.unit} {change}"
        )


def differences(before: Run, after: Run) -> Iterator[Difference]:
    """Those of which no sample of the one run lies within the range of the other's; of fewer than three rounds none."""
    later = after.measured()
    for key, figure in before.measured().items():
        if key not in later:
            continue
        for system, old in figure.samples.items():
            new = later[key].samples.get(system, [])
            if min(len(old), len(new)) < ROUNDS or (max(old) >= min(new) and max(new) >= min(old)):
                continue
            was, now = figure.medians[system], later[key].medians[system]
            yield Difference(*key, figure.unit, system, was, now, (now > was) == (figure.better == "higher"))
