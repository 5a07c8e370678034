"""The doorbell, rung from real threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable

import psutil
import pytest

from async_processor.execution.doorbell import Doorbell
from async_processor.testing.loop import VirtualTimeLoop

_where: contextvars.ContextVar[str] = contextvars.ContextVar("_where", default="nowhere")


@pytest.fixture(params=["descriptor", "no descriptors at all", "none left"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Also on systems without event descriptors, and in a process that has as many as it may."""
    if request.param == "no descriptors at all":
        monkeypatch.delattr(os, "eventfd")
    elif request.param == "none left":
        monkeypatch.setattr(os, "eventfd", _none_left)
    return str(request.param)


def _none_left(*_: object) -> int:
    raise OSError(24, "Too many open files")


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def heard(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def test_every_ring_is_answered_on_the_loop_with_the_context_variables_of_home(kind: str):
    answered, seen = asyncio.Event(), []
    home = contextvars.copy_context()
    home.run(_where.set, "home")

    def answer() -> None:
        seen.append((threading.get_ident(), _where.get()))
        answered.set()

    bell = Doorbell(asyncio.get_running_loop(), home, answer)
    for _ in range(3):
        answered.clear()
        in_thread(bell.ring)
        await heard(answered)
    bell.close()

    assert set(seen) == {(threading.get_ident(), "home")}
    assert len(seen) >= 3


async def test_rings_from_many_threads_at_once_are_all_answered_after_the_last(kind: str):
    rung, everything = 0, asyncio.Event()
    lock = threading.Lock()

    def answer() -> None:
        if rung == 400:
            everything.set()

    bell = Doorbell(asyncio.get_running_loop(), contextvars.copy_context(), answer)

    def ring() -> None:
        nonlocal rung
        for _ in range(100):
            with lock:
                rung += 1
            bell.ring()

    threads = [threading.Thread(target=ring) for _ in range(4)]
    for thread in threads:
        thread.start()
    await heard(everything)
    for thread in threads:
        thread.join()
    bell.close()


async def test_a_ring_around_the_closing_is_still_answered(kind: str):
    answered = asyncio.Event()
    bell = Doorbell(asyncio.get_running_loop(), contextvars.copy_context(), answered.set)

    in_thread(bell.ring)
    bell.close()
    await heard(answered)

    answered.clear()
    in_thread(bell.ring)
    await heard(answered)
    bell.close()  # once more does no harm


def test_its_descriptor_goes_with_it_when_its_loop_was_thrown_away():
    async def leave_it() -> Doorbell:
        return Doorbell(asyncio.get_running_loop(), contextvars.copy_context(), int)

    before = psutil.Process().num_fds()
    bell = asyncio.run(leave_it())
    in_thread(bell.ring)  # and nobody is told
    assert psutil.Process().num_fds() == before + 1
    del bell
    assert psutil.Process().num_fds() == before


def test_a_loop_that_watches_no_descriptors_is_rung_the_usual_way():
    loop = VirtualTimeLoop()
    answered = asyncio.Event()

    async def ring() -> None:
        bell = Doorbell(loop, contextvars.copy_context(), answered.set)
        bell.ring()
        await answered.wait()
        bell.close()

    loop.run_until_complete(ring())
    loop.close()
    assert answered.is_set()
