from __future__ import annotations

from datetime import timedelta

import pytest

from async_processor.clock import Clock
from async_processor.testing import VirtualClock


def test_time_stands_still_until_it_is_advanced():
    clock: Clock = VirtualClock()
    readings = [clock.monotonic(), clock.monotonic()]

    clock.advance(2.5)

    assert (*readings, clock.monotonic()) == (0.0, 0.0, 2.5)


def test_the_wall_clock_goes_along_and_is_aware():
    clock = VirtualClock()
    before = clock.wall()

    clock.advance(90.0)

    assert clock.wall() - before == timedelta(seconds=90)
    assert before.utcoffset() == timedelta(0)


@pytest.mark.parametrize("jump", [30 * 86_400.0, -3_600.0])
def test_the_wall_clock_can_jump_and_monotonic_time_takes_no_notice(jump: float):  # E22
    clock = VirtualClock(start=5.0)
    before = clock.wall()

    clock.jump_wall(jump)
    clock.advance(1.0)

    assert clock.wall() - before == timedelta(seconds=jump + 1)
    assert clock.monotonic() == 6.0


def test_the_wall_clock_can_run_at_another_rate_from_now_on():  # E22
    clock = VirtualClock()
    before = clock.wall()

    clock.advance(10.0)
    clock.set_wall_rate(100.0)
    clock.advance(1.0)
    clock.set_wall_rate(1.0)
    clock.advance(1.0)

    assert clock.wall() - before == timedelta(seconds=10 + 100 + 1)
    assert clock.monotonic() == 12.0


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_time_cannot_go_back_or_to_no_time(seconds: float):
    clock = VirtualClock()

    with pytest.raises(ValueError, match="only pass forwards"):
        clock.advance(seconds)

    assert clock.monotonic() == 0.0


def test_its_repr_tells_both_times():
    clock = VirtualClock()
    clock.advance(1.5)

    assert repr(clock) == "<VirtualClock 1.5 s, 2026-01-01T12:00:01.500000+00:00>"
