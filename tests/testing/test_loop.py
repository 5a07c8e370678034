"""The loop on virtual time. It overrides private parts of asyncio, so what it relies on is held here."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from async_processor.testing import (
    DeadlockError,
    LivelockError,
    UnhandledError,
    VirtualClock,
    VirtualTimeLoop,
    run_virtual,
)
from async_processor.testing.task_steps import check_recognition, is_task_step


async def chatter(log: list[str], names: str, turns: int = 3) -> None:
    async def speak(name: str) -> None:
        for _ in range(turns):
            log.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*map(speak, names))


# ---- time


def test_an_hour_of_timers_takes_no_time():
    began = time.monotonic()

    async def tick() -> float:
        for _ in range(3_600):
            await asyncio.sleep(1.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(tick) == 3_600.0
    assert time.monotonic() - began < 30.0


def test_timers_fire_in_order_of_their_time_at_exactly_that_time():
    log = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.3, 0.1, 7.0, 0.2):
            loop.call_later(delay, lambda: log.append(loop.time()))
        await asyncio.sleep(10.0)

    run_virtual(main)

    assert log == [0.1, 0.2, 0.3, 7.0]


def test_time_does_not_pass_while_something_is_runnable():
    async def main() -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 0.0


def test_timeouts_of_asyncio_go_by_virtual_time():
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300.0):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 300.0


def test_the_clock_given_is_the_one_that_is_driven():
    clock = VirtualClock(start=100.0)

    run_virtual(asyncio.sleep(5.0), clock=clock)

    assert clock.monotonic() == 105.0


def test_a_timer_further_away_than_a_selector_may_wait_comes_in_time():
    # asyncio never sleeps longer than a day in one go.
    async def main() -> float:
        await asyncio.sleep(3 * 86_400.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(main, max_virtual_s=1e9) == 3 * 86_400.0


# ---- schedules


def test_without_a_seed_the_order_is_that_of_asyncio():
    virtual: list[str] = []
    real: list[str] = []

    run_virtual(chatter(virtual, "abcdef"))
    asyncio.run(chatter(real, "abcdef"))

    assert virtual == real


def test_a_seed_gives_one_order_and_seeds_give_many():
    def order(seed: int) -> str:
        log: list[str] = []
        run_virtual(chatter(log, "abcd"), seed=seed)
        return "".join(log)

    orders = [order(seed) for seed in range(50)]

    assert orders == [order(seed) for seed in range(50)]
    assert len(set(orders)) > 40
    assert all(sorted(item) == sorted("abcd" * 3) for item in orders)


def test_every_order_of_three_tasks_is_found():
    found = set()
    for seed in range(200):
        log: list[str] = []
        run_virtual(chatter(log, "abc", turns=1), seed=seed)
        found.add("".join(log))

    assert found == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_a_seed_lets_one_task_get_ahead_of_another_by_turns():
    # Held back for a turn, not only shuffled within one: both steps of one before the first of the other.
    found = set()
    for seed in range(300):
        log: list[str] = []
        run_virtual(chatter(log, "ab", turns=2), seed=seed)
        found.add("".join(log))

    assert {"aabb", "bbaa", "abab", "baba"} <= found


@pytest.mark.parametrize("seed", range(20))
def test_plain_callbacks_keep_the_order_that_asyncio_documents(seed: int):
    log: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        others = asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))
        for number in range(20):
            loop.call_soon(log.append, number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await others
        await asyncio.sleep(0.1)

    run_virtual(main, seed=seed)

    assert log == list(range(20))


def test_a_race_that_the_usual_order_hides_is_found_by_some_seed():
    async def racy() -> int:
        """Reads, gives way, writes: loses an update whenever both run between each other's steps."""
        value = 0

        async def add() -> None:
            nonlocal value
            seen = value
            await asyncio.sleep(0)
            value = seen + 1

        first = asyncio.create_task(add())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.create_task(add())
        await asyncio.gather(first, second)
        return value

    assert run_virtual(racy) == 2
    assert {run_virtual(racy, seed=seed) for seed in range(200)} == {1, 2}


def test_steps_of_tasks_are_recognised_on_this_python():
    check_recognition()


def test_steps_of_tasks_written_in_python_are_recognised_too():
    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        python_task = asyncio.tasks._PyTask(asyncio.sleep(0), loop=loop)
        seen = [is_task_step(handle._callback) for handle in loop._ready]
        await python_task
        return seen

    assert asyncio.run(main()) == [True]


def test_other_methods_of_a_task_are_plain_callbacks():
    async def main() -> list[bool]:
        task = asyncio.create_task(asyncio.sleep(0))
        return [is_task_step(item) for item in (task.cancel, task.get_name, print, lambda: None, asyncio.Event().set)]

    assert asyncio.run(main()) == [False] * 5


# ---- deadlocks and live-locks


def test_a_deadlock_is_found_and_names_who_waits_and_where():
    async def hold(mine: asyncio.Lock, other: asyncio.Lock) -> None:
        async with mine:
            await asyncio.sleep(1.0)
            async with other:
                pass

    async def main() -> None:
        left, right = asyncio.Lock(), asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            group.create_task(hold(left, right), name="philosopher 1")
            group.create_task(hold(right, left), name="philosopher 2")

    with pytest.raises(DeadlockError) as caught:
        run_virtual(main, seed=7)

    text = str(caught.value)
    assert "nothing is runnable and no timer is set at 1 s" in text
    assert "3 tasks wait (seed 7)" in text
    assert "philosopher 1 at Lock.acquire" in text
    assert "philosopher 2 at Lock.acquire" in text


def test_no_deadlock_is_seen_while_a_timer_is_set():
    async def main() -> str:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(1_000.0, event.set)
        await event.wait()
        return "woken"

    assert run_virtual(main) == "woken"


@pytest.mark.parametrize("seed", [None, 1])
def test_tasks_that_spin_without_end_are_a_live_lock(seed: int | None):
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - without end is the point
            await asyncio.sleep(0)

    with pytest.raises(LivelockError, match="no end after 500 turns"):
        run_virtual(spin, seed=seed, max_turns=500)


def test_polling_without_end_is_a_live_lock():
    async def poll() -> None:
        while True:  # noqa: ASYNC110 - without end is the point
            await asyncio.sleep(1.0)

    with pytest.raises(LivelockError, match="no end at 60 s of virtual time"):
        run_virtual(poll, max_virtual_s=60.0)


def test_what_is_left_is_cancelled_after_a_live_lock_and_ends_in_its_own_time():
    log = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(30.0)
            log.append("closed")

    async def main() -> None:
        asyncio.get_running_loop().keep = asyncio.create_task(stubborn())
        while True:  # noqa: ASYNC110 - without end is the point
            await asyncio.sleep(1.0)

    with pytest.raises(LivelockError):
        run_virtual(main, max_virtual_s=60.0)

    assert log == ["closed"]


def test_a_task_that_can_neither_go_on_nor_be_cancelled_does_not_hang_the_run():
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        asyncio.get_running_loop().keep = asyncio.create_task(stubborn())
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError) as caught:
        run_virtual(main)

    assert "after everything was cancelled" in caught.value.__notes__[0]


# ---- the run as a whole


def test_the_result_of_the_coroutine_is_the_result_of_the_run():
    async def answer() -> int:
        return 42

    assert (run_virtual(answer), run_virtual(answer())) == (42, 42)


def test_what_the_coroutine_raises_comes_out():
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        run_virtual(fail)


def test_left_over_tasks_are_cancelled_and_generators_closed():
    log = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            log.append("generator")

    async def background() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            log.append("task")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.keep = [asyncio.create_task(background()), numbers()]
        assert await anext(loop.keep[1]) == 1

    run_virtual(main)

    assert sorted(log) == ["generator", "task"]


def test_a_failure_that_nobody_is_told_of_fails_the_run():
    async def fail() -> None:
        raise ValueError("lost")

    async def main() -> None:
        asyncio.create_task(fail())  # noqa: RUF006 - that nobody holds it is the point
        await asyncio.sleep(1.0)

    with pytest.raises(UnhandledError, match=r"1 unhandled \(seed 3\).*lost") as caught:
        run_virtual(main, seed=3)

    assert isinstance(caught.value.__cause__, ValueError)


def test_nothing_is_left_open_after_many_runs():
    def descriptors() -> int:
        with socket.socket() as probe:
            return probe.fileno()

    before = descriptors()
    for seed in range(50):
        run_virtual(asyncio.sleep(1.0), seed=seed)

    assert descriptors() == before


def test_its_repr_tells_seed_time_and_turns():
    async def main() -> str:
        await asyncio.sleep(2.0)
        return repr(asyncio.get_running_loop())

    assert run_virtual(main) == "<VirtualTimeLoop seed=None time=2 turns=3>"


# ---- the real world


def test_descriptors_threads_and_executors_are_refused_in_virtual_time():
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        problems = []
        left, right = socket.socketpair()
        with left, right:
            for attempt in (
                lambda: loop.add_reader(left, print),
                lambda: loop.run_in_executor(None, print),
            ):
                with pytest.raises(RuntimeError, match="real_io=True") as caught:
                    attempt()
                problems.append(str(caught.value).split(" has ")[0])

        def call_in() -> None:
            with pytest.raises(RuntimeError, match="real_io=True") as caught:
                loop.call_soon_threadsafe(print)
            problems.append(str(caught.value).split(" has ")[0])

        thread = threading.Thread(target=call_in)
        thread.start()
        thread.join()
        return problems

    assert run_virtual(main) == ["a descriptor", "an executor", "a call from another thread"]


def test_the_loops_own_thread_may_call_in():
    async def main() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(event.set)
        return await event.wait()

    assert run_virtual(main)


def test_with_real_io_threads_and_descriptors_are_heard():
    async def main() -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            writing = loop.run_in_executor(None, right.sendall, b"hello")
            received = await loop.sock_recv(left, 100)
            await writing
        return received, await asyncio.to_thread(lambda: "from a thread")

    assert run_virtual(main, real_io=True) == (b"hello", "from a thread")


def test_with_real_io_a_thread_that_answers_soon_is_waited_for_before_time_jumps():
    gate = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        def answer() -> None:
            gate.wait()
            loop.call_soon_threadsafe(answered.set)

        threading.Thread(target=answer).start()
        gate.set()
        async with asyncio.timeout(3_600.0):
            await answered.wait()
        return loop.time()

    loop = VirtualTimeLoop(real_io=True, patience_s=30.0)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(main()) == 0.0


def test_with_real_io_timers_still_jump_when_nothing_real_happens():
    began = time.monotonic()

    assert run_virtual(asyncio.sleep(3_600.0, "woken"), real_io=True) == "woken"

    assert time.monotonic() - began < 60.0


def test_with_real_io_a_deadlock_is_still_found():
    loop = VirtualTimeLoop(real_io=True, patience_s=0.001)
    with pytest.raises(DeadlockError), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asyncio.Event().wait())
