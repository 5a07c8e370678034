"""What every lane does alike. A lane is put under this suite by a line in ``lane_kit.LANES``."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.execution import lane_functions as functions
from tests.execution.lane_kit import LANES, Bench, LaneCase, open_bench

from async_processor.context import DependencyResults
from async_processor.model import ProcessingTask, TaskResult, TaskStatus
from async_processor.outcome import MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS, Raised, Returned, Stopped, StopReason


@pytest.fixture(params=LANES, ids=list(LANES))
def case(request: pytest.FixtureRequest) -> LaneCase:
    return LANES[request.param]


@pytest.fixture
async def bench(case: LaneCase, no_leaks: None) -> AsyncIterator[Bench]:
    async with open_bench(case) as bench:
        yield bench


# ---- what a function returns


async def test_an_attempt_gives_what_its_function_returned(bench: Bench):
    assert await bench.outcome_of(bench.form(functions.double), {"number": 21}) == Returned(42)


@pytest.mark.parametrize(
    "value",
    [None, False, 0, -1.5, "", "grüße \N{TEDDY BEAR}", b"\x00\xff", [], {}, {"a": [1, (2, 3), {"b": None}]}, {1, 2}],
    ids=repr,
)
async def test_a_value_arrives_as_it_was_returned(bench: Bench, value: object):
    outcome = await bench.outcome_of(bench.form(functions.echo), {"value": value})

    assert isinstance(outcome, Returned)
    assert outcome.value == value
    assert type(outcome.value) is type(value)


async def test_a_large_value_arrives_whole(bench: Bench):
    size = 3 * 1024 * 1024

    outcome = await bench.outcome_of(bench.form(functions.many_bytes), {"size": size})

    assert isinstance(outcome, Returned)
    assert outcome.value == bytes(range(256)) * (size // 256)


async def test_a_function_may_be_a_partial_an_object_or_a_bound_method(bench: Bench):  # E27
    forms = (
        [functions.double_async, functions.AsAsync(functions.double), functions.Doubler().async_method]
        if bench.case.is_async
        else [functions.double, functions.Doubler(), functions.Doubler().method]
    )
    with_factor = functions.double_with_async if bench.case.is_async else functions.double_with
    forms.append(functools.partial(with_factor, factor=2))

    for form in forms:
        assert await bench.outcome_of(form, {"number": 3}) == Returned(6)


async def test_a_coroutine_is_awaited_or_refused_but_never_a_result(bench: Bench):  # E27
    outcome = await bench.outcome_of(bench.form(functions.return_coroutine))

    if isinstance(outcome, Raised):
        assert outcome.error.permanent
        assert "coroutine" in outcome.error.message
    else:
        assert outcome == Returned(5)


@pytest.mark.parametrize("body", [functions.return_generator, functions.return_async_generator])
async def test_a_generator_is_refused_and_the_task_named(bench: Bench, body):  # E27
    token = bench.run(bench.form(body))
    outcome = await bench.sink.outcome(token)

    assert isinstance(outcome, Raised)
    assert outcome.error.permanent
    assert "generator" in outcome.error.message
    assert f"task-{token}" in outcome.error.message


# ---- what a function raises


@pytest.mark.parametrize("name", functions.ERRORS)
async def test_whatever_a_function_raises_is_one_failure_and_the_slot_lives(bench: Bench, name: str):  # E23
    outcome = await bench.outcome_of(bench.form(functions.raise_error), {"error": name})

    assert isinstance(outcome, Raised)
    # Python itself turns a StopIteration that leaves a coroutine into a RuntimeError.
    turned = name == "StopIteration" and bench.case.is_async
    assert outcome.error.type_name == ("RuntimeError" if turned else name)
    assert 0 < len(outcome.error.message) < MAX_MESSAGE_CHARS + 100
    assert len(outcome.error.traceback or "") <= MAX_TRACEBACK_CHARS + 100
    assert not outcome.error.permanent
    assert not outcome.error.lane_failed
    outcome.error.message.encode()
    assert await bench.outcome_of(bench.form(functions.double), {"number": 2}) == Returned(4)


@pytest.mark.parametrize(
    ("name", "permanent", "retry_after"),
    [
        ("PermanentError", True, None),
        ("OwnPermanentError", True, None),
        ("RetryableError", False, 12.5),
        ("ValueError", False, None),
    ],
)
async def test_what_an_error_says_about_retries_survives(bench: Bench, name, permanent, retry_after):
    outcome = await bench.outcome_of(bench.form(functions.raise_error), {"error": name})

    assert isinstance(outcome, Raised)
    assert (outcome.error.type_name, outcome.error.permanent, outcome.error.retry_after) == (
        name,
        permanent,
        retry_after,
    )


async def test_a_failure_tells_where_it_happened_and_what_caused_it(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.raise_group_chain))

    assert isinstance(outcome, Raised)
    assert outcome.error.traceback is not None
    assert "in raise_group_chain" in outcome.error.traceback
    assert "KeyError: 'number'" in outcome.error.traceback
    assert "async_processor/execution" not in outcome.error.traceback


async def test_a_function_that_cannot_be_called_like_this_fails_with_the_reason(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.double_with), {"number": 1})

    assert isinstance(outcome, Raised)
    assert outcome.error.type_name == "TypeError"
    assert "factor" in outcome.error.message


# ---- what a function is told, and tells


async def test_the_context_tells_a_function_about_its_attempt(bench: Bench):
    task = ProcessingTask("work", {}, id="the-task", idempotency_key="the-key")
    earlier = TaskResult(task_id="before", status=TaskStatus.COMPLETED, result={"words": 3}, task_type="earlier")

    outcome = await bench.outcome_of(
        bench.form(functions.describe_context),
        task=task,
        wants_context=True,
        number=2,
        max_attempts=4,
        timeout=1_000.0,
        dependencies=DependencyResults({"before": earlier}),
    )

    assert isinstance(outcome, Returned)
    assert 900 < outcome.value.pop("time_remaining") <= 1_000
    assert outcome.value == {
        "task_id": "the-task",
        "task_type": "work",
        "attempt": 2,
        "max_attempts": 4,
        "idempotency_key": "the-key",
        "cancelled": False,
        "dependencies": {"before": {"words": 3}},
        "first": {"words": 3},
    }


async def test_without_a_timeout_there_is_no_deadline(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.describe_context), wants_context=True, timeout=None)

    assert isinstance(outcome, Returned)
    assert outcome.value["time_remaining"] is None
    assert outcome.value["idempotency_key"] == outcome.value["task_id"]


async def test_progress_arrives_before_the_end_and_the_newest_always_does(bench: Bench):
    token = bench.run(bench.form(functions.report_progress), {"parts": 2_000}, wants_context=True)

    assert await bench.sink.outcome(token) == Returned("reported")
    assert bench.sink.progress[-1] == (token, 1.0, "all")
    fractions = [fraction for _, fraction, _ in bench.sink.progress]
    assert fractions == sorted(fractions)


async def test_context_variables_of_the_submitter_are_seen_in_this_process_only(bench: Bench):  # T5
    variables = contextvars.copy_context()
    variables.run(functions.variable.set, "set by the submitter")

    outcome = await bench.outcome_of(bench.form(functions.read_variable), variables=variables)

    assert outcome == Returned("set by the submitter" if bench.case.in_process else "default")


async def test_context_variables_do_not_leak_from_one_attempt_to_the_next(bench: Bench):
    seen: list[int] = []

    def run_the_next(token: int) -> None:
        # As the engine does: what starts next is started from within the end of what ended.
        if not seen:
            seen.append(bench.run(bench.form(functions.read_variable)))

    bench.sink.on_end = run_the_next
    assert await bench.outcome_of(bench.form(functions.change_variable)) == Returned("changed by an attempt")

    assert await bench.sink.outcome(seen[0]) == Returned("default")


# ---- stopping


@pytest.mark.parametrize("reason", StopReason)
async def test_an_attempt_that_is_stopped_ends_as_the_engine_ends_it(bench: Bench, reason: StopReason):
    token = bench.run(bench.waiting, wants_context=True)
    await bench.sink.begun(token)

    bench.lane.stop(token, reason)
    if bench.lane.stop_grace > 0:
        outcome = await bench.sink.outcome(token)
        assert isinstance(outcome, Stopped)
    else:
        bench.abandon(token)

    # The slot is free for the next in the same moment.
    assert await bench.outcome_of(bench.form(functions.double), {"number": 4}) == Returned(8)


async def test_stopping_alone_is_enough_for_a_function_that_lets_itself_be_stopped(bench: Bench):  # T7
    token = bench.run(bench.waiting, wants_context=True)
    await bench.sink.begun(token)

    bench.lane.stop(token, StopReason.CANCELLED)
    bench.lane.stop(token, StopReason.SHUTDOWN)

    assert isinstance(await bench.sink.outcome(token), Stopped)


async def test_stopping_in_the_step_that_began_an_attempt_ends_it(bench: Bench):
    token = bench.run(bench.waiting, wants_context=True)
    bench.lane.stop(token, StopReason.CANCELLED)

    assert isinstance(await bench.sink.outcome(token), Stopped)


async def test_stopping_one_attempt_leaves_the_others_alone(bench: Bench):
    tokens = [bench.run(bench.waiting, slot=slot, wants_context=True) for slot in range(4)]
    for token in tokens:
        await bench.sink.begun(token)

    bench.lane.stop(tokens[2], StopReason.TIMEOUT)
    await bench.sink.outcome(tokens[2])

    assert list(bench.sink.ended) == [tokens[2]]
    for token in tokens:
        bench.lane.stop(token, StopReason.SHUTDOWN)
    for token in tokens:
        assert isinstance(await bench.sink.outcome(token), Stopped)


async def test_unknown_tokens_are_ignored(bench: Bench):
    ended = bench.run(bench.form(functions.double), {"number": 1})
    assert await bench.sink.outcome(ended) == Returned(2)

    for token in (ended, 999_999):
        bench.lane.stop(token, StopReason.CANCELLED)
        bench.lane.abandon(token)

    assert bench.lane.statistics().abandoned_total == 0
    assert await bench.outcome_of(bench.form(functions.double), {"number": 2}) == Returned(4)


async def test_an_abandoned_attempt_is_counted_and_its_slot_usable_at_once(bench: Bench):  # T4
    token = bench.run(bench.waiting, wants_context=True)
    await bench.sink.begun(token)

    bench.lane.stop(token, StopReason.TIMEOUT)
    bench.abandon(token)

    assert bench.lane.statistics().abandoned_total == 1
    assert await bench.outcome_of(bench.form(functions.double), {"number": 5}) == Returned(10)
    assert token not in bench.sink.ended


# ---- many


async def test_of_a_burst_every_attempt_ends_exactly_once(bench: Bench, tmp_path: Path):
    mark = tmp_path / "marks"
    payload = {"path": str(mark)}
    left = iter(range(196))
    slots: dict[int, int] = {}

    def run_next(slot: int) -> None:
        slots[bench.run(bench.form(functions.leave_a_mark), payload, slot=slot)] = slot

    def run_next_in_its_slot(token: int) -> None:
        if next(left, None) is not None:
            run_next(slots.pop(token))

    bench.sink.on_end = run_next_in_its_slot
    for slot in range(4):
        run_next(slot)
    await bench.sink.wait_until(lambda: len(bench.sink.ended) == 200)

    assert set(bench.sink.ended.values()) == {Returned(None)}
    assert mark.read_text().splitlines() == ["ran"] * 200


# ---- figures


async def test_with_profiling_processor_time_is_measured(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.burn), {"seconds": 0.05}, profile=True)

    assert isinstance(outcome, Returned)
    assert outcome.value > 0
    if bench.case.measures:
        assert outcome.measures.cpu_time is not None
        assert 0.05 <= outcome.measures.cpu_time < 1.0


async def test_a_failed_attempt_is_measured_too(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.raise_error), {"error": "ValueError"}, profile=True)

    assert isinstance(outcome, Raised)
    assert (outcome.measures.cpu_time is not None) == bench.case.measures


async def test_without_profiling_nothing_is_measured(bench: Bench):
    outcome = await bench.outcome_of(bench.form(functions.double), {"number": 1})

    assert outcome.measures.cpu_time is outcome.measures.profile is None


async def test_a_lane_in_order_is_healthy_and_has_lost_nothing(bench: Bench):
    await bench.outcome_of(bench.form(functions.double), {"number": 1})

    figures = bench.lane.statistics()
    assert (figures.healthy, figures.reason) == (True, "")
    assert (figures.abandoned, figures.abandoned_total, figures.stale_reports) == (0, 0, 0)


# ---- the end


async def test_closing_ends_what_runs_and_reports_it(bench: Bench):  # D11
    tokens = [bench.run(bench.waiting, slot=slot, wants_context=True) for slot in range(4)]
    for token in tokens:
        await bench.sink.begun(token)

    await bench.lane.aclose(10.0)

    assert sorted(bench.sink.ended) == tokens
    assert all(isinstance(outcome, Stopped) for outcome in bench.sink.ended.values())


async def test_closing_again_does_nothing(bench: Bench):
    await bench.outcome_of(bench.form(functions.double), {"number": 1})

    await bench.lane.aclose(10.0)
    await bench.lane.aclose(10.0)


async def test_a_lane_that_ran_nothing_closes(bench: Bench):
    await bench.lane.aclose(10.0)


async def test_lanes_come_and_go_without_a_trace(case: LaneCase, no_leaks: None):  # D11
    for _ in range(100 if case.in_process else 5):
        async with open_bench(case) as bench:
            assert await bench.outcome_of(bench.form(functions.double), {"number": 1}) == Returned(2)
