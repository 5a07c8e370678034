"""Runs workloads, each in a fresh process, systems in turn and in shuffled order, and prints medians and ratios.

    python -m benchmarks [--only W1 W6 W6f/100] [--systems ours stdlib huey] [--rounds 5] [--seed 1] [--json FILE]

Beside ours and the standard library stand the peers that are installed (``make bench`` installs them all), each in the
workloads that it is made for. Compare ratios, not absolute figures: machines differ, and a shared one differs from
minute to minute.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

OURS, STANDARD_LIBRARY = "ours", "stdlib"
SYSTEMS = {
    OURS: "benchmarks.ours",
    STANDARD_LIBRARY: "benchmarks.standard_library",
    "aiojobs": "benchmarks.peers.aiojobs_scheduler",
    "dbos": "benchmarks.peers.dbos_sqlite",
    "huey": "benchmarks.peers.huey_sqlite",
    "pebble": "benchmarks.peers.pebble_pool",
    "persist-queue": "benchmarks.peers.persist_queue",
    "saq": "benchmarks.peers.saq_valkey",
}
RUN_TIMEOUT_S = 300
Medians = dict[str, float]
"""Of one figure, by system."""


def main() -> None:
    """Measure and print, or, with ``--single``, run one workload here and print its figures as JSON."""
    options = _options()
    if options.single:
        system, workload = options.single
        module = importlib.import_module(SYSTEMS[system])
        print(json.dumps([asdict(figure) for figure in asyncio.run(module.WORKLOADS[workload]())]))
        return
    systems = _installed(options.systems)
    samples = _measure(options, systems)
    _print_table(samples, systems)
    _print_promises(samples, systems)
    if options.json:
        Path(options.json).write_text(json.dumps({"about": _about(options), "samples": samples}, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", default=None, metavar="W", help="workloads to run; W6 is all W6/...")
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=SYSTEMS, help="whom to measure")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each workload and system")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are taken")
    parser.add_argument("--json", metavar="FILE", help="where to write every sample")
    parser.add_argument("--single", nargs=2, metavar=("SYSTEM", "W"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _installed(names: list[str]) -> dict[str, ModuleType]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.import_module(SYSTEMS[name])
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}; `make bench` installs it", file=sys.stderr)
    return found


def _measure(options: argparse.Namespace, systems: dict[str, ModuleType]) -> list[dict[str, Any]]:
    runs = [
        (system, workload)
        for _ in range(options.rounds)
        for system, module in systems.items()
        for workload in module.WORKLOADS
        if options.only is None or {workload, workload.split("/")[0]} & set(options.only)
    ]
    random.Random(options.seed).shuffle(runs)
    samples = []
    for done, (system, workload) in enumerate(runs, 1):
        print(f"\r{done}/{len(runs)} {workload} {system}      ", end="", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--single", system, workload],
            capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
        )  # fmt: skip
        if answer.returncode:
            sys.exit(f"\n{workload} {system} failed:\n{answer.stderr[-2000:]}")
        # The figures are the last line: some libraries greet on the way.
        figures = json.loads(answer.stdout.splitlines()[-1])
        samples += [{"workload": workload, "system": system, "load": load, **figure} for figure in figures]
    print(file=sys.stderr)
    return samples


def _print_table(samples: list[dict[str, Any]], systems: dict[str, ModuleType]) -> None:
    grouped: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    about = {}
    for sample in samples:
        key = sample["workload"], sample["name"]
        grouped[key][sample["system"]].append(sample["value"])
        about[key] = sample["unit"], sample["better"]
    measured = [system for system in systems if any(system in values for values in grouped.values())]
    heads = ["workload", "figure", "unit", *(systems[system].NAME for system in measured)]
    print(_row([*heads, "ours / standard library", "ours / best peer"]))
    print(_row([*["---"] * 3, *["---:"] * (len(measured) + 2)]))
    for key in sorted(grouped, key=_in_order):
        unit, better = about[key]
        medians = {system: statistics.median(values) for system, values in grouped[key].items()}
        shown = (f"{medians[system]:,.1f}" if system in medians else "" for system in measured)
        print(_row([*key, f"{unit}, {better} is better", *shown, *_ratios(medians, better)]))


def _ratios(medians: Medians, better: str) -> list[str]:
    peers = [value for system, value in medians.items() if system not in (OURS, STANDARD_LIBRARY)]
    best = (max(peers) if better == "higher" else min(peers)) if peers else None
    others = (medians.get(STANDARD_LIBRARY), best)
    return [f"{medians[OURS] / other:.2f}" if other and OURS in medians else "" for other in others]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_order(key: tuple[str, str]) -> tuple[list[int], tuple[str, str]]:
    """W2 before W10, and W6/1 before W6/100, but W6f after both."""
    workload, _, part = key[0].partition("/")
    return [int("".join(re.findall(r"\d", workload))), workload.count("f"), int(part or 0)], key


def _print_promises(samples: list[dict[str, Any]], systems: dict[str, ModuleType]) -> None:
    measured = {sample["system"] for sample in samples}
    print()
    for system, module in systems.items():
        if system in measured and hasattr(module, "ABOUT"):
            print(f"- {module.NAME}: {module.ABOUT}")


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "rounds": options.rounds,
        "seed": options.seed,
    }


if __name__ == "__main__":
    main()
