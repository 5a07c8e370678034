"""The bodies of the workloads as processor functions that worker processes can import, with nothing else."""

from __future__ import annotations

from async_processor.model import ProcessingTask
from benchmarks import functions as body


def noop_sync(task: ProcessingTask) -> None:
    """Nothing."""


def echo(task: ProcessingTask) -> bytes:
    return body.echo(task.payload["data"])


def spin(task: ProcessingTask) -> float:
    return body.spin(body.CPU_TASK_S)


def endless(task: ProcessingTask) -> None:
    body.endless()
