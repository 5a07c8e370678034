"""Runs a payload as a processor function would, and looks whether the result is plain."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from tests.results.kit import typed

from async_processor.config import DataConfig
from async_processor.context import TaskContext
from async_processor.model import ProcessingTask, ProcessingType
from async_processor.processors.data_analytics import analyse as analyse_task

CONFIG = DataConfig()
ALWAYS = {"analysis_type", "row_count", "truncated", "warnings", "provider", "offline"}


def analyse(data: object = None, *, config: DataConfig = CONFIG, cancelled: bool = False, **fields: Any) -> Any:
    """The result of one task, in this thread, without bounds on this process's memory."""
    task = ProcessingTask(ProcessingType.DATA_ANALYTICS, {"data": data, **fields})
    context = TaskContext(task_id=task.id, task_type=task.task_type)
    context.cancelled = cancelled
    result = analyse_task(task, context, config=config, apart=False)
    assert result.keys() >= ALWAYS
    # Equal after a round trip: no NaN, no tuples, no types of NumPy's.
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return typed(task.task_type, result)


def summary_of(data: object, name: str, **fields: Any) -> dict[str, Any]:
    """The summary of one column."""
    columns = analyse(data, **fields)["columns"]
    return next(item for item in columns if item["name"] == name)


def query(data: object, text: str, **fields: Any) -> Any:
    return analyse(data, analysis_type="sql", query=text, **fields)


def naive(*parts: int) -> datetime:
    """A time without a zone, as most tables have them."""
    return datetime(*parts)  # noqa: DTZ001 - see above
