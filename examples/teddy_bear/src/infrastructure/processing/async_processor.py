"""The library under the path at which the teddy bear application looks for it.

An application that was laid out like this keeps its import lines and its layers: what it needs from outside comes in
through ``infrastructure``, and only this file knows where from.
"""

from async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessingType,
    TaskPriority,
    TaskResult,
    TaskStatus,
    create_processor,
    create_task,
)

__all__ = [
    "AdvancedAsyncProcessor",
    "ProcessingTask",
    "ProcessingType",
    "TaskPriority",
    "TaskResult",
    "TaskStatus",
    "create_processor",
    "create_task",
]
