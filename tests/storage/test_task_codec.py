"""Tasks, results and their outcomes as bytes."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_processor import ProcessingTask, ProcessingType, TaskPriority, TaskResult, TaskStatus
from async_processor.errors import StoreFormatError, UnserializableError
from async_processor.storage.base import EncodedTask, StoredTask
from async_processor.storage.codec import encode_value
from async_processor.storage.task_codec import decode_result, decode_task, encode_outcome, encode_task

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
seconds = st.integers(1, 1000) | st.floats(0.001, 1e300)
zones = st.none() | st.just(UTC) | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
# Years that a moment without a time zone can be told in everywhere.
moments = st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("9000-01-01"), timezones=zones)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names | st.binary() | moments,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
tasks = st.builds(
    ProcessingTask,
    task_type=st.sampled_from(ProcessingType) | names,
    payload=st.dictionaries(names, plain, max_size=4),
    id=names,
    priority=st.sampled_from(TaskPriority),
    timeout=st.none() | seconds,
    max_retries=st.integers(0, 1 << 63),
    cpu_intensive=st.booleans(),
    memory_intensive=st.booleans(),
    io_bound=st.booleans(),
    tags=st.frozensets(names, max_size=3),
    depends_on=st.lists(names, max_size=3, unique=True),
    on_dependency_failure=st.sampled_from(["cancel", "run"]),
    dependency_timeout=st.none() | seconds,
    memory_mb=st.none() | seconds,
    idempotency_key=st.none() | names,
    ephemeral=st.lists(names, max_size=2),
    created_at=moments,
)
optional = st.none() | names
results = st.builds(
    TaskResult,
    task_id=st.just("replaced"),
    status=st.sampled_from([status for status in TaskStatus if status.is_terminal]),
    error=optional,
    error_type=optional,
    traceback=optional,
    execution_time=st.floats(0, 1e9),
    wait_time=st.floats(0, 1e9),
    attempts=st.integers(0, 1000),
    worker_id=optional,
    completed_at=moments,
    details=st.dictionaries(names, st.floats(allow_nan=False) | st.integers(0, 1 << 60), max_size=2),
)


def fields_of(task: ProcessingTask) -> dict[str, Any]:
    return {item.name: getattr(task, item.name) for item in fields(task)}


def stored(task: ProcessingTask, result: TaskResult) -> StoredTask:
    value = encode_value(result.result, "result") if result.ok else None
    outcome = encode_outcome(result)
    return StoredTask(row=1, task=encode_task(task, 1.0), status=result.status, outcome=outcome, value=value)


# ---- tasks


@settings(max_examples=200)
@given(tasks)
def test_a_task_comes_back_as_it_was(task: ProcessingTask):
    restored = decode_task(encode_task(task, 1.0))

    expected = fields_of(task)
    expected["payload"] = {name: item for name, item in task.payload.items() if name not in task.ephemeral}
    assert fields_of(restored.task) == expected
    assert set(restored.missing) == task.payload.keys() & set(task.ephemeral)
    assert type(restored.task.timeout) is type(task.timeout)
    assert type(restored.task.tags) is frozenset


def test_what_a_store_looks_at_is_in_fields_of_plain_types():
    task = ProcessingTask(
        ProcessingType.AI_RESPONSE, id="a", priority=TaskPriority.HIGH, depends_on=["b", "c", "b"], idempotency_key="k"
    )

    encoded = encode_task(task, 5.5)

    created_at = task.created_at.timestamp()
    assert encoded[:-1] == ("a", "ai_response", 2, created_at, 5.5, "k", ("b", "c"))
    assert [type(item) for item in encoded] == [str, str, int, float, float, str, tuple, bytes]


def test_texts_of_a_class_of_their_own_become_plain():
    class Name(StrEnum):
        ONE = "one"

    task = ProcessingTask(Name.ONE, id=Name.ONE, tags={Name.ONE}, depends_on=[Name.ONE], idempotency_key=Name.ONE)

    encoded = encode_task(task, 0.0)
    restored = decode_task(encoded).task

    for item in (encoded.id, encoded.task_type, encoded.idempotency_key, *encoded.depends_on, *restored.tags):
        assert type(item) is str
        assert item == "one"


def test_ephemeral_fields_are_not_in_the_bytes_and_are_named_when_they_are_missed():
    payload = {"voice": b"the child's voice", "seconds": 3, "rate": (16_000,)}
    task = ProcessingTask("listen", payload, ephemeral=["voice", "never given"], callback=print)

    encoded = encode_task(task, 0.0)
    restored = decode_task(encoded)

    assert b"child" not in encoded.spec
    assert restored.task.payload == {"seconds": 3, "rate": (16_000,)}
    assert restored.task.ephemeral == ("voice", "never given")
    assert restored.task.callback is None
    assert restored.missing == ("voice",)
    assert task.payload == payload


def test_an_ephemeral_field_may_hold_what_no_store_can_keep():
    task = ProcessingTask("listen", {"stream": open, "a": 1}, ephemeral=["stream"])

    assert decode_task(encode_task(task, 0.0)).task.payload == {"a": 1}


def test_any_mapping_comes_back_as_a_dict():
    task = ProcessingTask("noop", ChainMap({"a": 1}, {"b": (2,)}))

    assert decode_task(encode_task(task, 0.0)).task.payload == {"a": 1, "b": (2,)}


def test_a_payload_that_cannot_be_kept_is_refused_with_the_task_and_the_place():
    task = ProcessingTask("noop", {"items": [1, print]}, id="the-task")

    with pytest.raises(
        UnserializableError, match=r"task 'the-task' cannot be stored: payload\['items'\]\[1\]"
    ) as caught:
        encode_task(task, 0.0)

    assert caught.value.task_id == "the-task"


class _Broken(dict[str, Any]):
    def __iter__(self) -> Any:
        raise KeyError("gone")

    keys = __iter__


@pytest.mark.parametrize(
    "changed",
    [
        {"payload": _Broken(a=1)},
        {"payload": {"a\ud800": 1}},
        {"id": "a\ud800"},
        {"task_type": "a\ud800"},
        {"tags": {"a\ud800"}},
        {"depends_on": ["a\ud800"]},
        {"idempotency_key": "a\ud800"},
        {"ephemeral": ["a\ud800"]},
        {"timeout": 1 << 70},
        {"max_retries": 1 << 70},
        {"created_at": "yesterday"},
    ],
    ids=str,
)
def test_any_other_field_that_cannot_be_kept_is_refused_in_the_same_way(changed: dict[str, Any]):
    good: dict[str, Any] = {"task_type": "noop", "id": "a"}
    task = ProcessingTask(**good | {name: item for name, item in changed.items() if name != "payload"})
    task.payload = changed.get("payload", {})

    with pytest.raises(UnserializableError, match=r"^task .* cannot be stored: ") as caught:
        encode_task(task, 0.0)

    assert caught.value.task_id == task.id


@pytest.mark.parametrize(
    "place",
    "version exact payload timeout max_retries tags on_dependency_failure ephemeral created_at".split(),  # noqa: SIM905
)
def test_a_field_of_a_wrong_value_is_refused_with_the_task(place: str):  # S16
    order = [
        "version", "exact", "payload", "missing", "created_at", "timeout", "max_retries", "cpu_intensive",
        "memory_intensive", "io_bound", "tags", "on_dependency_failure", "dependency_timeout", "memory_mb", "ephemeral",
    ]  # fmt: skip
    encoded = encode_task(ProcessingTask("noop", {"a": 1}, id="the-task"), 0.0)
    wrong: dict[str, list[Any]] = {
        "version": [2, 0, "1"],
        "exact": [None, 1],
        "payload": [None, [1], "a", {1: 2}],
        "timeout": [-1, "1", float("nan"), True],
        "max_retries": [-1, 1.5],
        "tags": ["a", [1], [""]],
        "on_dependency_failure": ["eat", 1],
        "ephemeral": ["a", [1]],
        "created_at": [0, "never", None],
    }
    spec = msgspec.msgpack.decode(encoded.spec)
    assert len(spec) == len(order)

    for value in wrong[place]:
        spec[order.index(place)] = value
        data = msgspec.msgpack.encode(spec)
        with pytest.raises(StoreFormatError, match="task 'the-task' cannot be read: ") as caught:
            decode_task(encoded._replace(spec=data))
        assert caught.value.task_id == "the-task"


@pytest.mark.parametrize("changed", [{"priority": 9}, {"task_type": ""}, {"depends_on": (1,)}, {"spec": b""}], ids=str)
def test_a_column_of_a_wrong_value_is_refused_with_the_task(changed: dict[str, Any]):  # S16
    encoded = encode_task(ProcessingTask("noop", id="the-task"), 0.0)

    with pytest.raises(StoreFormatError, match="task 'the-task' cannot be read: "):
        decode_task(encoded._replace(**changed))


@pytest.mark.parametrize(
    "spec",
    [
        b"\x80\x04\x95.",
        b"\x9f\x01\xc2" + b"\x91" * 1_000_000,
        b"\x9f\x01\xc2\xdd\xff\xff\xff\xff",
        b"\x9f\x01\xc3\xd4\x63a",
        b"\x9f\x01\xc2\x81\xa1a\xd4\x01a",
    ],
    ids=["pickle", "a million deep", "4 Gi declared", "unknown extension", "extension in plain"],
)
def test_a_strangers_bytes_are_refused(spec: bytes):  # S16
    encoded = encode_task(ProcessingTask("noop", id="the-task"), 0.0)
    rest = encoded.spec[len(b"\x9f\x01\xc2\x80") :]

    for data in (spec, spec + rest):
        with pytest.raises(StoreFormatError, match="task 'the-task' cannot be read: "):
            decode_task(encoded._replace(spec=data))


def test_a_field_that_a_later_version_adds_is_passed_over():
    encoded = encode_task(ProcessingTask("noop", {"a": 1}, id="a"), 0.0)
    spec = msgspec.msgpack.decode(encoded.spec, type=list[msgspec.Raw])

    more = encoded._replace(spec=msgspec.msgpack.encode([*spec, {"later": [1]}]))

    assert fields_of(decode_task(more).task) == fields_of(decode_task(encoded).task)


def test_bytes_of_the_first_version_can_be_read_for_ever():
    """Do not change these bytes: they are in people's files."""
    spec = bytes.fromhex(
        "9f01c382a16193c7001001c40132a162c70a04323032362d30312d303291a5766f696365d6ff6955b900cb403e00000000000003c3c2"
        "c291a3746167a372756ec00591a5766f696365"
    )
    outcome = bytes.fromhex(
        "9a01a3776879a145a46c696e65cb3ff8000000000000cb3fe000000000000002a87468726561642d31d6ff6955b90081a86370755f74"
        "696d65cb3fd0000000000000"
    )
    encoded = EncodedTask("an-id", "mine", 2, 1767225600.0, 1767225601.0, None, ("first",), spec)
    new_year = datetime(2026, 1, 1, tzinfo=UTC)

    restored = decode_task(encoded)
    result = decode_result(StoredTask(row=1, task=encoded, status=TaskStatus.FAILED, outcome=outcome))

    task = ProcessingTask(
        "mine", {"a": (1, b"2"), "b": date(2026, 1, 2)}, id="an-id", priority=TaskPriority.HIGH, timeout=30.0,
        cpu_intensive=True, tags={"tag"}, depends_on=["first"], on_dependency_failure="run", memory_mb=5,
        ephemeral=["voice"], created_at=new_year,
    )  # fmt: skip
    assert fields_of(restored.task) == fields_of(task)
    assert restored.missing == ("voice",)
    assert result == TaskResult(
        task_id="an-id", status=TaskStatus.FAILED, error="why", error_type="E", traceback="line", execution_time=1.5,
        wait_time=0.5, attempts=2, task_type="mine", priority=TaskPriority.HIGH, tags=frozenset({"tag"}),
        worker_id="thread-1", created_at=new_year, completed_at=new_year, details={"cpu_time": 0.25},
    )  # fmt: skip


# ---- results


@settings(max_examples=200)
@given(tasks, results, plain)
def test_a_result_comes_back_as_it_was(task: ProcessingTask, result: TaskResult, value: Any):
    result = replace(
        result,
        task_id=task.id,
        result=value if result.ok else None,
        task_type=task.task_type,
        priority=task.priority,
        tags=task.tags,
        created_at=task.created_at,
    )

    assert decode_result(stored(task, result)) == result


def ended(**changed: Any) -> StoredTask:
    task = ProcessingTask("noop", {"a": (1,)}, id="the-task")
    result = TaskResult(task_id=task.id, status=TaskStatus.COMPLETED, result=[1], created_at=task.created_at)
    return replace(stored(task, result), **changed)


@pytest.mark.parametrize(
    "changed",
    [{"outcome": None}, {"outcome": b""}, {"outcome": b"\x9a\x02"}, {"value": b""}, {"value": b"\x91"}],
    ids=str,
)
def test_a_result_that_cannot_be_read_says_whose_it_is(changed: dict[str, Any]):
    with pytest.raises(StoreFormatError, match="result of task 'the-task' cannot be read: ") as caught:
        decode_result(ended(**changed))

    assert caught.value.task_id == "the-task"


def test_a_result_is_read_without_its_tasks_payload():
    unreadable = ended().task
    damaged = unreadable._replace(spec=unreadable.spec.replace(b"\xc7\0\x10", b"\xc7\0\x63"))
    assert damaged != unreadable

    assert decode_result(ended(task=damaged)).result == [1]


def test_an_outcome_is_kept_whatever_its_texts_hold():
    result = TaskResult(
        task_id="a",
        status=TaskStatus.FAILED,
        error="\ud800",
        error_type="E\udfff",
        traceback="line\ud800",
        worker_id="w",
    )

    found = decode_result(replace(ended(), outcome=encode_outcome(result), value=None, status=TaskStatus.FAILED))

    assert (found.error, found.error_type, found.traceback) == ("\\ud800", "E\\udfff", "line\\ud800")
