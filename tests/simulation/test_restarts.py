"""The engine and its journal through crashes: at every point in turn, and at random points of random lives."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from async_processor import (
    AdvancedAsyncProcessor,
    AsyncProcessorError,
    DuplicateTaskError,
    ProcessingTask,
    ProcessorConfig,
    TaskContext,
    TaskPriority,
    TaskResult,
    TaskStatus,
    create_task,
)
from async_processor.storage.base import Change
from async_processor.storage.memory import MemoryStore
from async_processor.testing import VirtualTimeLoop, run_virtual, virtual_processor

CONFIG = ProcessorConfig(retry_base_s=0.5, retry_max_s=1.0, cancel_grace_s=0.2, dependency_timeout_s=500.0)
SLOTS = 2


class KilledError(Exception):
    """This process is no more."""


class KillPointStore(MemoryStore):
    """Dies after so many changes, also in the middle of a commit: stricter than a store that commits all or nothing."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        super().__init__(wall=lambda: loop.clock.wall().timestamp())
        self.kill_after: int | None = None
        self.killed = asyncio.Event()

    def _apply(self, change: Change) -> AsyncProcessorError | None:
        if self.kill_after is not None:
            if self.kill_after == 0:
                self.kill_after = None
                self.crash()
                self.killed.set()
                raise KilledError
            self.kill_after -= 1
        return super()._apply(change)


class Life:
    """Tasks, what was promised about them, and what became of them, through several lives of a processor."""

    def __init__(self, store: KillPointStore) -> None:
        self.store = store
        self.accepted: set[str] = set()
        self.seen: dict[str, TaskResult] = {}
        self.attempts: defaultdict[str, list[int]] = defaultdict(list)
        self.faults: list[str] = []
        self.watchers: list[asyncio.Task[None]] = []

    async def body(self, task: ProcessingTask, context: TaskContext) -> Any:
        before = self.attempts[task.id]
        if before and context.attempt <= before[-1]:
            self.faults.append(f"attempt {context.attempt} of {task.id} after {before}")
        before.append(context.attempt)
        await asyncio.sleep(task.payload["seconds"])
        if task.payload["failures"] >= len(before):
            raise ValueError(f"failure {len(before)} of {task.id}")
        return {"id": task.id, "of": sorted(item for item in context.dependencies)}

    async def submit(self, processor: AdvancedAsyncProcessor, task: ProcessingTask) -> None:
        try:
            await processor.submit_task(task)
        except DuplicateTaskError:
            # Kept in an earlier life, though nobody may have been told.
            pass
        else:
            if task.id in self.accepted:
                self.faults.append(f"{task.id} was accepted, and is gone")
        self.accepted.add(task.id)

    async def watch(self, processor: AdvancedAsyncProcessor, task_id: str) -> None:
        result = await processor.wait_for_task(task_id)
        if self.store.killed.is_set():
            return
        if self.seen.setdefault(task_id, result) != result:
            self.faults.append(f"the result of {task_id} changed from {self.seen[task_id]} to {result}")

    def begin_to_watch(self, processor: AdvancedAsyncProcessor, task_id: str) -> None:
        self.watchers.append(asyncio.create_task(self.watch(processor, task_id)))

    def processor(self) -> AdvancedAsyncProcessor:
        processor = virtual_processor(store=self.store, config=CONFIG, max_workers=SLOTS)
        processor.register_processor("body", self.body)
        return processor


def quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), KilledError):
        loop.default_exception_handler(context)


async def one_life(life: Life, drive: Any) -> bool:
    """Run a processor until ``drive`` is through, or until it is killed; whether it was not."""
    life.store.killed.clear()
    processor = life.processor()
    work: asyncio.Task[None] | None = None
    try:
        await processor.start()
        work = asyncio.create_task(drive(processor))
        killed = asyncio.create_task(life.store.killed.wait())
        await asyncio.wait([work, killed], return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if work.done() and not life.store.killed.is_set():
            await work
            assert processor._engine is not None
            processor._engine.scheduler.check()
            return True
        return False
    except KilledError:
        return False
    finally:
        ended = [*life.watchers, *([work] if work is not None else [])]
        for task in ended:
            task.cancel()
        # What they raised at the death of their process concerns nobody.
        await asyncio.gather(*ended, return_exceptions=True)
        life.watchers.clear()
        await processor.shutdown(timeout=0)


# ---- every point in turn

STORY = {
    "a": {},
    "b": {"depends_on": ["a"], "failures": 1},
    "c": {"depends_on": ["a", "b"]},
    "d": {"failures": 99, "max_retries": 1},
    "e": {"depends_on": ["d"]},
    "f": {"depends_on": ["d"], "on_dependency_failure": "run"},
    "g": {"seconds": 50.0},
    "h": {"depends_on": ["g"]},
}
ENDS = {"a": "completed", "b": "completed", "c": "completed", "d": "failed", "e": "cancelled", "f": "completed",
        "g": "cancelled", "h": "cancelled"}  # fmt: skip


def story_task(name: str) -> ProcessingTask:
    options = dict(STORY[name])
    payload = {"seconds": options.pop("seconds", 0.3), "failures": options.pop("failures", 0)}
    return create_task("body", payload, id=name, **options)  # type: ignore[arg-type]


async def tell_story(life: Life, kill_after: int | None) -> int:
    """Live through the story with one kill; gives the number of changes it took."""
    asyncio.get_running_loop().set_exception_handler(quiet)
    life.store.kill_after = kill_after

    async def drive(processor: AdvancedAsyncProcessor) -> None:
        for name in STORY:
            await life.submit(processor, story_task(name))
            life.begin_to_watch(processor, name)
        await asyncio.sleep(1.0)
        await processor.cancel_task("g")
        await asyncio.gather(*life.watchers)

    while not await one_life(life, drive):
        pass
    return life.store.statistics().changes


def check_story(life: Life, where: str) -> None:
    assert life.faults == [], where
    assert {name: result.status.value for name, result in life.seen.items()} == ENDS, where
    assert life.seen["c"].result == {"id": "c", "of": ["a", "b"]}, where


def test_a_story_ends_the_same_wherever_it_is_killed():  # S4
    async def told(kill_after: int | None) -> tuple[Life, int]:
        life = Life(KillPointStore())
        return life, await tell_story(life, kill_after)

    life, changes = run_virtual(lambda: told(None))
    check_story(life, "not killed")
    assert changes > 25

    for point in range(changes):
        life, _ = run_virtual(lambda point=point: told(point))  # type: ignore[misc]
        check_story(life, f"killed after {point} of {changes} changes")


# ---- random lives


def random_tasks(rng: random.Random, count: int) -> Iterator[ProcessingTask]:
    for number in range(count):
        earlier = [f"t{item}" for item in range(max(0, number - 8), number)]
        yield create_task(
            "body",
            {"seconds": rng.choice([0.0, 0.0, 0.1, 1.0]), "failures": rng.choice([0, 0, 0, 1, 5])},
            rng.choice(list(TaskPriority)),
            id=f"t{number}",
            max_retries=rng.choice([0, 1, 3]),
            depends_on=rng.sample(earlier, min(len(earlier), rng.choice([0, 0, 1, 2]))),
            on_dependency_failure=rng.choice(["cancel", "run"]),
            **rng.choice([{}, {}, {"io_bound": True}, {"cpu_intensive": True}]),
        )


async def random_lives(seed: int, count: int) -> tuple[Life, int]:
    rng = random.Random(seed)
    asyncio.get_running_loop().set_exception_handler(quiet)
    life = Life(KillPointStore())
    tasks = list(random_tasks(rng, count))

    async def drive(processor: AdvancedAsyncProcessor) -> None:
        for task in tasks:
            await life.submit(processor, task)
            life.begin_to_watch(processor, task.id)
            if rng.random() < 0.1:
                await asyncio.sleep(rng.random())
        await asyncio.gather(*life.watchers)

    kills = 0
    life.store.kill_after = rng.randrange(1, 4 * count)
    while not await one_life(life, drive):
        kills += 1
        # The last life is let live, and each gets further than the first commits.
        life.store.kill_after = rng.randrange(20, 4 * count) if kills < 5 else None
    return life, kills


def check_random(life: Life, kills: int, count: int) -> None:
    assert life.faults == []
    assert life.seen.keys() == {f"t{number}" for number in range(count)}
    statuses = Counter(result.status for result in life.seen.values())
    assert statuses.keys() <= {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
    for task_id, attempts in life.attempts.items():
        # Only a kill can cost an attempt whose body ran and whose end nobody saw.
        assert attempts == sorted(set(attempts)), task_id
        assert life.seen[task_id].attempts >= len(attempts), task_id
    lost = sum(result.attempts - len(life.attempts[task_id]) for task_id, result in life.seen.items())
    assert lost <= kills * SLOTS * 3


@pytest.mark.parametrize("block", range(5))
def test_whatever_happens_what_was_accepted_ends_once_and_no_result_changes(block: int):  # S1
    for seed in range(block * 40, block * 40 + 40):
        life, kills = run_virtual(lambda seed=seed: random_lives(seed, 40), seed=seed)  # type: ignore[misc]
        try:
            check_random(life, kills, 40)
        except AssertionError:
            pytest.fail(f"seed {seed}: {life.faults}")


@pytest.mark.nightly
def test_whatever_happens_by_night_what_was_accepted_ends_once_and_no_result_changes():  # S1
    for seed in range(1_000, 6_000):
        life, kills = run_virtual(lambda seed=seed: random_lives(seed, 80), seed=seed)  # type: ignore[misc]
        check_random(life, kills, 80)
