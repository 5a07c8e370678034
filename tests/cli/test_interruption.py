from __future__ import annotations

import asyncio
import os
import signal

import pytest

from async_processor.cli.interruption import InterruptedBySignal, interruptible


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_work_and_is_named(number: signal.Signals):
    with interruptible() as interruption:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)

        with pytest.raises(InterruptedBySignal) as caught:
            await interruption.run(forever())

    assert caught.value.number == number


async def test_a_signal_before_the_work_keeps_it_from_starting():
    with interruptible() as interruption:
        interruption.receive(signal.SIGTERM)

        with pytest.raises(InterruptedBySignal):
            await interruption.run(forever())


async def test_a_second_signal_does_not_disturb_the_clearing_up():
    cleared = asyncio.Event()

    async def work() -> None:
        try:
            await forever()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            cleared.set()

    with interruptible() as interruption:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)

        with pytest.raises(InterruptedBySignal):
            await interruption.run(work())

    assert cleared.is_set()


async def test_work_that_is_done_before_the_signal_gives_its_result():
    async def work() -> int:
        return 42

    with interruptible() as interruption:
        assert await interruption.run(work()) == 42
        interruption.receive(signal.SIGINT)


async def test_an_error_of_the_work_is_passed_on():
    async def work() -> None:
        raise LookupError("gone")

    with interruptible() as interruption, pytest.raises(LookupError):
        await interruption.run(work())


async def test_afterwards_the_signals_mean_what_they_meant():
    with interruptible():
        pass

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
