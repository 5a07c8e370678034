"""Background work inside an application's own asyncio process.

Typed tasks with priorities and dependencies, each run where it suits (event loop, thread, process), with hard
timeouts, retries, cancellation that cascades, and live figures. Start with ``create_processor`` and ``create_task``.
"""

import logging as _logging

from .config import AIConfig, ProcessorConfig, SpeechConfig
from .context import DependencyResults, TaskContext
from .errors import (
    AsyncProcessorError,
    ConfigurationError,
    CyclicDependencyError,
    DuplicateTaskError,
    InvalidPayloadError,
    InvalidTaskError,
    MissingExtraError,
    PermanentError,
    ProcessorNotAvailableError,
    ProcessorNotRunningError,
    QueueFullError,
    RetryableError,
    StoreError,
    StoreLockedError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
    UnknownTaskError,
    WorkerDiedError,
)
from .model import ProcessingTask, ProcessingType, TaskPriority, TaskResult, TaskStatus, create_task
from .monitoring.observer import Observer
from .monitoring.performance import PerformanceMonitor
from .processor import AdvancedAsyncProcessor, create_processor
from .task_manager import TaskManager

__version__ = "0.1.0"

# A library says nothing unless the application asks to hear it.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

__all__ = [
    "AIConfig",
    "AdvancedAsyncProcessor",
    "AsyncProcessorError",
    "ConfigurationError",
    "CyclicDependencyError",
    "DependencyResults",
    "DuplicateTaskError",
    "InvalidPayloadError",
    "InvalidTaskError",
    "MissingExtraError",
    "Observer",
    "PerformanceMonitor",
    "PermanentError",
    "ProcessingTask",
    "ProcessingType",
    "ProcessorConfig",
    "ProcessorNotAvailableError",
    "ProcessorNotRunningError",
    "QueueFullError",
    "RetryableError",
    "SpeechConfig",
    "StoreError",
    "StoreLockedError",
    "TaskCancelledError",
    "TaskContext",
    "TaskFailedError",
    "TaskManager",
    "TaskPriority",
    "TaskResult",
    "TaskStatus",
    "TaskTimeoutError",
    "UnknownTaskError",
    "WorkerDiedError",
    "create_processor",
    "create_task",
]
