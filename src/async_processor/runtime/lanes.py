"""Makes the lanes of a processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..clock import Clock
from ..config import ProcessorConfig
from ..errors import ConfigurationError
from ..execution.async_lane import AsyncLane
from ..execution.base import Lane
from ..execution.thread_lane import ThreadLane
from ..model import LaneName
from ..scheduling.records import LaneTraits


@dataclass(slots=True, frozen=True)
class LaneSizes:
    """How many slots each lane has.

    Raises:
        ConfigurationError: a number is not a whole number of 1 or more.
    """

    workers: int
    thread_workers: int
    process_workers: int

    def __post_init__(self) -> None:
        for name, value in (
            ("max_workers", self.workers),
            ("max_thread_workers", self.thread_workers),
            ("max_process_workers", self.process_workers),
        ):
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"{name} must be a whole number of 1 or more, not {value!r}")


def make_lanes(sizes: LaneSizes, config: ProcessorConfig, clock: Clock) -> dict[LaneName, Lane]:
    """The real lanes: event loop, threads, worker processes."""
    # Brings multiprocessing: only for those who start a processor.
    from ..execution.process_lane import ProcessLane

    return {
        LaneName.ASYNC: AsyncLane(
            slot_names(LaneName.ASYNC, sizes.workers), cancel_grace=config.cancel_grace_s, clock=clock
        ),
        LaneName.THREAD: ThreadLane(
            slot_names(LaneName.THREAD, sizes.thread_workers), max_abandoned=config.max_abandoned_threads, clock=clock
        ),
        LaneName.PROCESS: ProcessLane(
            slot_names(LaneName.PROCESS, sizes.process_workers),
            start_method=config.start_method,
            worker_start_timeout=config.worker_start_timeout_s,
            max_tasks_per_worker=config.worker_max_tasks,
            max_worker_memory_mb=config.worker_max_memory_mb,
            max_payload_bytes=config.max_payload_bytes,
            max_result_bytes=config.max_result_bytes,
            clock=clock,
        ),
    }


def slot_names(lane: LaneName, count: int) -> list[str]:
    """``"thread-0"``, ``"thread-1"``, ...: the worker ids of the metrics."""
    return [f"{lane.value}-{number}" for number in range(count)]


def traits_of(lanes: Mapping[LaneName, Lane], *, journaled: bool = False) -> dict[LaneName, LaneTraits]:
    """What the scheduler must know of each lane.

    Args:
        journaled: whether the start of an attempt is written first: then none begins at once.
    """
    return {
        name: LaneTraits(
            tuple(lane.slots),
            begins_at_once=lane.begins_at_once and not journaled,
            stop_grace=lane.stop_grace,
        )
        for name, lane in lanes.items()
    }
