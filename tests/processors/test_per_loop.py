"""One of something per event loop."""

from __future__ import annotations

import asyncio

import pytest

from async_processor.processors.per_loop import PerLoop


class Opened:
    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def per_loop() -> PerLoop[Opened]:
    return PerLoop(Opened, lambda opened: opened.aclose())


def test_a_loop_has_one_and_another_loop_another():
    kept = per_loop()

    async def twice() -> tuple[Opened, Opened]:
        return kept.get(), kept.get()

    first, again = asyncio.run(twice())
    other, _ = asyncio.run(twice())

    assert first is again
    assert other is not first


async def test_what_was_closed_is_opened_anew_and_closed_once():
    kept = per_loop()
    await kept.aclose()
    first = kept.get()

    await kept.aclose()
    await kept.aclose()

    assert first.closed == 1
    assert kept.get() is not first


async def test_what_cannot_be_opened_is_tried_again():
    tries: list[int] = []

    def fail_once() -> Opened:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError
        return Opened()

    kept = PerLoop(fail_once, lambda opened: opened.aclose())
    with pytest.raises(LookupError):
        kept.get()

    assert kept.get() is kept.get()
    assert len(tries) == 2
