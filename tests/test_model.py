"""Tasks and results: what is refused, with which field named, and how they are shown."""

from __future__ import annotations

import collections
import enum
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from async_processor.errors import (
    InvalidTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
)
from async_processor.model import (
    LaneName,
    ProcessingTask,
    ProcessingType,
    TaskPriority,
    TaskResult,
    TaskStatus,
    create_task,
    new_task_id,
    parse_priority,
    parse_task_type,
    preview,
)

HUGE = 10**400
INF, NAN = float("inf"), float("nan")


# ---- making tasks


def test_a_task_has_the_documented_defaults():
    task = create_task("resize")

    assert {item.name: getattr(task, item.name) for item in fields(task) if item.name not in ("id", "created_at")} == {
        "task_type": "resize",
        "payload": {},
        "priority": TaskPriority.NORMAL,
        "timeout": 300.0,
        "max_retries": 3,
        "cpu_intensive": False,
        "memory_intensive": False,
        "io_bound": False,
        "tags": frozenset(),
        "depends_on": (),
        "on_dependency_failure": "cancel",
        "dependency_timeout": None,
        "memory_mb": None,
        "callback": None,
        "idempotency_key": None,
        "ephemeral": (),
    }
    assert task.created_at.utcoffset() is not None
    assert abs((datetime.now(UTC) - task.created_at).total_seconds()) < 60


@pytest.mark.parametrize("priority", [TaskPriority.HIGH, "HIGH", "high", 2])
def test_a_priority_is_a_member_a_name_in_any_case_or_a_number(priority: TaskPriority | str | int):
    assert create_task("a", priority=priority).priority is TaskPriority.HIGH
    assert ProcessingTask("a", priority=priority).priority is TaskPriority.HIGH  # type: ignore[arg-type]


@pytest.mark.parametrize("priority", [9, 0, -1, 2.0, True, "urgent", "", None, [1]])
def test_any_other_priority_is_refused(priority: object):  # E24
    with pytest.raises(InvalidTaskError, match=r"CRITICAL \(1\), HIGH \(2\), .*, BATCH \(5\), not") as refused:
        create_task("a", priority=priority)  # type: ignore[arg-type]

    assert refused.value.field == "priority"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (ProcessingType.AI_RESPONSE, ProcessingType.AI_RESPONSE),
        ("ai_response", ProcessingType.AI_RESPONSE),
        ("AI_RESPONSE", ProcessingType.AI_RESPONSE),
        ("Resize", "Resize"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_task_type_is_a_member_its_value_or_a_name_of_ones_own(given: str, kept: str):
    assert parse_task_type(given) == kept
    assert type(create_task(given).task_type) is type(kept)


@pytest.mark.parametrize("task_type", ["", None, 7, "x" * 201, b"resize"])
def test_any_other_task_type_is_refused(task_type: object):
    with pytest.raises(InvalidTaskError, match="task_type must be") as refused:
        create_task(task_type)  # type: ignore[arg-type]

    assert refused.value.field == "task_type"


def test_an_option_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InvalidTaskError, match=r"no option 'prioritiy'; it takes callback, .*, timeout") as refused:
        create_task("a", prioritiy=1, retries=2)

    assert refused.value.field == "prioritiy"


def test_no_payload_is_an_empty_one():
    assert create_task("a", None).payload == {}
    assert create_task("a").payload is not create_task("a").payload


# ---- fields

GOOD: list[tuple[str, object, object]] = [
    ("timeout", None, None),
    ("timeout", 0.001, 0.001),
    ("timeout", 5, 5),
    ("max_retries", 0, 0),
    ("max_retries", 1_000_000, 1_000_000),
    ("tags", ["b", "a", "b"], frozenset("ab")),
    ("tags", {"a"}, frozenset("a")),
    ("tags", set(), frozenset()),
    ("depends_on", ["a", "b"], ("a", "b")),
    ("depends_on", [], ()),
    ("depends_on", (item for item in "ab"), ("a", "b")),
    ("on_dependency_failure", "run", "run"),
    ("dependency_timeout", 0, 0),
    ("dependency_timeout", 5.5, 5.5),
    ("memory_mb", 0.5, 0.5),
    ("memory_mb", 512, 512),
    ("id", "x" * 200, "x" * 200),
    ("idempotency_key", "key", "key"),
    ("callback", print, print),
    ("payload", MappingProxyType({"a": 1}), {"a": 1}),
]

BAD: list[tuple[str, object]] = [
    *[("timeout", value) for value in (0, 0.0, -1, -0.5, NAN, INF, -INF, "5", True, HUGE, [1], b"1")],
    *[("max_retries", value) for value in (-1, 1.0, "3", True, None, NAN, [])],
    *[("tags", value) for value in (None, "a", b"a", 7, [1], [""], [None], [["a"]])],
    *[("depends_on", value) for value in (None, "a", b"a", 7, [1], [""], [None], [["a"]])],
    *[("on_dependency_failure", value) for value in ("RUN", "", None, True)],
    *[("dependency_timeout", value) for value in (-1, NAN, INF, "5", True, HUGE)],
    *[("memory_mb", value) for value in (0, -1, NAN, INF, "5", True, HUGE)],
    *[("id", value) for value in ("", None, 7, "x" * 201, b"a")],
    *[("idempotency_key", value) for value in ("", 7, "x" * 201, b"a")],
    *[("callback", value) for value in ("print", 7, [])],
    *[("payload", value) for value in ([], "text", 7, [("a", 1)], {1: "one"}, {"a": 1, None: 2})],
]


def shown(value: object) -> str:
    return repr(value)[:20] if isinstance(value, str | float | bytes | list | None) else type(value).__name__


@pytest.mark.parametrize(("name", "given", "kept"), GOOD, ids=shown)
def test_a_field_takes_what_it_is_documented_to_take(name: str, given: object, kept: object):
    task = ProcessingTask("a", **{name: given})

    assert getattr(task, name) == kept
    task.validate()
    assert getattr(task, name) == kept


@pytest.mark.parametrize(("name", "value"), BAD, ids=shown)
def test_a_field_that_cannot_be_used_is_refused_and_named(name: str, value: object):  # E24
    options = {"id": "task-1"} | {name: value}

    with pytest.raises(InvalidTaskError, match=f"{name} must be") as refused:
        ProcessingTask("a", **options)  # type: ignore[arg-type]

    assert refused.value.field == name
    assert refused.value.task_id == ("task-1" if name != "id" else str(value))
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value"), [*BAD, ("priority", 9), ("priority", "soon"), ("task_type", ""), ("task_type", None)], ids=shown
)
def test_a_field_assigned_later_is_checked_when_the_task_is_submitted(name: str, value: object):  # E24
    task = create_task("a")
    setattr(task, name, value)

    with pytest.raises(InvalidTaskError) as refused:
        task.validate()

    assert refused.value.field == name


def test_a_priority_and_a_type_assigned_later_are_read_as_in_the_constructor():
    task = create_task("a")
    task.priority = "high"  # type: ignore[assignment]
    task.task_type = "AI_RESPONSE"

    task.validate()

    assert task.priority is TaskPriority.HIGH
    assert task.task_type is ProcessingType.AI_RESPONSE


def test_a_refusal_shows_the_value_but_not_all_of_a_long_one():
    with pytest.raises(InvalidTaskError) as refused:
        create_task("a", timeout="x" * 1_000_000)

    assert len(str(refused.value)) < 12_000


# ---- ids


def test_ids_are_unique_across_threads():
    made: list[list[str]] = []

    def make() -> None:
        made.append([new_task_id() for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({task_id for part in made for task_id in part}) == 8_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_repeat_its_parents_ids():
    program = (
        "import os\n"
        "from async_processor.model import new_task_id\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.write(write, new_task_id().encode())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(os.read(read, 100).decode(), new_task_id())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)

    child, parent = ran.stdout.split()
    assert child.partition("-")[0] != parent.partition("-")[0]


# ---- results


def result(status: TaskStatus, **more: Any) -> TaskResult:
    return TaskResult(task_id="a", status=status, **more)


def test_a_completed_result_gives_its_value():
    assert result(TaskStatus.COMPLETED, result=7).unwrap() == 7
    assert result(TaskStatus.COMPLETED).ok


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (TaskStatus.FAILED, TaskFailedError),
        (TaskStatus.TIMEOUT, TaskTimeoutError),
        (TaskStatus.CANCELLED, TaskCancelledError),
    ],
)
def test_any_other_result_raises_what_its_status_says(status: TaskStatus, error: type[TaskFailedError]):
    ended = result(status, error="because")

    with pytest.raises(error, match=f"task 'a' ended {status}: because") as raised:
        ended.unwrap()

    assert type(raised.value) is error
    assert raised.value.task_id == "a"
    assert not ended.ok


def test_the_terminal_statuses_are_the_last_four():
    assert [status for status in TaskStatus if status.is_terminal] == list(TaskStatus)[2:]


def test_enums_are_the_strings_and_numbers_they_stand_for():
    assert (TaskStatus.COMPLETED, ProcessingType.CUSTOM, LaneName.RAY) == ("completed", "custom", "ray")
    assert list(TaskPriority) == [1, 2, 3, 4, 5]


# ---- pictures


def test_a_task_is_shown_in_one_line():
    assert repr(create_task("resize", id="a", priority="high")) == "<ProcessingTask a resize HIGH>"
    assert repr(create_task("resize", id="a", depends_on=["b"])) == "<ProcessingTask a resize NORMAL after 1>"


def test_tasks_and_results_as_dictionaries_are_json_whatever_they_hold():
    task = create_task("resize", {"image": b"\x00\xff", "when": datetime(2026, 1, 1, tzinfo=UTC)}, id="a", tags=["t"])
    ended = result(TaskStatus.COMPLETED, result={"size": (1, 2)}, tags={"t"}, priority=TaskPriority.BATCH)

    shown_task = json.loads(json.dumps(task.to_dict(), allow_nan=False))
    shown_result = json.loads(json.dumps(ended.to_dict(), allow_nan=False))

    assert shown_task["payload"] == {
        "image": {"bytes": 2, "sha256": "06eb7d6a69ee19e5"},
        "when": "2026-01-01T00:00:00+00:00",
    }
    assert (shown_task["priority"], shown_task["task_type"], shown_task["tags"]) == ("NORMAL", "resize", ["t"])
    assert shown_task.keys() == {item.name for item in fields(task)}
    assert (shown_result["status"], shown_result["priority"], shown_result["result"]) == (
        "completed", "BATCH", {"size": [1, 2]},
    )  # fmt: skip
    assert shown_result.keys() == {item.name for item in fields(ended)}


class Colour(enum.Enum):
    RED = ("r", 1)


class BrokenRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no picture")


class BrokenMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("not now")

    def __len__(self) -> int:
        return 1


class OddString(str):
    __slots__ = ()

    def encode(self, *arguments: object, **options: object) -> bytes:
        raise RuntimeError("no bytes")


class Plain:
    def method(self) -> None: ...


def released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


@pytest.mark.parametrize(
    ("value", "picture"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (2**64, "<int of 65 bits>"),
        (10**1_000_000, "<int of 3321929 bits>"),
        (1.5, 1.5),
        (NAN, "nan"),
        (INF, "inf"),
        ("text", "text"),
        ("half \ud83d", "half \\ud83d"),
        (Colour.RED, ["r", 1]),
        (TaskPriority.HIGH, 2),
        (b"", {"bytes": 0, "sha256": "e3b0c44298fc1c14"}),
        (bytearray(b"ab"), {"bytes": 2, "sha256": "fb8e20fc2e4c3f24"}),
        (memoryview(b"aXbX")[::2], {"bytes": 2, "sha256": "fb8e20fc2e4c3f24"}),
        ({1: "a", None: "b", (2, 3): "c"}, {"1": "a", "None": "b", "[2, 3]": "c"}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("ba"), ["a", "b"]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (print, "<builtins.print>"),
        (shown, f"<{__name__}.shown>"),
        (Plain, f"<{__name__}.Plain>"),
        (Plain().method, f"<{__name__}.Plain.method>"),
        (BrokenRepr(), "<BrokenRepr>"),
        (BrokenMapping(), "<BrokenMapping: RuntimeError when read>"),
        (range(3), "range(0, 3)"),
        (OddString("odd"), "<OddString>"),
        (released(), "<memoryview>"),
    ],
    ids=shown,
)
def test_anything_has_a_picture_in_json_types(value: object, picture: object):
    drawn = preview(value)

    assert drawn == picture
    json.dumps(drawn, allow_nan=False)


def test_a_mixed_set_has_a_picture_too():
    drawn = preview({1, "a", None, 2.5})

    assert sorted(map(str, drawn)) == ["1", "2.5", "None", "a"]


def test_a_long_text_is_cut_and_says_so():
    assert preview("x" * 20_000) == "x" * 10_000 + "... (20000 characters)"


def test_of_a_long_collection_the_beginning_is_shown():
    assert preview(list(range(1_000))) == list(range(200))
    assert len(preview({str(number): number for number in range(1_000)})) == 200


def test_a_deep_value_is_cut_and_a_circle_ends():
    circle: list[object] = []
    circle.append(circle)

    assert json.dumps(preview(circle)) == "[" * 8 + '"<list>"' + "]" * 8


def test_reading_a_priority_gives_the_member():
    assert parse_priority("batch") is TaskPriority.BATCH
