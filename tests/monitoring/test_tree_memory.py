import subprocess
import sys
import threading
import time

import pytest

from async_processor.clock import SystemClock
from async_processor.monitoring.tree_memory import TreeMemory
from async_processor.testing import VirtualClock

MIB = 1024 * 1024


def large_child():
    code = f"block = b'x' * (80 * {MIB}); print('ready', flush=True); input()"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_memory_is_read_anew_when_the_reading_is_half_a_second_old():
    clock = VirtualClock()
    memory = TreeMemory(clock)
    before = memory.current_mb

    block = b"x" * (60 * MIB)
    clock.advance(0.4)
    early = memory.current_mb
    clock.advance(0.2)
    late = memory.current_mb

    assert early == before
    assert late > before + 50
    assert len(block) == 60 * MIB


def test_the_peak_stays_when_memory_is_given_back():
    clock = VirtualClock()
    memory = TreeMemory(clock)
    before = memory.current_mb
    block = b"x" * (60 * MIB)
    clock.advance(1.0)
    during = memory.current_mb
    del block
    clock.advance(1.0)

    assert memory.current_mb < during
    assert memory.peak_mb == during > before


def test_the_thread_finds_children_and_counts_them():
    memory = TreeMemory(SystemClock())
    before = memory.current_mb
    with large_child() as child:
        assert child.stdout.readline() == b"ready\n"
        memory.start()
        try:
            until(lambda: memory.peak_mb > before + 75)
        finally:
            memory.stop()
            child.communicate(b"\n")


def test_a_child_that_has_ended_counts_no_more():
    clock = VirtualClock()
    memory = TreeMemory(clock)
    with large_child() as child:
        assert child.stdout.readline() == b"ready\n"
        memory.find()
        during = memory.current_mb
        child.communicate(b"\n")
    clock.advance(1.0)

    assert memory.current_mb < during - 75


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "async-processor-memory"]


def test_starting_and_stopping_twice_is_as_once_and_leaves_no_thread():
    memory = TreeMemory(SystemClock())

    memory.start()
    memory.start()
    assert len(threads()) == 1
    memory.stop()
    memory.stop()
    until(lambda: not threads())


# R5
def test_where_no_thread_can_be_had_memory_is_read_on_demand(caplog, no_threads_left):
    memory = TreeMemory(SystemClock())

    memory.start()
    memory.stop()

    assert memory.current_mb > 1.0
    assert "async-processor-memory" in caplog.text


@pytest.mark.parametrize("_", range(3))
def test_stopping_does_not_take_long(_):
    memory = TreeMemory(SystemClock())
    memory.start()

    began = time.monotonic()
    memory.stop()

    # A look at all processes may be under way; the wait for it ends after 0.2 s.
    assert time.monotonic() - began < 2.0


WITHOUT_DESCRIPTORS = """
import resource, threading, time
from async_processor.clock import SystemClock
from async_processor.monitoring.tree_memory import TreeMemory

memory = TreeMemory(SystemClock())
before = memory.current_mb
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
memory.start()
time.sleep(0.8)  # longer than a reading lasts, and than the thread waits for its first look
during = memory.current_mb
alive = any(thread.name == "async-processor-memory" for thread in threading.enumerate())
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
block = b"x" * (60 * 1024 * 1024)
after = memory.current_mb
memory.stop()
print(during == before, alive, after > before + 50)
"""


# R5
def test_without_descriptors_the_figures_stay_and_come_back():
    shown = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, timeout=50, check=False
    )

    assert (shown.stdout, shown.stderr) == ("True True True\n", "")
