"""Runs workloads, each in a fresh process, systems in turn and in shuffled order, and prints goals, medians and ratios.

    python -m benchmarks [--quick] [--only W1 W6 W6f/100] [--systems ours stdlib huey] [--json FILE] [--markdown PAGE]
    python -m benchmarks report FILE [--markdown PAGE]      what a run measured, once more
    python -m benchmarks compare BEFORE AFTER               what differs by more than the rounds do

Beside ours and the standard library stand the peers that are installed (``make bench`` installs them all), each in the
workloads that it is made for. Compare ratios, not absolute figures: machines differ, and a shared one differs from
minute to minute.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.compare import differences
from benchmarks.figures import Run, about_here
from benchmarks.report import counted, report, write_into
from benchmarks.sizes import SIZES
from benchmarks.systems import (
    MODULES,
    OURS,
    QUICK,
    STANDARD_LIBRARY,
    UVLOOP,
    Installed,
    MissingError,
    load,
    measure_here,
)

RUN_TIMEOUT_S = 900
END_S = 20
ASYNCIO, BOTH = "asyncio", "both"


def main() -> None:
    """Do what the command line says."""
    options = _options()
    if options.command == "report":
        _show(Run.read(options.file), options.markdown)
    elif options.command == "compare":
        _compare(Run.read(options.before), Run.read(options.after))
    elif options.single:
        system, *workloads = options.single
        print(measure_here(system, workloads, options.loop, SIZES[options.size]))
    else:
        _measure_all(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    page = argparse.ArgumentParser(add_help=False)
    page.add_argument("--markdown", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    commands = parser.add_subparsers(dest="command")
    again = commands.add_parser("report", parents=[page], help="show what a run measured")
    again.add_argument("file", type=Path)
    two = commands.add_parser("compare", help="say what differs between two runs by more than their rounds do")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    _add_run_options(parser)
    options = parser.parse_args()
    if options.command is None:
        _settle(options)
    return options


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    parser.add_argument("--quick", action="store_true", help="a look of under three minutes: less of everything")
    parser.add_argument("--only", nargs="+", metavar="W", help="workloads to run; W6 is all W6/...")
    parser.add_argument("--systems", nargs="+", choices=MODULES, help="whom to measure")
    parser.add_argument("--rounds", type=int, help="measurements of each workload and system; 5, and 2 if quick")
    parser.add_argument("--size", choices=SIZES, help="how much of each workload; full unless quick")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are taken")
    parser.add_argument("--loop", choices=[ASYNCIO, UVLOOP, BOTH], help="for ours and the standard library; both, and "
                        "asyncio if quick")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every sample")
    parser.add_argument("--single", nargs="+", metavar="NAME", help=argparse.SUPPRESS)


def _settle(options: argparse.Namespace) -> None:
    """What is not said, and what --quick means."""
    usual = (2, "quick", ASYNCIO, QUICK) if options.quick else (5, "full", BOTH, MODULES)
    rounds, size, loop, systems = usual
    options.rounds = rounds if options.rounds is None else options.rounds
    options.size = options.size or size
    options.loop = options.loop or loop
    options.systems = list(options.systems or systems)


# ---- measuring


def _measure_all(options: argparse.Namespace) -> None:
    # As Ctrl-C does: what runs is ended first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    left_out: dict[str, str] = {}
    systems = _installed(options.systems, left_out)
    runs = [planned for _ in range(options.rounds) for planned in _planned(options, systems, left_out)]
    random.Random(options.seed).shuffle(runs)
    samples: list[dict[str, Any]] = []
    failed = 0
    for done, (system, loop, workload) in enumerate(runs, 1):
        shown = system if loop == ASYNCIO else f"{system} on {loop}"
        print(f"\r{done}/{len(runs)} {workload} {shown}\033[K", end="", file=sys.stderr, flush=True)
        load_before = os.getloadavg()[0]
        try:
            figures = _in_fresh_process(system, workload, loop, options.size)
        except RuntimeError as error:
            failed += 1
            left_out[f"{workload} on {shown}"] = str(error).splitlines()[-1]
            print(f"\n{workload} on {shown} failed: {error}", file=sys.stderr)
            continue
        samples += [{"system": shown, "load": load_before, **figure} for figure in figures]
    print(file=sys.stderr)
    about = about_here(rounds=options.rounds, seed=options.seed, size=options.size)
    run = Run(about, samples, {system.name: system.about() for system in systems}, left_out)
    if options.json:
        run.write(options.json)
    _show(run, options.markdown)
    if failed:
        sys.exit(f"{failed} of {len(runs)} runs failed, see above")


def _installed(names: list[str], left_out: dict[str, str]) -> list[Installed]:
    found = []
    for name in names:
        try:
            found.append(load(name))
        except MissingError as error:
            left_out[name] = str(error)
            print(f"without {name}: {error}", file=sys.stderr)
    return found


def _planned(
    options: argparse.Namespace, systems: list[Installed], left_out: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    loops = [ASYNCIO, UVLOOP] if options.loop == BOTH else [options.loop]
    if UVLOOP in loops and importlib.util.find_spec(UVLOOP) is None:
        left_out[UVLOOP] = "not installed; `make bench` installs it"
        loops.remove(UVLOOP)
    for system in systems:
        for workload in system.workloads:
            if options.only is None or {workload, workload.split("/")[0]} & set(options.only):
                for loop in loops if system.name in (OURS, STANDARD_LIBRARY) else [ASYNCIO]:
                    yield system.name, loop, workload


def _in_fresh_process(system: str, workload: str, loop: str, size: str) -> list[dict[str, Any]]:
    """The figures.

    Raises:
        RuntimeError: there are none; the last line says why.
    """
    command = [sys.executable, "-m", "benchmarks", "--single", system, workload, "--loop", loop, "--size", size]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, errors = child.communicate(timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took more than {RUN_TIMEOUT_S} s") from None
    finally:
        _end(child)
    if child.returncode:
        raise RuntimeError(errors.strip()[-2000:] or f"it ended with {child.returncode}")
    # The figures are the last line: some libraries greet on the way.
    figures: list[dict[str, Any]] = json.loads(output.splitlines()[-1])
    return figures


def _end(child: subprocess.Popen[str]) -> None:
    """Leave nothing of it, nor of its workers; servers that left its group are stopped by its own end in order."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


# ---- telling


def _show(run: Run, page: Path | None) -> None:
    print(report(run))
    if page is not None:
        write_into(page, run)


def _compare(before: Run, after: Run) -> None:
    found = list(differences(before, after))
    for difference in found:
        print(difference)
    print(f"{counted(len(found), 'figure')} of a difference beyond that of the rounds among themselves")


if __name__ == "__main__":
    main()
