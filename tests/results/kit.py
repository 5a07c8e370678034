"""Holds results that other tests make to the classes that say what they may be."""

from __future__ import annotations

from typing import Any

from async_processor.model import TaskResult
from async_processor.results import RESULT_CLASSES


def typed(task_type: str, plain: dict[str, Any]) -> dict[str, Any]:
    """The plain result, after it was read as the class of its type and made plain again without a difference."""
    assert RESULT_CLASSES[task_type].from_dict(plain).as_dict() == plain
    return plain


def ended(result: TaskResult) -> TaskResult:
    """The same for what a task ended with, if it completed."""
    if result.ok:
        typed(result.task_type, result.result)
    return result
