"""Runs workloads, each in a fresh process, systems in turn and in shuffled order, and prints medians and ratios.

    python -m benchmarks [--only W1 W4] [--rounds 5] [--seed 1] [--json FILE]

Compare ratios, not absolute figures: machines differ, and a shared one differs from minute to minute.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import platform
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SYSTEMS = {"ours": "benchmarks.ours", "stdlib": "benchmarks.standard_library"}
RUN_TIMEOUT_S = 300


def main() -> None:
    """Measure and print, or, with ``--single``, run one workload here and print its figures as JSON."""
    options = _options()
    if options.single:
        system, workload = options.single
        module = importlib.import_module(SYSTEMS[system])
        print(json.dumps([asdict(figure) for figure in asyncio.run(module.WORKLOADS[workload]())]))
        return
    samples = _measure(options)
    _print_table(samples)
    if options.json:
        Path(options.json).write_text(json.dumps({"about": _about(options), "samples": samples}, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", default=None, metavar="W", help="workloads to run")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each workload and system")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are taken")
    parser.add_argument("--json", metavar="FILE", help="where to write every sample")
    parser.add_argument("--single", nargs=2, metavar=("SYSTEM", "W"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    workloads = list(importlib.import_module(SYSTEMS["ours"]).WORKLOADS)
    runs = [
        (number, system, workload)
        for number in range(options.rounds)
        for workload in workloads
        if options.only is None or workload in options.only
        for system in SYSTEMS
    ]
    random.Random(options.seed).shuffle(runs)
    samples = []
    for done, (_, system, workload) in enumerate(runs, 1):
        print(f"\r{done}/{len(runs)} {workload} {system}      ", end="", file=sys.stderr, flush=True)
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--single", system, workload],
            capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
        )  # fmt: skip
        if answer.returncode:
            sys.exit(f"\n{workload} {system} failed:\n{answer.stderr[-2000:]}")
        samples += [{"workload": workload, "system": system, **figure} for figure in json.loads(answer.stdout)]
    print(file=sys.stderr)
    return samples


def _print_table(samples: list[dict[str, Any]]) -> None:
    grouped: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    units = {}
    for sample in samples:
        key = sample["workload"], sample["name"]
        grouped[key][sample["system"]].append(sample["value"])
        units[key] = sample["unit"], sample["better"]
    print("| workload | figure | unit | ours | standard library | ratio |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for key in sorted(grouped, key=lambda item: (int("".join(filter(str.isdigit, item[0]))), item)):
        ours, theirs = (statistics.median(grouped[key][system]) for system in SYSTEMS)
        unit, better = units[key]
        print(
            f"| {key[0]} | {key[1]} | {unit}, {better} is better | {ours:,.1f} | {theirs:,.1f} | {ours / theirs:.2f} |"
        )


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
