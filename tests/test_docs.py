"""The documentation is true: its programs run, its tables agree with the code, its links lead somewhere."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from tests.markdown import Page, load_pages
from tests.source_code import ROOT, load_modules

import async_processor
from async_processor import config, errors
from async_processor.scheduling.lifecycle import mermaid

PAGES = load_pages()

# The page of each public module. The rest is internal, and docs/architecture.md says what it is for.
MODULE_PAGES = {
    "": "docs/modules/async_processor.md",
    "cli": "docs/modules/cli.md",
    "config": "docs/configuration.md",
    "context": "docs/modules/context.md",
    "errors": "docs/errors.md",
    "execution": "docs/modules/execution.md",
    "model": "docs/modules/model.md",
    "monitoring": "docs/monitoring.md",
    "processor": "docs/modules/processor.md",
    "processors": "docs/modules/processors.md",
    "results": "docs/modules/results.md",
    "server": "docs/server.md",
    "task_manager": "docs/modules/task_manager.md",
    "testing": "docs/modules/testing.md",
}


def page(name: str) -> Page:
    return Page(ROOT / name)


def programs() -> list[pytest.param]:
    """Python blocks that are followed by the output they claim to have."""
    return [
        pytest.param(program.text, output.text, id=f"{item.name}:{program.line}")
        for item in PAGES
        for program, output in pairwise(item.blocks())
        if (program.language, output.language) == ("python", "text")
    ]


@pytest.mark.parametrize(("program", "output"), programs())
def test_a_program_shown_with_its_output_gives_that_output(program: str, output: str, tmp_path: Path):
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")

    ran = subprocess.run([sys.executable, path], check=False, capture_output=True, text=True, timeout=50, cwd=tmp_path)

    assert (ran.stdout, ran.stderr, ran.returncode) == (output, "", 0)


def test_the_front_page_shows_a_program_with_its_output():
    assert "README.md" in {item.id.split(":")[0] for item in programs()}


@pytest.mark.parametrize("item", PAGES, ids=lambda item: item.name)
def test_all_python_shown_can_be_compiled(item: Page):
    for block in item.blocks():
        if block.language == "python":
            compile(block.text, f"{item.name}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("item", PAGES, ids=lambda item: item.name)
def test_links_between_pages_lead_somewhere(item: Page):
    broken = []
    for link in item.links():
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (item.path.parent / name).resolve() if name else item.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors()):
            broken.append(link)

    assert broken == []


def test_every_page_can_be_reached_from_the_front_page():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path.suffix == ".md" and path not in reached:
            reached.add(path)
            names = (link.partition("#")[0] for link in Page(path).links() if "://" not in link)
            waiting += [(path.parent / name).resolve() for name in names if name]

    assert [item.name for item in PAGES if item.path not in reached] == []


def test_every_public_module_has_its_page_and_every_other_its_line_in_the_architecture():
    tops = {name.partition(".")[0] for name in load_modules()}
    architecture = page("docs/architecture.md").text

    assert [name for name in MODULE_PAGES.values() if not (ROOT / name).exists()] == []
    assert [name for name in MODULE_PAGES if name not in tops] == []
    assert [name for name in tops - MODULE_PAGES.keys() if f"`{name}`" not in architecture.replace("/`", "`")] == []


def test_pages_that_the_source_names_exist():
    named = {
        (module.name, found)
        for module in load_modules().values()
        for found in re.findall(r"docs/[\w/-]+\.md", module.text)
    }

    assert sorted(item for item in named if not (ROOT / item[1]).exists()) == []


# What the teddy bear guide names: the contract of the public face.
GUIDE_NAMES = {
    "functions": ["create_processor", "create_task"],
    "of the processor": [
        "_running", "cancel_task", "get_performance_metrics", "get_task_result", "get_task_status",
        "register_processor", "shutdown", "start", "submit_task", "task_manager", "wait_for_task",
    ],
    "arguments": [
        "enable_monitoring", "enable_profiling", "max_process_workers", "max_thread_workers", "max_workers",
        "queue_size",
    ],
    "of a task": [
        "cpu_intensive", "depends_on", "id", "io_bound", "max_retries", "memory_intensive", "payload", "priority",
        "tags", "task_type", "timeout", "to_dict",
    ],
    "of a result": ["completed_at", "created_at", "error", "execution_time", "result", "status", "task_id"],
    "metrics": [
        "average_execution_time", "current_throughput", "peak_memory_usage_mb", "queue_size", "running_tasks",
        "success_rate", "tasks_processed", "total_execution_time", "uptime_seconds", "worker_stats",
    ],
    "types": [
        "AdvancedAsyncProcessor", "PerformanceMonitor", "ProcessingTask", "ProcessingType", "TaskManager",
        "TaskPriority", "TaskResult", "TaskStatus",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", GUIDE_NAMES)
def test_the_page_on_the_guide_covers_every_name_of_the_guide(kind: str):
    text = page("docs/guide-to-api.md").text

    assert [name for name in GUIDE_NAMES[kind] if not re.search(rf"`[^`]*\b{name}\b[^`]*`", text)] == []


async def test_every_name_of_the_guide_is_there():
    processor = async_processor.AdvancedAsyncProcessor(**dict.fromkeys(GUIDE_NAMES["arguments"], 1))
    result = async_processor.TaskResult(task_id="t", status=async_processor.TaskStatus.COMPLETED)
    metrics = await processor.get_performance_metrics()

    missing = [name for name in GUIDE_NAMES["functions"] + GUIDE_NAMES["types"] if not hasattr(async_processor, name)]
    missing += [name for name in GUIDE_NAMES["of the processor"] if not hasattr(processor, name)]
    missing += [name for name in GUIDE_NAMES["of a task"] if not hasattr(async_processor.create_task("custom"), name)]
    missing += [name for name in GUIDE_NAMES["of a result"] if not hasattr(result, name)]
    missing += sorted({*GUIDE_NAMES["metrics"]} - metrics.keys() - {"total_execution_time"})
    assert missing == []


def test_every_public_name_is_on_the_package_page():
    text = page(MODULE_PAGES[""]).text

    assert [name for name in async_processor.__all__ if f"`{name}" not in text] == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (async_processor.AdvancedAsyncProcessor, "docs/modules/processor.md"),
        (async_processor.TaskManager, "docs/modules/task_manager.md"),
        (async_processor.TaskContext, "docs/modules/context.md"),
        (async_processor.DependencyResults, "docs/modules/context.md"),
        (async_processor.ProcessingTask, "docs/modules/model.md"),
        (async_processor.TaskResult, "docs/modules/model.md"),
    ],
)
def test_the_page_of_a_class_has_all_its_public_members(owner: type, name: str):
    text = page(name).text
    kinds = [kind for kind in owner.__mro__ if kind.__module__.startswith("async_processor")]
    members = {member for kind in kinds for member in vars(kind)}

    missing = [member for member in members if not member.startswith("_") and not re.search(rf"\b{member}\b", text)]
    assert sorted(missing) == []


def test_the_pages_of_errors_and_code_name_the_same_errors_in_the_same_order():
    listed = [(row[0].strip("`"), row[1].strip("`")) for row in page("docs/errors.md").rows() if row[0].startswith("`")]

    assert listed == [(item.__name__, _standard_base(item)) for item in _tree(errors.AsyncProcessorError)]


def _sections() -> list[tuple[type, str]]:
    """The groups of settings within the settings, each with the beginning of its variables."""
    return [
        (item.default_factory, f"{config.ENV_PREFIX}{item.name.upper()}_")  # type: ignore[misc]
        for item in fields(config.ProcessorConfig)
        if is_dataclass(item.default_factory)
    ]


def test_the_configuration_page_lists_every_setting_with_its_default_and_variable():
    listed = [row[:3] for row in page("docs/configuration.md").rows() if row[0].startswith("`")]

    settings = [
        [f"`{item.name}`", f"`{_shown(getattr(owner(), item.name))}`", f"`{prefix}{item.name.upper()}`"]
        for owner, prefix in ((config.ProcessorConfig, config.ENV_PREFIX), *_sections())
        for item in fields(owner)
        if not is_dataclass(item.default_factory)
    ]
    assert listed == settings


def test_the_diagram_of_states_is_the_table_that_the_scheduler_goes_by():
    diagrams = [block.text for block in page("docs/architecture.md").blocks() if block.language == "mermaid"]

    assert diagrams == [f"{mermaid()}\n"]


def _tree(root: type[Exception]) -> list[type[Exception]]:
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(item for child in children for item in _tree(child))]


def _standard_base(error: type[Exception]) -> str:
    """The standard error among an error's own bases; every error being an Exception does not count."""
    names = [base.__name__ for base in error.__bases__ if hasattr(builtins, base.__name__) and base is not Exception]
    return ", ".join(names)


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
