"""The page of this part is true: it lists every key and every hook, and none that is not there."""

import re

from tests.markdown import Page
from tests.source_code import ROOT

from async_processor.figures import EngineState
from async_processor.monitoring import observer
from async_processor.monitoring.hub import HOOKS
from async_processor.monitoring.performance import PerformanceMonitor

PAGE = Page(ROOT / "docs/monitoring.md")


def names(cell):
    return re.findall(r"`(\w+)", cell)


def rows_under(heading):
    """The table rows between a heading and the next."""
    text = PAGE.text.split(f"## {heading}\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_every_key_of_the_metrics():
    listed = [name for row in rows_under("Figures") for name in names(row[0])]
    metrics = PerformanceMonitor(profiling=True).snapshot(EngineState(running=True, at=0.0))

    assert sorted(listed) == sorted(metrics)


def test_the_page_lists_every_hook_and_the_fields_of_its_event():
    listed = {names(row[0])[0]: names(row[2]) if len(row) > 2 else [] for row in rows_under("Observers")}
    events = {
        "task_submitted": observer.TaskSubmitted,
        "attempt_started": observer.AttemptStarted,
        "attempt_ended": observer.AttemptEnded,
        "task_retried": observer.TaskRetried,
        "task_progress": observer.TaskProgress,
        "task_finished": observer.TaskFinished,
    }

    assert listed == {name: list(events[name]._fields) if name in events else [] for name in HOOKS}
