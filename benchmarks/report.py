"""What a run measured as tables of Markdown, for the terminal and for docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.figures import OURS_ON_UVLOOP, STANDARD_LIBRARY_ON_UVLOOP, Measured, Run
from benchmarks.goals import GOALS, Goal
from benchmarks.systems import OURS, STANDARD_LIBRARY

_BESIDE = "beside another stands how many times as good ours is, so 0.5 is half as good"
_BUSY = "**The machine was busy with other work**: only the ratios say something, and they not much."
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def report(run: Run) -> str:
    """All of it: where and when, the goals, every figure, who was measured, and who was not."""
    parts = [_where(run), _goals(run), _all_figures(run), _who(run)]
    return "\n\n".join(part for part in parts if part)


def write_into(path: Path, run: Run) -> None:
    """Put the report between the two marks of a page; what stands around them stays.

    Raises:
        SystemExit: the page does not have both marks.
    """
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the marks {BEGIN} and {END}, between which the tables go")
    path.write_text(f"{before}{BEGIN}\n\n{report(run)}\n\n{END}{after}", encoding="utf-8")


def _where(run: Run) -> str:
    about = run.about
    load = statistics.median([sample["load"] for sample in run.samples]) if run.samples else 0.0
    packages = ", ".join(f"{item['name']} {item['version']}" for item in run.systems.values() if item["version"])
    rounds = f"{counted(about['rounds'], 'round')} of size {about['size']}"
    return (
        f"{about['date'][:10]}, {about['processor']}, {about['cores']} cores, {about['system']}, "
        f"Python {about['python']}; {rounds} in an order shuffled from seed {about['seed']}, load of the machine "
        f"before each run {load:.1f} (median). Versions: {packages}."
        + (f"\n\n{_BUSY}" if load > about["cores"] else "")
    )


def _goals(run: Run) -> str:
    measured = run.measured()
    reached = [goal for goal in GOALS if OURS in _of(measured, goal).samples]
    if not reached:
        return ""
    heads = ["", "figure", "unit", "goal", "ours", "", "on uvloop", "standard library", "ours beside it",
             "best peer", "ours beside it"]  # fmt: skip
    rows = [_goal_row(goal, _of(measured, goal)) for goal in reached]
    met = sum(goal.met_by(_of(measured, goal).medians[OURS]) for goal in reached)
    notes = [
        f"{met} of {counted(len(reached), 'goal')} {'is' if met == 1 else 'are'} met. Medians of the rounds; {_BESIDE}."
    ]
    if untried := [f"{goal.workload} ({goal.figure})" for goal in GOALS if goal not in reached]:
        notes.append(f"Not measured in this run: {', '.join(untried)}.")
    return "\n\n".join(["## Goals", _table(heads, rows, text=(0, 1, 2, 5, 9)), " ".join(notes)])


_NOTHING = Measured({}, "", "higher")


def _of(measured: dict[tuple[str, str], Measured], goal: Goal) -> Measured:
    return measured.get((goal.workload, goal.figure), _NOTHING)


def _goal_row(goal: Goal, figure: Measured) -> list[str]:
    medians = figure.medians
    ours = medians[OURS]
    sign = "≥" if goal.better == "higher" else "≤"
    peer = figure.best_peer()
    return [
        goal.workload,
        goal.figure,
        figure.unit,
        f"{sign} {number(goal.value)}",
        number(ours),
        "met" if goal.met_by(ours) else f"**missed by {goal.missed_by(ours):.2f}x**",
        _shown(medians.get(OURS_ON_UVLOOP)),
        _shown(medians.get(STANDARD_LIBRARY)),
        _ratio(figure, ours, medians.get(STANDARD_LIBRARY)),
        "" if peer is None else f"{number(peer[1])} ({peer[0]})",
        "" if peer is None else _ratio(figure, ours, peer[1]),
    ]


def _all_figures(run: Run) -> str:
    heads = ["", "figure", "unit", "ours", "ours on uvloop", "standard library", "on uvloop", "peers, the best first"]
    columns = (OURS, OURS_ON_UVLOOP, STANDARD_LIBRARY, STANDARD_LIBRARY_ON_UVLOOP)
    rows = []
    for (workload, name), figure in run.measured().items():
        medians = figure.medians
        own = [_shown(medians.pop(column, None)) for column in columns]
        peers = sorted(medians.items(), key=lambda peer: peer[1], reverse=figure.better == "higher")
        told = ", ".join(f"{peer} {number(value)}" for peer, value in peers)
        rows.append([workload, name, f"{figure.unit}, {figure.better} is better", *own, told])
    return "\n\n".join(["## All figures", _table(heads, rows, text=(0, 1, 2, 7))])


def _who(run: Run) -> str:
    lines = [f"- {item['name']}: {item['about']}" for item in run.systems.values() if item["about"]]
    lines += [f"- not measured: {name} ({why})" for name, why in run.left_out.items()]
    return "\n".join(["## Who was measured", "", *lines]) if lines else ""


def counted(count: int, what: str) -> str:
    """A number of things, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def number(value: float) -> str:
    """Three digits at least, and no more than make sense."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def _shown(value: float | None) -> str:
    return "" if value is None else number(value)


def _ratio(figure: Measured, value: float, other: float | None) -> str:
    times = None if other is None else figure.times_as_good(value, other)
    return "" if times is None else f"{times:.2f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[int]) -> str:
    rule = ["---" if number in text else "---:" for number in range(len(heads))]
    return "\n".join(_lines([heads, rule, *rows]))


def _lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(row)} |"
