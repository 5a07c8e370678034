"""When full collections happen: the real collector, with garbage that only a full one finds."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
from tests.monitoring.events import Play

from async_processor import ProcessorConfig, create_task
from async_processor.monitoring.collector import ATTEMPTS_PER_COLLECTION, LONGEST_WAIT_S, QUIET_S, QuietCollector
from async_processor.testing import run_virtual, virtual_processor

OLDEST = 2
THRESHOLDS = (700, 10, 10)


class Knot:
    """Garbage, once nobody holds it: it holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    yield
    assert gc.get_threshold() == THRESHOLDS, "the collector is left as it was found"
    gc.set_threshold(*before)


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that were collected, each as it was."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def old_garbage() -> weakref.ref[Knot]:
    """Garbage that has become old, with a full collection due by Python's own count."""
    knot = Knot()
    while gc.get_count()[OLDEST] <= THRESHOLDS[OLDEST]:
        gc.collect(1)
    return weakref.ref(knot)


def held() -> bool:
    return gc.get_threshold()[OLDEST] > 1_000_000


def test_a_full_collection_waits_until_no_task_has_run_for_a_while():
    async def main() -> None:
        quiet = QuietCollector()
        play = Play(quiet)
        play.begin("first")
        play.begin("second")
        garbage = old_garbage()

        play.end("first")
        await asyncio.sleep(QUIET_S * 2)
        assert held(), "the other runs"
        assert garbage() is not None

        play.end("second")
        await asyncio.sleep(QUIET_S / 2)
        play.attempt("a third in between")
        assert garbage() is not None
        await asyncio.sleep(QUIET_S)

        assert garbage() is None
        assert not held()

    run_virtual(main)


def test_python_collects_by_its_own_rules_while_nothing_runs():
    async def main() -> None:
        quiet = QuietCollector()
        Play(quiet).attempt("a")
        await asyncio.sleep(QUIET_S)
        assert gc.get_threshold() == THRESHOLDS

    run_virtual(main)


def test_work_that_never_pauses_is_not_let_grow_without_end():
    async def main() -> None:
        quiet = QuietCollector(now=lambda: 0.0)  # as if a collection took no time
        Play(quiet).begin("endless")
        for _ in range(2):
            garbage = old_garbage()
            await asyncio.sleep(LONGEST_WAIT_S)
            assert garbage() is None
            assert held()
        quiet.stopped(0.0)

    run_virtual(main)


def test_full_collections_take_a_hundredth_of_the_time_at_most():
    # When one begins and has ended, and then when the next ones would begin.
    times = iter([10.0, 11.0, 110.9, 111.1, 111.2])

    async def main() -> None:
        quiet = QuietCollector(now=times.__next__)
        play = Play(quiet)
        left = []
        for _ in range(3):
            play.begin("a")
            garbage = old_garbage()
            play.end("a")
            await asyncio.sleep(QUIET_S)
            left.append(garbage() is not None)
        assert left == [False, True, False]

    run_virtual(main)


def test_young_objects_are_looked_at_often_enough_for_each_look_to_be_short(collections: list[int]):
    async def main() -> None:
        quiet = QuietCollector()
        play = Play(quiet)
        play.begin("keeps it from being quiet")
        kept = []
        collections.clear()
        gc.set_threshold(0, 10, gc.get_threshold()[OLDEST])  # nothing by itself: as when as many are freed as made
        for number in range(3 * ATTEMPTS_PER_COLLECTION):
            play.attempt(f"t-{number}")
            kept.append(Knot())
        assert collections == [1, 1, 1]
        gc.set_threshold(700, 10, gc.get_threshold()[OLDEST])
        quiet.stopped(0.0)

    run_virtual(main)


def test_the_last_of_several_processors_lets_go():
    async def main() -> None:
        first, second = QuietCollector(), QuietCollector()
        for quiet in (first, second):
            Play(quiet).begin("a")
        first.stopped(0.0)
        assert held()
        second.stopped(0.0)
        assert not held()

    run_virtual(main)


@pytest.mark.parametrize("switch_off", [gc.disable, functools.partial(gc.set_threshold, 0)])
def test_a_collector_that_the_application_switched_off_stays_alone(
    switch_off: Callable[..., None], collections: list[int]
):
    async def main() -> None:
        quiet = QuietCollector()
        play = Play(quiet)
        for number in range(ATTEMPTS_PER_COLLECTION):
            play.attempt(f"t-{number}")
        assert not held()
        await asyncio.sleep(QUIET_S)

    switch_off()
    try:
        run_virtual(main)
    finally:
        gc.enable()
        gc.set_threshold(*THRESHOLDS)
    assert collections == []


def test_a_threshold_that_the_application_sets_meanwhile_stays():
    async def main() -> None:
        quiet = QuietCollector()
        Play(quiet).begin("a")
        gc.set_threshold(700, 10, 33)
        quiet.stopped(0.0)
        assert gc.get_threshold() == (700, 10, 33)
        gc.set_threshold(*THRESHOLDS)

    run_virtual(main)


@pytest.mark.parametrize("setting", ["automatic", "when_quiet"])
def test_a_processor_puts_collections_off_only_where_it_is_told_to(setting: str, collections: list[int]):
    seen: list[bool] = []

    def look(_: object) -> None:
        seen.append(held())
        if len(seen) == 2:
            raise ValueError("one that fails has ended, too")

    async def main() -> None:
        config = ProcessorConfig(garbage_collection=setting)
        async with virtual_processor(config=config, max_workers=1) as processor:
            processor.register_processor("look", look)
            for _ in range(3):
                await processor.submit_task(create_task("look", max_retries=0))
            await processor.wait_until_idle()
            await asyncio.sleep(QUIET_S)
            assert not held()

    run_virtual(main)
    assert seen == [setting == "when_quiet"] * 3


def test_an_attempt_that_is_given_up_is_waited_for_no_longer():
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with virtual_processor(config=ProcessorConfig(garbage_collection="when_quiet")) as processor:
            processor.register_processor("never", never)
            task = await processor.submit_task(create_task("never", timeout=1.0, max_retries=0))
            await asyncio.sleep(0.5)
            assert held()
            await processor.wait_for_task(task)
            await asyncio.sleep(QUIET_S)
            assert not held()

    run_virtual(main)
