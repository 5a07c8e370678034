"""The benchmarks themselves: they run, their goals and tables are right, and they refuse figures of wrong results."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import main
from benchmarks.compare import differences
from benchmarks.figures import Run
from benchmarks.goals import GOALS, Goal
from benchmarks.report import BEGIN, END, number, report, write_into
from benchmarks.sizes import FULL, QUICK, TINY
from benchmarks.systems import MODULES, OURS, STANDARD_LIBRARY, MissingError, load
from benchmarks.workloads import WORKLOADS
from tests.source_code import ROOT

# Some ten seconds of work, wherever that is done beside other things.
pytestmark = pytest.mark.timeout(360)

ABOUT = {
    "date": "2026-01-31T10:00:00+00:00", "processor": "Fast CPU", "cores": 2, "system": "Linux 6", "python": "3.11.7",
    "rounds": 3, "seed": 1, "size": "full",
}  # fmt: skip


def sample(workload: str, name: str, system: str, value: float, **other: Any) -> dict[str, Any]:
    return {
        "workload": workload, "name": name, "system": system, "value": value, "unit": "tasks/s", "better": "higher",
        "load": 0.5, **other,
    }  # fmt: skip


def run_of(*samples: dict[str, Any], **left_out: str) -> Run:
    systems = {OURS: {"name": "async_processor", "version": "1.2", "about": ""}}
    return Run(ABOUT, list(samples), systems, left_out)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


# ---- that they run


@pytest.fixture(scope="module")
def tiny() -> dict[str, list[dict[str, Any]]]:
    """All workloads of ours and of the standard library, next to nothing of each."""
    figures = {}
    for system in (OURS, STANDARD_LIBRARY):
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--single", system, *load(system).workloads, "--size", "tiny"],
            cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        figures[system] = json.loads(ran.stdout.splitlines()[-1])
    return figures


def test_every_workload_runs_on_ours_and_gives_figures(tiny: dict[str, list[dict[str, Any]]]):
    assert {figure["workload"] for figure in tiny[OURS]} == WORKLOADS.keys()
    # Memory shrinks where other workloads ran before, as only here.
    assert [figure for figure in tiny[OURS] if not figure["value"] >= 0 and figure["workload"] != "W8"] == []


def test_the_standard_library_gives_the_same_figures_but_for_what_it_cannot_do(tiny: dict[str, list[dict[str, Any]]]):
    def named(system: str) -> set[tuple[str, str, str]]:
        return {(figure["workload"], figure["name"], figure["unit"]) for figure in tiny[system]}

    assert {workload for workload, _, _ in named(OURS) - named(STANDARD_LIBRARY)} == {"W4d"}
    assert named(STANDARD_LIBRARY) - named(OURS) == set()


def test_every_goal_is_of_a_figure_that_is_measured(tiny: dict[str, list[dict[str, Any]]]):
    measured = {(figure["workload"], figure["name"], figure["better"]) for figure in tiny[OURS]}

    assert {(goal.workload, goal.figure, goal.better) for goal in GOALS} - measured == set()


def test_every_system_is_one_module_and_names_only_workloads_that_exist():
    """Those that are not installed cannot be imported; that their modules exist can be seen."""
    found = {name: importlib.util.find_spec(module) for name, module in MODULES.items()}

    assert [name for name, spec in found.items() if spec is None] == []
    peers = {path.stem for path in (ROOT / "benchmarks" / "peers").glob("*.py")} - {"__init__"}
    assert {module.rpartition(".")[2] for module in MODULES.values()} - {"ours", "standard_library"} == peers
    for name in (OURS, STANDARD_LIBRARY):
        assert load(name).module.ADAPTERS.keys() <= WORKLOADS.keys()


def test_a_quick_run_is_less_of_everything():
    for field in fields(FULL):
        tiny, quick, full = (getattr(sizes, field.name) for sizes in (TINY, QUICK, FULL))
        if isinstance(full, tuple):
            tiny, quick, full = tiny[-1], quick[-1], full[-1]
        assert tiny <= quick < full


def test_a_wrong_result_gives_no_figure():
    program = (
        "import benchmarks.functions as f, benchmarks.standard_library\n"
        "async def wrong(number): return number\n"
        "f.COROUTINES['successor'] = wrong\n"
        "from benchmarks.sizes import TINY\n"
        "from benchmarks.systems import measure_here\n"
        "print(measure_here('stdlib', ['W5'], 'asyncio', TINY))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.strip() == "wrong result: the join saw both results"


def test_a_run_in_fresh_processes_writes_its_samples_and_its_page(tmp_path: Path):
    page, samples = tmp_path / "page.md", tmp_path / "out" / "samples.json"
    page.write_text(f"by hand\n{BEGIN}\nold\n{END}\nby hand, too\n", encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--systems", "stdlib", "--only", "W1", "--size", "tiny", "--rounds", "2",
         "--loop", "asyncio", "--json", samples, "--markdown", page],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    run = Run.read(samples)
    assert [(item["workload"], item["system"], item["value"] > 0) for item in run.samples] == [
        ("W1", "stdlib", True)
    ] * 2
    text = page.read_text(encoding="utf-8")
    assert text.startswith("by hand\n")
    assert text.endswith(f"{END}\nby hand, too\n")
    assert report(run) in text
    assert "old" not in text


# ---- that the tables are right


def test_the_table_of_goals_has_medians_ratios_and_the_best_peer():
    figure = ("W1", "no-op tasks")
    run = run_of(
        *(sample(*figure, OURS, value) for value in (90_000, 75_000, 10_000)),
        sample(*figure, "ours on uvloop", 100_000),
        sample(*figure, STANDARD_LIBRARY, 300_000),
        sample(*figure, "aiojobs", 50_000),
        sample(*figure, "taskiq", 25_000),
    )

    row = next(row for row in rows(report(run)) if row[0] == "W1")

    assert row == [
        "W1", "no-op tasks", "tasks/s", "≥ 150,000", "75,000", "**missed by 2.00x**", "100,000", "300,000", "0.25",
        "50,000 (aiojobs)", "1.50",
    ]  # fmt: skip


@pytest.mark.parametrize(("load", "busy"), [(2.0, False), (2.1, True)])
def test_a_busy_machine_is_told_of(load: float, busy: bool):
    text = report(run_of(sample("W1", "no-op tasks", OURS, 1.0, load=load)))

    assert ("**The machine was busy with other work**" in text) == busy


def test_where_lower_is_better_the_ratio_and_the_best_are_turned_round():
    figure, lower = ("W12", "voice turn but for its bodies p50"), {"better": "lower", "unit": "ms"}
    run = run_of(
        sample(*figure, OURS, 0.5, **lower),
        sample(*figure, "ray", 4.0, **lower),
        sample(*figure, "dask", 10.0, **lower),
    )

    row = next(row for row in rows(report(run)) if row[0] == "W12")

    assert row[3:6] == ["≤ 1.00", "0.50", "met"]
    assert row[-2:] == ["4.00 (ray)", "8.00"]


def test_what_was_not_measured_is_named_with_the_reason():
    text = report(run_of(sample("W2", "no-op tasks in threads", OURS, 40_000.0), celery="no server"))

    assert "not measured: celery (no server)" in text
    assert "1 of 1 goal is met" in text
    assert "Not measured in this run: W1 (no-op tasks)" in text


@pytest.mark.parametrize(
    ("better", "value", "met", "missed_by"),
    [("higher", 100, True, 1.0), ("higher", 50, False, 2.0), ("lower", 100, True, 1.0), ("lower", 150, False, 1.5)],
)
def test_a_goal_knows_by_how_much_it_is_missed(better: Any, value: float, met: bool, missed_by: float):
    goal = Goal("W1", "figure", 100, better)

    assert (goal.met_by(value), goal.missed_by(value)) == (met, missed_by)


def test_workloads_stand_in_the_order_of_the_list_and_not_of_the_alphabet():
    names = ["W10", "W2", "W6f/1", "W6/100", "W11/growth"]
    run = run_of(*(sample(name, "figure", OURS, 1.0) for name in names))

    assert [row[0] for row in rows(report(run)) if row[0] in names] == ["W2", "W6/100", "W6f/1", "W10", "W11/growth"]


@pytest.mark.parametrize(
    ("value", "shown"), [(1234567.8, "1,234,568"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012")]
)
def test_numbers_have_the_digits_that_make_sense(value: float, shown: str):
    assert number(value) == shown


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("by hand\n", encoding="utf-8")

    with pytest.raises(SystemExit, match="lacks the marks"):
        write_into(page, run_of())

    assert page.read_text(encoding="utf-8") == "by hand\n"


# ---- two runs beside each other


def compared(before: list[float], after: list[float], better: str = "higher") -> list[str]:
    runs = [run_of(*(sample("W1", "f", OURS, value, better=better) for value in side)) for side in (before, after)]
    return [str(found).split()[0] for found in differences(*runs)]


@pytest.mark.parametrize(
    ("before", "after", "better", "told"),
    [
        ([10, 11, 12], [13, 14, 15], "higher", ["better"]),
        ([10, 11, 12], [7, 8, 9], "higher", ["WORSE"]),
        ([10, 11, 12], [13, 14, 15], "lower", ["WORSE"]),
        ([10, 11, 12], [12, 13, 14], "higher", []),
        ([10, 11], [13, 14], "higher", []),
    ],
    ids=["better", "worse", "more where less is wanted", "the rounds overlap", "too few rounds"],
)
def test_only_what_lies_beyond_the_rounds_differs(
    before: list[float], after: list[float], better: str, told: list[str]
):
    assert compared(before, after, better) == told


def test_compare_reads_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name, value in (("before", 10.0), ("after", 20.0)):
        run_of(*[sample("W1", "f", OURS, value)] * 3).write(tmp_path / name)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "compare", str(tmp_path / "before"), str(tmp_path / "after")])

    main()

    assert capsys.readouterr().out.splitlines() == [
        "better  W1 f, ours: 10.0 -> 20.0 tasks/s +100 %",
        "1 figure of a difference beyond that of the rounds among themselves",
    ]


# ---- what goes wrong


def test_a_system_that_is_not_installed_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODULES, "ghost", "benchmarks.peers.ghost")

    with pytest.raises(MissingError, match=r"No module named 'benchmarks.peers.ghost'; `make bench` installs it"):
        load("ghost")


def test_a_run_that_fails_is_named_costs_no_other_figures_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    broken = tmp_path / "sitecustomize.py"
    broken.write_text("import benchmarks.functions as f\nf.PLAIN['noop'] = lambda *_: 1\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    # Only what runs in threads gets the wrong body.
    options = ["--systems", "stdlib", "--only", "W1", "W2", "--size", "tiny", "--rounds", "1", "--loop", "asyncio"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    before = signal.getsignal(signal.SIGTERM)

    try:
        with pytest.raises(SystemExit, match="1 of 2 runs failed"):
            main()
    finally:
        signal.signal(signal.SIGTERM, before)

    told = capsys.readouterr().out
    assert "- not measured: W2 on stdlib (wrong result: every task gave its result)" in told
    assert [row[0] for row in rows(told) if row[0] in ("W1", "W2")] == ["W1"]
