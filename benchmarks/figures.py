"""What a run measured: every sample, what of, where and when; read from and written to JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.systems import OURS, STANDARD_LIBRARY, UVLOOP
from benchmarks.workloads import WORKLOADS

OURS_ON_UVLOOP = f"{OURS} on {UVLOOP}"
STANDARD_LIBRARY_ON_UVLOOP = f"{STANDARD_LIBRARY} on {UVLOOP}"
Key = tuple[str, str]
"""A workload, and a figure of it."""


@dataclass(frozen=True)
class Measured:
    """One figure: the samples of every system, its unit, and which way is better."""

    samples: dict[str, list[float]]
    unit: str
    better: str

    @property
    def medians(self) -> dict[str, float]:
        return {system: statistics.median(values) for system, values in self.samples.items()}

    def best_peer(self) -> tuple[str, float] | None:
        """Its name and median; None if no peer was measured."""
        own = (OURS, STANDARD_LIBRARY, OURS_ON_UVLOOP, STANDARD_LIBRARY_ON_UVLOOP)
        peers = [(name, value) for name, value in self.medians.items() if name not in own]
        if not peers:
            return None
        return (max if self.better == "higher" else min)(peers, key=lambda peer: peer[1])

    def times_as_good(self, value: float, other: float) -> float | None:
        """How many times better the one is than the other; None where that says nothing."""
        above, below = (value, other) if self.better == "higher" else (other, value)
        return above / below if above > 0 and below > 0 else None


@dataclass(frozen=True)
class Run:
    """All that was measured in one run.

    Attributes:
        about: when, where, with what.
        samples: one for each figure and round, as in the JSON.
        systems: by name: ``name``, ``version``, ``about``.
        left_out: systems that could not be measured, and why; workloads that failed.
    """

    about: dict[str, Any]
    samples: list[dict[str, Any]]
    systems: dict[str, dict[str, str]]
    left_out: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Run:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1) + "\n", encoding="utf-8")

    def measured(self) -> dict[Key, Measured]:
        """By workload and figure, in the order of the workloads."""
        found: dict[Key, Measured] = {}
        grouped: defaultdict[Key, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for sample in sorted(self.samples, key=lambda sample: list(WORKLOADS).index(sample["workload"])):
            key = sample["workload"], sample["name"]
            grouped[key][sample["system"]].append(sample["value"])
            found[key] = Measured(grouped[key], sample["unit"], sample["better"])
        return found


def about_here(**settings: Any) -> dict[str, Any]:
    """When and where this is, and how it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **settings,
    }


def _processor() -> str:
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
