"""DATA_ANALYTICS in a real processor: where it runs, how it is stopped, and what hostile tables do to it."""

from __future__ import annotations

import asyncio
import math
import pickle
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskStatus, create_task
from async_processor.config import DataConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError
from async_processor.model import LaneName, TaskResult
from async_processor.monitoring.observer import Observer, TaskProgress
from async_processor.processors.data_analytics import processor_spec
from async_processor.processors.data_request import read_request

SPEC = processor_spec(ProcessorConfig())
TOYS = [{"toy": "bear", "minutes": 12}, {"toy": "ball", "minutes": 7}]


def spec_for(**payload: Any) -> Any:
    assert SPEC.resolve is not None
    return SPEC.resolve(payload)


def test_values_stay_in_a_thread_and_what_strangers_wrote_goes_to_a_worker():
    assert spec_for(data=TOYS).lane is LaneName.THREAD
    assert spec_for(data={"a": [1]}, analysis_type="correlation").lane is LaneName.THREAD
    for apart in (
        spec_for(data=b"a\n1\n", format="csv"),
        spec_for(data=TOYS, analysis_type="sql", query="SELECT 1"),
    ):
        assert apart.lane is LaneName.PROCESS
        again = pickle.loads(pickle.dumps(apart.func))  # noqa: S301 - our own bytes
        assert (again.func, again.keywords) == (apart.func.func, apart.func.keywords)


def test_a_payload_is_read_without_the_libraries(monkeypatch: pytest.MonkeyPatch):
    for name in ("duckdb", "numpy", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)

    assert not read_request({"data": TOYS}, DataConfig()).runs_apart
    with pytest.raises(InvalidPayloadError, match="query"):
        spec_for(data=TOYS, analysis_type="sql")


@pytest.mark.parametrize(
    "name",
    [
        "max_bytes",
        "max_cells",
        "max_columns",
        "max_result_rows",
        "memory_limit_mb",
        "threads",
        "query_timeout_s",
        "max_chart_points",
        "max_chart_pixels",
    ],
)
def test_a_limit_of_nothing_is_refused(name: str):
    with pytest.raises(ConfigurationError, match=rf"DataConfig\.{name} must be above 0"):
        processor_spec(ProcessorConfig(data=DataConfig(**{name: 0})))


async def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    assert SPEC.readiness is not None
    found = await SPEC.readiness()
    assert (found.provider, found.offline, found.problem, found.remarks) == ("duckdb", True, None, ())

    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = await SPEC.readiness()
    assert (
        found.problem == "DATA_ANALYTICS needs the optional extra 'data': pip install 'advanced-async-processor[data]'"
    )
    assert "[arrow]" in found.remarks[0]


async def run(processor: AdvancedAsyncProcessor, payload: dict[str, Any], **options: Any) -> TaskResult:
    task = create_task(ProcessingType.DATA_ANALYTICS, payload, **options)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=50.0)


async def test_the_example_runs(no_leaks: None):
    assert SPEC.example is not None
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        result = await run(processor, SPEC.example())

    assert result.unwrap()["rows"] == [["ball", 7], ["bear", 32]]
    assert result.worker_id == "process-0"


MANY = 10**5
HOSTILE: dict[str, tuple[dict[str, Any], str | None]] = {
    "ten million rows": ({"data": {"a": np.arange(10**7, dtype="i4")}}, None),
    "more than ten million rows": ({"data": {"a": np.zeros(10**7 + 1, "f4")}}, "at most 10000000 cells"),
    "ragged records": ({"data": [{"a": 1}, {}, {"b": 2}, {"a": None, "c": "x"}]}, None),
    "records that are none": ({"data": [{"a": 1}, ["a", 1]]}, "each record must be a dict"),
    "ragged columns": ({"data": {"a": [1, 2], "b": [1]}}, "different lengths"),
    "mixed types": ({"data": {"a": [1, "two", None, 3.5, True, Decimal("4.5")]}}, None),
    "nested values": ({"data": {"a": [[1]]}}, "type list in column 'a'"),
    "NaN and infinities": ({"data": {"a": [math.nan, math.inf, -math.inf, 1.0], "b": [math.nan] * 4}}, None),
    "a hundred thousand columns": ({"data": {f"c{number}": [1] for number in range(MANY)}}, "more than 1000 columns"),
    "a hundred thousand fields": ({"data": [{f"c{number}": 1} for number in range(MANY)]}, "more than 1000 columns"),
    "a whole number of 401 digits": ({"data": {"a": [10**400, 1]}}, "64 bits in column 'a'"),
    "a whole number of 401 digits among floats": ({"data": {"a": [10**400, 1.5]}}, r"beyond 1e\+150 in column 'a'"),
    "a decimal of 401 digits": ({"data": {"a": [Decimal(10) ** 400]}}, r"beyond 1e\+150"),
    "ten million rows of text": ({"data": b"a\n" + b"x\n" * 10**7, "format": "csv"}, None),
    "a hundred thousand columns in a file": (
        {"data": ",".join(f"c{number}" for number in range(MANY)).encode(), "format": "csv"},
        "more memory than memory_limit_mb",
    ),
    "half a surrogate pair": ({"data": [{"a": "\ud800"}]}, "surrogates"),
    "a name with half a surrogate pair": ({"data": [{"\ud800": 1}]}, "surrogates"),
}
# No row of it need be looked at, or the first will do. All else shows when the table is read.
REFUSED_AT_SUBMIT = {"records that are none", "a hundred thousand columns"}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_table_is_bounded_and_right_or_refused(name: str):  # B18
    payload, refusal = HOSTILE[name]
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        if name in REFUSED_AT_SUBMIT:
            with pytest.raises(InvalidPayloadError, match=refusal):
                await run(processor, payload)
            return
        result = await run(processor, payload)
        after = await run(processor, {"data": TOYS})

    if refusal is None:
        assert result.status is TaskStatus.COMPLETED, result.error
        assert result.result["columns"][0]["count"] + result.result["columns"][0]["nulls"] == result.result["row_count"]
    else:
        assert (result.status, result.attempts) == (TaskStatus.FAILED, 1)
        # What is too wide for a file to be looked at takes memory; all else is known before.
        assert result.error_type == ("PermanentError" if "memory" in refusal else "InvalidPayloadError")
        assert re.search(refusal, result.error or "")
    assert after.status is TaskStatus.COMPLETED


async def test_a_result_of_any_analysis_can_be_stored(tmp_path: Path):  # B18
    payloads = [
        {"data": {"a": [2**63, math.nan, None]}},
        {
            "data": TOYS,
            "analysis_type": "sql",
            "query": "SELECT 170141183460469231731687303715884105727::HUGEINT, now(), 1.5",
        },
        {"data": {"a": [0.0, 1e150, -1e150], "b": [1, 2, None]}, "analysis_type": "correlation"},
    ]
    tasks = [create_task(ProcessingType.DATA_ANALYTICS, payload) for payload in payloads]
    store = f"sqlite:///{tmp_path}/tasks.db"
    async with AdvancedAsyncProcessor(1, 1, 1, store=store) as processor:
        for task in tasks:
            await processor.submit_task(task)
        first = [(await processor.wait_for_task(task.id)).unwrap() for task in tasks]
    async with AdvancedAsyncProcessor(1, 1, 1, store=store) as processor:
        assert [(await processor.get_task_result(task.id)).unwrap() for task in tasks] == first
    assert first[0]["columns"][0]["max"] == 2**63


class StopsWhenLoaded(Observer):
    """Cancels a task as soon as its table is in the database, from where the analysis takes seconds."""

    def __init__(self, processor: AdvancedAsyncProcessor) -> None:
        self._processor = processor
        self.cancels: list[asyncio.Task[list[str]]] = []

    def task_progress(self, event: TaskProgress) -> None:
        if event.message == "loaded" and not self.cancels:
            self.cancels.append(asyncio.get_running_loop().create_task(self._processor.cancel_task(event.task_id)))


async def test_a_cancelled_analysis_lets_its_thread_go(no_leaks: None):
    """``no_leaks`` waits five seconds for the thread; the analysis would take longer."""
    dice = np.random.default_rng(1)
    table = {f"c{number}": dice.normal(size=400_000) for number in range(12)}
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        observer = StopsWhenLoaded(processor)
        processor.add_observer(observer)

        stopped = await run(processor, {"data": table, "analysis_type": "correlation"})
        after = await run(processor, {"data": TOYS})

    assert (stopped.status, after.status) == (TaskStatus.CANCELLED, TaskStatus.COMPLETED)
    assert await asyncio.gather(*observer.cancels) == [[stopped.task_id]]


async def test_an_analysis_beyond_its_timeout_lets_its_thread_go(no_leaks: None):
    table = {f"c{number}": np.random.default_rng(number).normal(size=400_000) for number in range(12)}
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        late = await run(processor, {"data": table, "analysis_type": "correlation"}, timeout=0.3, max_retries=0)
        after = await run(processor, {"data": TOYS})

    assert (late.status, after.status) == (TaskStatus.TIMEOUT, TaskStatus.COMPLETED)


async def test_a_callers_query_beyond_its_timeout_costs_a_worker_and_no_more(no_leaks: None):
    endless = "SELECT sum(i % 7) FROM range(1000000000000) t(i)"
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        payload = {"data": TOYS, "analysis_type": "sql", "query": "SELECT count(*) FROM data"}
        late = await run(processor, {**payload, "query": endless}, timeout=0.5, max_retries=0)
        after = await run(processor, payload)

    assert (late.status, after.unwrap()["rows"]) == (TaskStatus.TIMEOUT, [[2]])
