"""DATA_ANALYTICS: figures of a table that comes with the task. Offline. Described in docs/data-analytics.md."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..config import DataConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import ConfigurationError
from ..model import LaneName, ProcessingTask
from . import data_chart
from .data_chart import Analysed
from .data_figures import figures
from .data_request import read_request
from .data_table import load
from .extras import missing_extra
from .providers import duckdb_engine, matplotlib_charts
from .providers.duckdb_engine import Engine, bounded_memory
from .registry import ProcessorSpec, Readiness, inspect_function

_LOADED, _ANALYSED = 0.3, 0.9


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How DATA_ANALYTICS runs; see ``resolve`` below for which lane.

    In a thread our own queries run over values that Python vouches for: the database lets go of the interpreter's
    lock and can be interrupted. Bytes of a file and a caller's SQL go to a worker process, where a crash costs one
    attempt, and the memory that they take can be bounded; and so does what is to be drawn.

    Raises:
        ConfigurationError: a limit is 0.
    """
    settings = config.data
    for item in fields(settings):
        if getattr(settings, item.name) == 0:
            raise ConfigurationError(f"DataConfig.{item.name} must be above 0")
    here, apart = (
        inspect_function(functools.partial(analyse, config=settings, apart=lane is LaneName.PROCESS), lane=lane)
        for lane in (LaneName.THREAD, LaneName.PROCESS)
    )

    def resolve(payload: Mapping[str, Any]) -> ProcessorSpec:
        return apart if read_request(payload, settings).runs_apart else here

    return replace(here, resolve=resolve, readiness=readiness, example=example)


def analyse(task: ProcessingTask, context: TaskContext, *, config: DataConfig, apart: bool) -> dict[str, Any]:
    """Load the table into a database of its own and ask it.

    Args:
        apart: whether this is a worker process, whose memory may be bounded.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "data" is not installed, or "arrow" or "charts" is needed and is not.
        PermanentError: the analysis takes more time or memory than it may.
    """
    request = read_request(task.payload, config)
    if request.chart is not None:
        matplotlib_charts.require()  # before the work, which else might be for nothing
    # Twice: the result is in the database and in Python for a while.
    bound = bounded_memory(2 * config.memory_limit_mb) if apart else contextlib.nullcontext()
    with Engine(config, lambda: context.cancelled) as engine, bound:
        table = load(engine, request.source, config)
        context.report_progress(_LOADED, "loaded")

        def report(done: float, message: str) -> None:
            engine.check()
            context.report_progress(_LOADED + (_ANALYSED - _LOADED) * done, message)

        found = figures(engine, table, request.analysis, request.limit, report)
        chart = None
        if request.chart is not None:
            chart = data_chart.draw(request.chart, Analysed(request.analysis, found, engine, table), config)
    if chart is not None:
        found = replace(found, chart=chart.result, warnings=(*found.warnings, *chart.warnings))
    return found.as_dict()


async def readiness() -> Readiness:
    """Whether the libraries are there; loads none of them."""
    arrow = missing_extra("arrow", "DATA_ANALYTICS of Arrow data", "pyarrow")
    charts = missing_extra(matplotlib_charts.EXTRA, matplotlib_charts.NEEDED_FOR, "matplotlib")
    return Readiness(
        provider=duckdb_engine.NAME,
        offline=True,
        problem=missing_extra("data", "DATA_ANALYTICS", "duckdb", "numpy"),
        remarks=tuple(remark for remark in (arrow, charts) if remark is not None),
    )


def example() -> dict[str, Any]:
    """A small table, and a question about it."""
    return {
        "data": [{"toy": "bear", "minutes": 12}, {"toy": "ball", "minutes": 7}, {"toy": "bear", "minutes": 20}],
        "analysis_type": "sql",
        "query": "SELECT toy, sum(minutes) AS minutes FROM data GROUP BY toy ORDER BY toy",
    }
