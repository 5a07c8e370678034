"""The bodies of the workloads as processor functions that worker processes can import, with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from async_processor.model import ProcessingTask
from benchmarks import functions as body


def noop_sync(task: ProcessingTask) -> None:
    """Nothing."""


def echo(task: ProcessingTask) -> bytes:
    return body.echo(task.payload["data"])


def spin(task: ProcessingTask) -> float:
    return body.spin(body.CPU_TASK_S)


def busy_process(task: ProcessingTask) -> int:
    return body.busy_process()


def endless(task: ProcessingTask) -> None:
    body.endless()


PLAIN: dict[str, Callable[[ProcessingTask], Any]] = {
    "noop": noop_sync, "echo": echo, "spin": spin, "busy_process": busy_process, "endless": endless,
}  # fmt: skip
