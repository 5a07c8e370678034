"""What crosses to a worker and back, what does not, and that the latter ends as a clear failure and never as a hang."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.execution.lane_kit import Bench
from tests.execution.process import jobs
from tests.execution.process.kit import error_of, has_begun, value_of
from tests.execution.scripts import Script

from async_processor.errors import SizeLimitError, UnserializableError
from async_processor.execution.process_codec import Chunks, Encoder, FunctionCache, FunctionEncoder, encode
from async_processor.model import ProcessingTask
from async_processor.outcome import Raised, Returned, Stopped, StopReason

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANG_LIMIT_S = 5.0


class Interrupting:
    """Pressing Ctrl-C while it is pickled."""

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class Named:
    """Something that can be pickled and weakly referenced."""

    def __init__(self, name: str) -> None:
        self.name = name


def bomb(action: str, stage: str, side: str) -> tuple[str, str, str, int]:
    return (action, stage, side, os.getpid())


# ---- P4: {raise, exit, crash, hang} x {pickle, unpickle, call, result, GC} x {parent, child}
#
# Of the 40 cases 24 are tested here; "pickle" and "result" in the child are the same 4, because the result is all that
# is pickled there. In the parent nothing is called and no result made (8 cases), a crash or a hang while it pickles or
# unpickles is one of the application itself, which no lane can outlive (4), and what an object does when the parent
# frees it is no part of an attempt (4).


@pytest.mark.parametrize("action", ["raise", "exit"])
async def test_a_payload_that_fails_to_pickle_is_a_permanent_failure(
    shared: Bench, action: str
):  # P4, pickle in parent
    payload = {"bomb": jobs.Bomb(*bomb(action, "pickle", "parent"))}

    outcome = await shared.outcome_of(jobs.take, payload)

    assert "the bomb went off" in error_of(outcome, "UnserializableError")
    assert isinstance(outcome, Raised)
    assert outcome.error.permanent
    await still_works(shared)


@pytest.mark.parametrize("action", ["raise", "exit"])
async def test_a_payload_that_fails_to_unpickle_is_a_permanent_failure(shared: Bench, action: str):  # P4
    payload = {"bomb": jobs.Bomb(*bomb(action, "unpickle", "child"))}

    outcome = await shared.outcome_of(jobs.take, payload)

    assert "the bomb went off" in error_of(outcome, "UnserializableError")
    assert isinstance(outcome, Raised)
    assert outcome.error.permanent
    await still_works(shared)


@pytest.mark.parametrize(("action", "type_name"), [("raise", "ValueError"), ("exit", "SystemExit")])
async def test_a_function_that_raises_or_exits_fails_alone(shared: Bench, action: str, type_name: str):  # P4, call
    assert error_of(await shared.outcome_of(jobs.act, {"action": action}), type_name) == "the bomb went off"
    await still_works(shared)


@pytest.mark.parametrize(("stage", "side"), [("pickle", "child"), ("unpickle", "parent")])
@pytest.mark.parametrize("action", ["raise", "exit"])
async def test_a_result_that_cannot_cross_is_a_permanent_failure(
    shared: Bench, action: str, stage: str, side: str
):  # P4
    outcome = await shared.outcome_of(jobs.give_bomb, {"bomb": bomb(action, stage, side)})

    assert "the result of task" in error_of(outcome, "UnserializableError")
    assert "the bomb went off" in error_of(outcome, "UnserializableError")
    assert isinstance(outcome, Raised)
    assert outcome.error.permanent
    await still_works(shared)


@pytest.mark.parametrize("action", ["raise", "exit"])
async def test_a_payload_that_fails_when_freed_harms_nobody(shared: Bench, action: str):  # P4, GC in child
    payload = {"bomb": jobs.Bomb(*bomb(action, "gc", "child"))}

    assert await shared.outcome_of(jobs.take, payload) == Returned("taken")
    await still_works(shared)


CRASHES: dict[str, Callable[[str], tuple[Any, dict[str, Any]]]] = {
    "payload unpickled in child": lambda what: (jobs.take, {"bomb": jobs.Bomb(*bomb(what, "unpickle", "child"))}),
    "call in child": lambda what: (jobs.act, {"action": what}),
    "result pickled in child": lambda what: (jobs.give_bomb, {"bomb": bomb(what, "pickle", "child")}),
    "payload freed in child": lambda what: (jobs.take, {"bomb": jobs.Bomb(*bomb(what, "gc", "child"))}),
    "result freed in child": lambda what: (jobs.give_bomb, {"bomb": bomb(what, "gc", "child")}),
}


@pytest.mark.parametrize("where", CRASHES)
async def test_a_crash_anywhere_in_the_worker_is_the_death_of_that_attempt(shared: Bench, where: str):  # P4
    job, payload = CRASHES[where]("crash")

    assert "exit code 9" in error_of(await shared.outcome_of(job, payload), "WorkerDiedError")
    await still_works(shared)


@pytest.mark.parametrize("where", CRASHES)
async def test_a_hang_anywhere_in_the_worker_is_ended_by_stopping_that_attempt(shared: Bench, where: str):  # P4
    job, payload = CRASHES[where]("hang")
    token = shared.run(job, payload)
    if where != "payload unpickled in child":
        await has_begun(shared, token)

    async with asyncio.timeout(HANG_LIMIT_S):
        shared.lane.stop(token, StopReason.TIMEOUT)
        assert await shared.sink.outcome(token) == Stopped()
    await still_works(shared)


async def still_works(bench: Bench) -> None:
    assert await bench.outcome_of(jobs.echo, {"value": "still works"}) == Returned("still works")


# ---- P5: errors that do not travel


@pytest.mark.parametrize(
    ("job", "type_name", "message"),
    [
        (jobs.raise_two_parts, "TwoPartsError", "broken (7)"),
        (jobs.raise_with_lock, "CarriesLockError", "carries a lock"),
        (jobs.raise_local_class, "LocalError", "of a local class"),
        (jobs.raise_in_circle, "ValueError", "first"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
async def test_an_error_that_cannot_travel_arrives_as_text(shared: Bench, job, type_name: str, message: str):  # P5
    outcome = await shared.outcome_of(job)

    assert error_of(outcome, type_name) == message
    assert isinstance(outcome, Raised)
    assert f"in {job.__name__}" in (outcome.error.traceback or "")


# ---- P6: functions that have no name to be imported by


async def test_lambdas_closures_and_local_functions_run(shared: Bench):  # P6
    factor = 3

    def triple(task: ProcessingTask) -> int:
        return task.payload["number"] * factor

    async def triple_async(task: ProcessingTask) -> int:
        await asyncio.sleep(0)
        return triple(task)

    for func in (triple, lambda task: task.payload["number"] * 3, functools.partial(triple)):
        assert await shared.outcome_of(func, {"number": 7}) == Returned(21)
    assert await shared.outcome_of(triple_async, {"number": 7}, is_async=True) == Returned(21)


class Counter:
    """A callable object; its state travels with each attempt."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, task: ProcessingTask) -> int:
        return self.calls


async def test_a_callable_object_is_sent_as_it_is_at_the_time(shared: Bench):
    counter = Counter()
    assert await shared.outcome_of(counter) == Returned(0)
    counter.calls = 5
    assert await shared.outcome_of(counter) == Returned(5)


async def test_a_closure_is_sent_with_what_it_holds_at_the_time(shared: Bench):
    number, box = 1, [1]

    def held(task: ProcessingTask) -> tuple[int, int]:
        return number, box[0]

    assert await shared.outcome_of(held) == Returned((1, 1))
    number, box[0] = 2, 3
    assert await shared.outcome_of(held) == Returned((2, 3))


async def test_a_function_of_a_module_that_workers_cannot_import_is_a_permanent_failure(
    shared: Bench, tmp_path: Path
):  # P6
    (tmp_path / "only_here.py").write_text("def run(task):\n    return 1\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import only_here; sys.path.pop(0)\n"
    namespace: dict[str, Any] = {}
    exec(program, namespace)  # noqa: S102 - it is written just above
    try:
        message = error_of(await shared.outcome_of(namespace["only_here"].run), "UnserializableError")
    finally:
        del sys.modules["only_here"]

    assert "only_here" in message
    await still_works(shared)


PROGRAM = """
import asyncio, sys
from dataclasses import dataclass
from tests.execution.process.kit import open_lane

print("main runs")

@dataclass
class Point:
    x: int

def move(task):
    return Point(task.payload["point"].x + 1)

class Mover:
    def __call__(self, task):
        return move(task)

async def main():
    async with open_lane(start_method=sys.argv[1]) as bench:
        for func in (move, lambda task: move(task), Mover()):
            outcome = await bench.outcome_of(func, {"point": Point(1)})
            print(outcome.value, type(outcome.value) is Point)

asyncio.run(main())
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_functions_and_classes_of_a_script_without_a_guard_work_and_it_runs_once(
    tmp_path: Path, method: str
):  # P6
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)

    assert _run([script, method]) == (WORKED, "")


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_functions_and_classes_typed_at_the_prompt_work(method: str):  # P6
    output, errors = _run(["-q", "-i", "-", method], typed=PROGRAM)

    assert output == WORKED
    assert errors.replace(">>> ", "").replace("... ", "").strip() == ""


WORKED = ["main runs", *["Point(x=2) True"] * 3]


def _run(arguments: list[str | Path], typed: str | None = None) -> tuple[list[str], str]:
    path = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, *arguments], input=typed, capture_output=True, text=True, timeout=50, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    return ran.stdout.splitlines(), ran.stderr


WITHOUT_CLOUDPICKLE = """
import asyncio, sys
sys.modules["cloudpickle"] = None
from tests.execution.process.kit import open_lane
from tests.execution.process import jobs

def of_main(task):
    return 1

async def main():
    async with open_lane() as bench:
        for func in (lambda task: 1, of_main):
            outcome = await bench.outcome_of(func)
            print(outcome.error.type_name, outcome.error.permanent, outcome.error.message)
        print((await bench.outcome_of(jobs.echo, {"value": "about __main__"})).value)

asyncio.run(main())
"""


async def test_without_cloudpickle_the_error_says_what_to_install(shared: Bench):  # P6
    with Script(WITHOUT_CLOUDPICKLE) as script:
        lines, errors = script.finish()

    assert errors == ""
    for line in lines[:2]:
        assert line.startswith("UnserializableError True the function ")
        assert "pip install 'advanced-async-processor[closures]'" in line
    assert lines[2:] == ["about __main__"]


async def test_a_function_is_pickled_once_and_loaded_once():
    def local(task: ProcessingTask) -> int:
        return 1

    functions, cache = FunctionEncoder(10**6), FunctionCache()

    first, second = functions.encode(local, "task-1"), functions.encode(local, "task-2")
    assert first is second
    assert cache.load(first) is cache.load(bytes(bytearray(second)))


async def test_a_worker_keeps_the_functions_it_uses_and_forgets_the_others():
    cache, encoder = FunctionCache(), FunctionEncoder(10**6)
    often = encoder.encode(lambda task: None, "task")
    kept = cache.load(often)
    for number in range(2 * FunctionCache.MAX_KNOWN):
        cache.load(encoder.encode(functools.partial(jobs.nothing, number), "task"))
        assert cache.load(often) is kept


# ---- values


@pytest.mark.parametrize("kind", ["lock", "open file", "generator in a list"])
async def test_a_result_that_cannot_be_pickled_is_a_permanent_failure(shared: Bench, kind: str):
    outcome = await shared.outcome_of(jobs.give_unsendable, {"kind": kind})

    assert "the result of task" in error_of(outcome, "UnserializableError")
    assert isinstance(outcome, Raised)
    assert outcome.error.permanent
    await still_works(shared)


async def test_payload_mappings_and_large_values_of_every_kind_arrive_equal(shared: Bench):
    value = {
        "bytes": os.urandom(200_000),
        "array": bytearray(os.urandom(200_000)),
        "text": "grüße" * 50_000,
        "deep": [[list(range(1_000))] * 50],
        "both": (None, True, 1.5, 10**30, {1, 2}, frozenset("ab")),
    }

    assert value_of(await shared.outcome_of(jobs.echo, MappingProxyType({"value": value}))) == value


async def test_values_nested_too_deep_to_pickle_are_a_failure(shared: Bench):
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    error_of(await shared.outcome_of(jobs.echo, {"value": deep}), "UnserializableError")
    await still_works(shared)


async def test_large_bytes_are_not_copied_to_be_pickled():
    large = os.urandom(1_000_000)

    chunks = encode({"value": [large, "short"]}, 10**7, "it")

    assert any(part is large for part in chunks.parts)
    assert chunks.size == sum(map(len, chunks.parts))


# ---- the encoder, which keeps its pickler from one value to the next


def rebuilt(chunks: Chunks) -> Any:
    return pickle.loads(b"".join(chunks.parts))  # noqa: S301 - made here


class EncodesWhilePickled:
    """Has another value encoded by the encoder that is pickling it."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __reduce__(self) -> Any:
        inner = self.encoder.encode(["inner"], 1_000, "the inner value")
        return (bytes.join, (b"", tuple(inner.parts)))


async def test_what_one_value_left_in_the_encoder_does_not_show_in_the_next():
    encoder, shared = Encoder(), ["the same object"]

    for _ in range(3):
        loaded = rebuilt(encoder.encode({"one": shared, "two": shared}, 1_000, "a value"))
        assert loaded == {"one": shared, "two": shared}
        assert loaded["one"] is loaded["two"]


@pytest.mark.parametrize(
    ("value", "limit", "error"),
    [
        (["fine", threading.Lock()], 1_000, UnserializableError),
        ([b"too large", bytes(100_000)], 1_000, SizeLimitError),
        (["fine", Interrupting()], 1_000, KeyboardInterrupt),
    ],
    ids=["cannot be pickled", "too large", "interrupted"],
)
async def test_an_encoder_is_fit_for_the_next_value_after_a_failure(value, limit: int, error: type[BaseException]):
    encoder = Encoder()

    for _ in range(2):
        with pytest.raises(error):
            encoder.encode(value, limit, "a value")
        assert rebuilt(encoder.encode({"next": "fine"}, 1_000, "the next")) == {"next": "fine"}


async def test_an_encoder_that_is_asked_while_it_pickles_keeps_the_two_apart():
    encoder = Encoder()

    outer, inner = rebuilt(encoder.encode(["outer", EncodesWhilePickled(encoder)], 1_000, "the outer value"))

    assert outer == "outer"
    assert pickle.loads(inner) == ["inner"]  # noqa: S301 - made here


async def test_an_encoder_keeps_nothing_of_what_it_has_pickled_alive():
    encoder, value = Encoder(), Named("gone")
    gone = weakref.ref(value)

    encoder.encode([value, value], 1_000, "a value")
    del value

    assert gone() is None
