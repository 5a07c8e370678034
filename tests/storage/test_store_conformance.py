"""What every store does alike. A store is put under this suite by a line in ``store_kit.KITS``."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.storage.store_kit import KITS, NOW, WAIT_S, Desk, Kit, encoded, eventually, finished, opened, started

from async_processor.errors import DuplicateTaskError, StoreError, StoreLockedError
from async_processor.model import TaskStatus
from async_processor.storage.base import (
    AttemptRetried,
    CancelRequested,
    Change,
    HandedBack,
    StoredTask,
    TaskAccepted,
    TaskProgressed,
)
from async_processor.storage.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=KITS, ids=list(KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    return KITS[request.param](tmp_path)


@pytest.fixture
async def desk(kit: Kit, no_leaks: None) -> AsyncIterator[Desk]:
    async with opened(kit.store()) as desk:
        yield desk


# ---- what is accepted


async def test_a_task_is_found_as_it_was_accepted(desk: Desk):
    task = encoded("ü\N{TEDDY BEAR}", priority=1, key="k", depends_on=["z", "a", "m"], spec=b"\x00\xff" * 5_000)
    row = desk.store.new_row()

    await desk.keep(TaskAccepted(row, task))

    assert await desk.one(task.id) == StoredTask(row=row, task=task, status=TaskStatus.PENDING)


async def test_what_was_never_accepted_is_not_found(desk: Desk):
    await desk.accept("a")

    assert await desk.store.find([]) == {}
    assert await desk.ids("a", "b", "", "\ud800", "a" * 10_000) == {"a"}


async def test_a_second_task_of_one_id_is_refused_alone(desk: Desk):
    rows = [desk.store.new_row() for _ in range(64)]
    tasks = [encoded("twice" if number in (20, 40) else f"t{number}", key=f"k{row}") for number, row in enumerate(rows)]

    told = await desk.write(*(TaskAccepted(*item) for item in zip(rows, tasks, strict=True)))

    assert [number for number, error in enumerate(told) if error is not None] == [40]
    assert isinstance(told[40], DuplicateTaskError)
    assert told[40].task_id == "twice"
    assert [task.row for task in await desk.unfinished()] == rows[:40] + rows[41:]


async def test_an_id_is_refused_after_its_task_has_ended_and_after_a_restart(kit: Kit):
    async with opened(kit.store()) as desk:
        await desk.finish("a")
        assert isinstance((await desk.write(TaskAccepted(desk.store.new_row(), encoded("a"))))[0], DuplicateTaskError)
    async with opened(kit.store()) as desk:
        assert isinstance((await desk.write(TaskAccepted(desk.store.new_row(), encoded("a"))))[0], DuplicateTaskError)
        assert (await desk.one("a")).status is TaskStatus.COMPLETED


async def test_what_becomes_of_a_refused_task_concerns_nobody(desk: Desk):
    row = await desk.accept("a")
    refused = desk.store.new_row()

    told = await desk.write(TaskAccepted(refused, encoded("a")), started(refused), finished(refused))

    assert isinstance(told[0], DuplicateTaskError)
    assert told[1:] == [None, None]
    assert await desk.unfinished() == [StoredTask(row=row, task=encoded("a"), status=TaskStatus.PENDING)]


async def test_row_numbers_only_grow_also_over_restarts(kit: Kit):
    rows = []
    for life in range(3):
        async with opened(kit.store()) as desk:
            rows += [await desk.accept(f"{life}-{number}") for number in range(3)]

    assert rows == sorted(set(rows))


# ---- when it is told


async def test_nothing_is_told_of_before_write_returns_and_all_in_order_on_the_loop(desk: Desk):
    told: list[tuple[int, int, object]] = []
    rows = [desk.store.new_row() for _ in range(1_000)]

    for number, row in enumerate(rows):
        for change in (TaskAccepted(row, encoded(f"t{number}")), started(row), finished(row)):
            desk.store.write(change, lambda error, row=row: told.append((row, threading.get_ident(), error)))
    assert told == []
    async with asyncio.timeout(WAIT_S):
        await desk.store.flush()

    assert told == [(row, threading.get_ident(), None) for row in rows for _ in range(3)]


async def test_flush_returns_when_all_is_told_of_and_at_once_when_there_is_nothing(desk: Desk):
    told: list[object] = []
    await desk.store.flush()

    desk.store.write(TaskAccepted(desk.store.new_row(), encoded("a")), told.append)
    desk.store.write(TaskAccepted(desk.store.new_row(), encoded("b")))
    await desk.store.flush()

    assert told == [None]
    assert desk.store.pending == 0
    assert await desk.ids("a", "b") == {"a", "b"}


async def test_a_read_sees_what_was_written_right_before(desk: Desk):
    row = desk.store.new_row()

    desk.store.write(TaskAccepted(row, encoded("a")))
    desk.store.write(started(row))

    assert (await desk.one("a")).status is TaskStatus.RUNNING
    desk.store.write(finished(row))
    assert await desk.unfinished() == []


async def test_a_done_that_raises_keeps_no_other_from_being_told(desk: Desk):
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(type(context["exception"])))

    def broken(_: object) -> None:
        raise ZeroDivisionError

    for number in range(3):
        desk.store.write(
            TaskAccepted(desk.store.new_row(), encoded(f"t{number}")), broken if number == 1 else told.append
        )
    await desk.store.flush()

    assert told == [None, ZeroDivisionError, None]


# ---- attempts


async def test_an_attempt_is_counted_when_it_starts(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(TaskProgressed(row, 0.5, "old"), started(row, 1, NOW), TaskProgressed(row, 0.25, "half way \ud83e"))
    task = await desk.one("a")

    assert (task.status, task.attempt, task.started_at, task.first_started_at) == (TaskStatus.RUNNING, 1, NOW, NOW)
    assert task.progress == 0.25


async def test_a_new_attempt_keeps_the_first_start_and_clears_progress_and_due(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(started(row), TaskProgressed(row, 0.5, "x"), AttemptRetried(row, 1, NOW + 9, "broke"))
    waiting = await desk.one("a")
    await desk.keep(started(row, 2, NOW + 9))
    running = await desk.one("a")

    assert (waiting.status, waiting.due, waiting.error, waiting.attempt) == (TaskStatus.PENDING, NOW + 9, "broke", 1)
    assert (running.status, running.due, running.attempt) == (TaskStatus.RUNNING, None, 2)
    assert (running.first_started_at, running.started_at) == (NOW, NOW + 9)
    assert (running.progress, running.progress_message) == (None, None)


async def test_only_the_newest_progress_counts(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(started(row), *(TaskProgressed(row, number / 100, f"{number}") for number in range(100)))

    task = await desk.one("a")
    assert (task.progress, task.progress_message) == (0.99, "99")


async def test_a_task_handed_back_waits_again(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(started(row), HandedBack(row))

    task = await desk.one("a")
    assert (task.status, task.attempt, task.crashes) == (TaskStatus.PENDING, 1, 0)


async def test_a_task_that_was_asked_to_end_is_marked(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(started(row), CancelRequested(row))

    task = await desk.one("a")
    assert (task.status, task.cancel_requested) == (TaskStatus.RUNNING, True)


@pytest.mark.parametrize("status", [status for status in TaskStatus if status.is_terminal])
async def test_an_end_is_kept_whole(desk: Desk, status: TaskStatus):
    row = await desk.accept("a", depends_on=["b"])

    await desk.keep(started(row), finished(row, status, NOW + 3))

    task = await desk.one("a")
    assert task == StoredTask(
        row=row,
        task=encoded("a", depends_on=["b"]),
        status=status,
        attempt=1,
        first_started_at=NOW,
        started_at=NOW,
        finished_at=NOW + 3,
        error=None if status is TaskStatus.COMPLETED else "it broke",
        outcome=b"outcome",
        value=b"value" if status is TaskStatus.COMPLETED else None,
    )
    assert await desk.unfinished() == []


async def test_a_task_that_has_ended_stays_as_it_ended(desk: Desk):
    row = await desk.accept("a")
    await desk.keep(finished(row))
    before = await desk.one("a")

    changes = [started(row), AttemptRetried(row, 1, NOW, "x"), CancelRequested(row), HandedBack(row)]
    await desk.keep(*changes, TaskProgressed(row, 1.0, "x"), finished(row, TaskStatus.FAILED))

    assert await desk.one("a") == before


async def test_texts_for_people_never_keep_an_end_from_being_stored(desk: Desk):
    row = await desk.accept("a")

    await desk.keep(started(row), finished(row, TaskStatus.FAILED)._replace(error="lone \ud800 surrogate"))

    task = await desk.one("a")
    assert task.status is TaskStatus.FAILED
    assert task.error is not None
    assert task.error.startswith("lone ")


# ---- restarts


async def test_everything_is_there_after_a_restart(kit: Kit):
    async with opened(kit.store()) as desk:
        await desk.accept("waiting", depends_on=["later"])
        retried, ended = await desk.accept("retried"), await desk.accept("ended")
        await desk.keep(started(retried), AttemptRetried(retried, 1, NOW + 9, "broke"), finished(ended))
        before = await desk.store.find(["waiting", "retried", "ended"])
    async with opened(kit.store()) as desk:
        assert await desk.store.find(["waiting", "retried", "ended"]) == before
        assert [task.task.id for task in await desk.unfinished()] == ["waiting", "retried"]


async def test_an_attempt_that_ran_when_its_process_died_is_a_crash(kit: Kit):
    store = kit.store()
    desk = Desk(store)
    await store.open(desk.forgotten.extend)
    rows = [await desk.accept(task_id) for task_id in ("ran", "handed back", "waited", "retried", "cancelled")]
    await desk.keep(started(rows[0], 3), started(rows[1]), HandedBack(rows[1]))
    await desk.keep(started(rows[3]), AttemptRetried(rows[3], 1, NOW + 1, "x"), started(rows[4]))
    await desk.keep(CancelRequested(rows[4]))

    for life in range(1, 3):
        await kit.crash(desk.store)
        desk = Desk(kit.store())
        await desk.store.open(desk.forgotten.extend)
        found = {task.task.id: (task.status, task.attempt, task.crashes) for task in await desk.unfinished()}
        assert found == {
            "ran": (TaskStatus.PENDING, 2 + life, life),
            "handed back": (TaskStatus.PENDING, 1, 0),
            "waited": (TaskStatus.PENDING, 0, 0),
            "retried": (TaskStatus.PENDING, 1, 0),
            "cancelled": (TaskStatus.PENDING, 1, 1),
        }
        assert (await desk.one("cancelled")).cancel_requested
        await desk.keep(started(rows[0], 3 + life))
    await desk.store.aclose(WAIT_S)


async def test_unfinished_tasks_come_by_priority_and_then_in_order_of_acceptance(desk: Desk):
    priorities = [random.Random(7).randint(1, 5) for _ in range(700)]
    rows = [desk.store.new_row() for _ in priorities]
    await desk.keep(
        *(TaskAccepted(row, encoded(f"t{row}", priority=given)) for row, given in zip(rows, priorities, strict=True))
    )
    await desk.keep(*(finished(row) for row in rows[::7]))

    chunks = [chunk async for chunk in desk.store.unfinished()]

    found = [(task.task.priority, task.row) for chunk in chunks for task in chunk]
    left = [item for number, item in enumerate(zip(priorities, rows, strict=True)) if number % 7]
    assert found == sorted(left)
    assert all(0 < len(chunk) <= 256 for chunk in chunks)


async def test_tasks_may_come_and_go_while_the_unfinished_are_read(desk: Desk):
    rows = [await desk.accept(f"t{number}", priority=5) for number in range(300)]

    found = []
    async for chunk in desk.store.unfinished():
        found += [task.task.id for task in chunk]
        await desk.accept(f"new{len(found)}", priority=1)
        desk.store.write(finished(rows[299]))

    assert found[:299] == [f"t{number}" for number in range(299)]
    assert len(set(found)) == len(found)


# ---- keys


async def test_idempotency_keys_are_told_at_every_opening(kit: Kit):  # S21
    async with opened(kit.store()) as desk:
        assert desk.keys == {}
        await desk.accept("a", key="first")
        await desk.finish("b", key="second")
        await desk.accept("c")
    async with opened(kit.store()) as desk:
        assert desk.keys == {"first": "a", "second": "b"}


async def test_a_key_is_forgotten_with_its_task_and_that_is_told(kit: Kit):  # S21
    async with opened(kit.store(max_results=0)) as desk:
        await desk.finish("a", key="first")
        await desk.accept("b", key="second")
    async with opened(kit.store(max_results=0)) as desk:
        await eventually(lambda: _gone(desk, "a"))
    async with opened(kit.store(max_results=0)) as desk:
        assert desk.keys == {"second": "b"}


async def _gone(desk: Desk, *task_ids: str) -> bool:
    return not await desk.ids(*task_ids)


# ---- retention


async def test_the_oldest_results_beyond_the_number_are_forgotten_failures_apart(kit: Kit):
    settings = {"max_results": 3, "max_failures": 2}
    async with opened(kit.store(**settings)) as desk:
        for number in range(6):
            await desk.finish(f"ok{number}", at=NOW + number)
            await desk.finish(f"no{number}", TaskStatus(["failed", "timeout", "cancelled"][number % 3]), NOW + number)
    async with opened(kit.store(**settings)) as desk:
        await eventually(lambda: _gone(desk, "ok0", "ok1", "ok2", "no0", "no1", "no2", "no3"))
        assert len(await desk.ids("ok3", "ok4", "ok5", "no4", "no5")) == 5


async def test_results_are_forgotten_by_age_failures_later(kit: Kit):
    settings = {"result_ttl_s": 60.0, "failure_ttl_s": 600.0}
    async with opened(kit.store(**settings)) as desk:
        await desk.finish("ok", at=NOW)
        await desk.finish("newer", at=NOW + 30)
        await desk.finish("no", TaskStatus.FAILED, NOW)
        await desk.accept("waiting")
    for later, gone, left in (
        (59, [], ["ok", "newer", "no"]),
        (61, ["ok"], ["newer", "no"]),
        (601, ["newer", "no"], []),
    ):
        kit.clock.now = NOW + later
        async with opened(kit.store(**settings)) as desk:
            await eventually(lambda desk=desk, gone=gone: _gone(desk, *gone))
            assert await desk.ids(*left, "waiting") == {*left, "waiting"}


async def test_a_result_that_an_unfinished_task_depends_on_is_kept(kit: Kit):
    settings = {"max_results": 0, "max_failures": 0}
    async with opened(kit.store(**settings)) as desk:
        child = await desk.accept("child", depends_on=["needed", "never there"])
        grandchild = await desk.accept("grandchild", depends_on=["child"])
        await desk.finish("needed")
        await desk.finish("not needed")
    async with opened(kit.store(**settings)) as desk:
        await eventually(lambda: _gone(desk, "not needed"))
        assert await desk.ids("needed") == {"needed"}
        await desk.keep(finished(child))
    async with opened(kit.store(**settings)) as desk:
        await eventually(lambda: _gone(desk, "needed"))
        assert await desk.ids("child") == {"child"}
        await desk.keep(finished(grandchild, TaskStatus.FAILED))
    async with opened(kit.store(**settings)) as desk:
        await eventually(lambda: _gone(desk, "child", "grandchild"))


# ---- owners


async def test_a_store_has_one_owner(kit: Kit):  # S7
    async with opened(kit.store()) as desk:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreLockedError):
            await kit.store().open(desk.forgotten.extend)
        assert asyncio.get_running_loop().time() - began < 0.1
        await desk.accept("a")
    async with opened(kit.store()) as desk:
        assert await desk.ids("a") == {"a"}


async def test_closing_writes_what_is_left_and_tells_of_it(kit: Kit):
    told: list[object] = []
    store = kit.store()
    await store.open(told.extend)

    for number in range(1_000):
        store.write(TaskAccepted(store.new_row(), encoded(f"t{number}")), told.append)
    await store.aclose(WAIT_S)

    assert told == [None] * 1_000
    async with opened(kit.store()) as desk:
        assert len(await desk.unfinished()) == 1_000


async def test_closing_twice_or_at_once_is_closing_once(kit: Kit):
    store = kit.store()
    await store.aclose(WAIT_S)
    await store.open(lambda _: None)

    await asyncio.gather(store.aclose(WAIT_S), store.aclose(WAIT_S))
    await store.aclose(WAIT_S)

    async with opened(kit.store()) as desk:
        assert await desk.unfinished() == []


async def test_a_closed_store_refuses_everything(kit: Kit):
    store = kit.store()
    await store.open(lambda _: None)
    row = await Desk(store).accept("a")
    await store.aclose(WAIT_S)

    told = await Desk(store).write(TaskAccepted(row + 1, encoded("b")), started(row))

    assert all(isinstance(error, StoreError) for error in told)
    with pytest.raises(StoreError):
        await store.find(["a"])
    with pytest.raises(StoreError):
        await Desk(store).unfinished()
    await store.flush()


async def test_figures_say_what_happens(desk: Desk):
    before = desk.store.statistics()
    row = desk.store.new_row()
    desk.store.write(TaskAccepted(row, encoded("a")))
    pending = (desk.store.pending, desk.store.statistics().pending_changes)
    await desk.keep(started(row), finished(row))
    after = desk.store.statistics()

    assert pending == (1, 1)
    assert (before.changes, after.changes, after.pending_changes, after.failing) == (0, 3, 0, "")
    assert after.commits > before.commits


# ---- all stores are one store


@pytest.mark.parametrize("seed", range(3))
async def test_random_histories_leave_what_they_leave_in_memory(kit: Kit, seed: int):
    """The store in memory is simple enough to be read; the others must not differ from it in anything."""
    dice = random.Random(seed)
    model = MemoryStore(wall=lambda: NOW)
    await model.open(lambda _: None)
    store = kit.store()
    await store.open(lambda _: None)
    ids = [f"t{number}" for number in range(40)]
    rows = itertools.count(1)

    for _ in range(12):
        changes = [_any_change(dice, ids) for _ in range(dice.randint(1, 60))]
        changes = [item._replace(row=next(rows)) if isinstance(item, TaskAccepted) else item for item in changes]
        told = await Desk(store).write(*changes)
        expected = await Desk(model).write(*changes)
        assert [type(error) for error in told] == [type(error) for error in expected]
        assert await store.find(ids) == await model.find(ids)
        if dice.random() < 0.3:
            await kit.crash(store)
            model.crash()
            store = kit.store()
            assert await store.open(lambda _: None) == await model.open(lambda _: None)
            assert await Desk(store).unfinished() == await Desk(model).unfinished()

    await store.aclose(WAIT_S)
    await model.aclose(WAIT_S)


def _any_change(dice: random.Random, ids: list[str]) -> Change:
    row = dice.randint(1, 40)
    text = dice.choice(["", "x", "grüße"])
    return dice.choice(
        [
            TaskAccepted(0, encoded(dice.choice(ids), priority=dice.randint(1, 5), depends_on=dice.sample(ids, 2))),
            started(row, dice.randint(1, 9), NOW + dice.random()),
            started(row, dice.randint(1, 9), NOW + dice.random()),
            AttemptRetried(row, 1, NOW + dice.random(), text),
            CancelRequested(row),
            HandedBack(row),
            TaskProgressed(row, dice.random(), text),
            finished(row, dice.choice([status for status in TaskStatus if status.is_terminal]), NOW + dice.random()),
        ]
    )
