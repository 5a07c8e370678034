"""Processor functions that run in workers. At module level, because they travel by name."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import dataclasses
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from async_processor.context import TaskContext, current_task_id
from async_processor.model import ProcessingTask

MIB = 1024 * 1024
# Longer than any test: nothing ever waits for its end.
FOR_EVER_S = 300.0


def nothing(task: ProcessingTask) -> None:
    return None


def echo(task: ProcessingTask) -> Any:
    return task.payload["value"]


def nap(task: ProcessingTask) -> int:
    time.sleep(task.payload["seconds"])
    return os.getpid()


def wait_for_file(task: ProcessingTask) -> int:
    """Run until the test makes the file."""
    while not Path(task.payload["path"]).exists():
        time.sleep(0.005)
    return os.getpid()


def nap_after_deaths(task: ProcessingTask, context: TaskContext) -> int:
    """Say in which process it runs, and in the first attempts wait there for the end."""
    if context.attempt <= task.payload["deaths"]:
        context.report_progress(0.0, str(os.getpid()))
        time.sleep(FOR_EVER_S)
    time.sleep(0.02)
    return int(task.payload["number"])


def my_pid(task: ProcessingTask) -> int:
    return os.getpid()


def fields_of(task: ProcessingTask) -> dict[str, Any]:
    return {item.name: getattr(task, item.name) for item in dataclasses.fields(task)}


def size_of(task: ProcessingTask) -> int:
    return len(task.payload["value"])


def make_bytes(task: ProcessingTask) -> bytes:
    return bytes(task.payload["size"])


# ---- ways to die


def exit_hard(task: ProcessingTask) -> None:
    os._exit(3)


def segfault(task: ProcessingTask) -> None:
    ctypes.string_at(0)


def abort(task: ProcessingTask) -> None:
    os.abort()


def terminate_itself(task: ProcessingTask) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(FOR_EVER_S)


class _Endless:
    def __repr__(self) -> str:
        return repr([self])


def overflow_stack(task: ProcessingTask) -> None:
    sys.setrecursionlimit(2**31 - 1)
    repr(_Endless())


def die_after_returning(task: ProcessingTask) -> str:
    threading.Timer(0.05, os._exit, [7]).start()
    return "returned"


def write_garbage_to_parent(task: ProcessingTask) -> None:
    for number, target in descriptors(task).items():
        if number > 2 and target.startswith("socket:"):
            os.write(number, b"\xff" * 64)
    time.sleep(FOR_EVER_S)


def close_everything(task: ProcessingTask) -> None:
    os.closerange(3, 256)


# ---- ways not to end


def spin(task: ProcessingTask) -> None:
    while True:
        pass


def hold_interpreter(task: ProcessingTask) -> None:
    """A loop in C that lets no other Python thread run, in a process that does not listen to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children = [subprocess.Popen(["sleep", str(FOR_EVER_S)]).pid for _ in range(2)]
    path = Path(task.payload["path"])
    path.with_suffix(".part").write_text(" ".join(map(str, [os.getpid(), *children])))
    path.with_suffix(".part").rename(path)
    ctypes.PyDLL(None).sleep(int(FOR_EVER_S))


def leave_child(task: ProcessingTask) -> int:
    return subprocess.Popen(["sleep", str(FOR_EVER_S)]).pid


# ---- a value that does something when it is handled


def _raise() -> None:
    raise ValueError("the bomb went off")


ACTIONS: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "exit": lambda: sys.exit("the bomb went off"),
    "crash": lambda: os._exit(9),
    "hang": lambda: time.sleep(FOR_EVER_S),
}


class Bomb:
    """Does ``action`` at one stage of its life ("pickle", "unpickle", "gc"), on one side ("parent", "child")."""

    def __init__(self, action: str, stage: str, side: str, parent: int) -> None:
        self.action = action
        self.fuse = (stage, side)
        self.parent = parent

    def __getstate__(self) -> dict[str, Any]:
        self._reach("pickle")
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reach("unpickle")

    def __del__(self) -> None:
        self._reach("gc")

    def _reach(self, stage: str) -> None:
        side = "parent" if os.getpid() == self.parent else "child"
        if (stage, side) == self.fuse:
            ACTIONS[self.action]()


def take(task: ProcessingTask) -> str:
    return "taken"


def act(task: ProcessingTask) -> None:
    ACTIONS[task.payload["action"]]()


def give_bomb(task: ProcessingTask) -> Bomb:
    return Bomb(*task.payload["bomb"])


# ---- errors that do not travel


class TwoPartsError(Exception):
    """Cannot be unpickled: its constructor wants more than its args."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what} ({code})")


class CarriesLockError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("carries a lock")
        self.lock = threading.Lock()


def raise_two_parts(task: ProcessingTask) -> None:
    raise TwoPartsError("broken", 7)


def raise_with_lock(task: ProcessingTask) -> None:
    raise CarriesLockError


def raise_local_class(task: ProcessingTask) -> None:
    class LocalError(Exception):
        pass

    raise LocalError("of a local class")


def raise_in_circle(task: ProcessingTask) -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


# ---- results that do not travel


def give_unsendable(task: ProcessingTask) -> Any:
    return {
        "lock": threading.Lock,
        "open file": lambda: Path(os.devnull).open(),
        "generator in a list": lambda: [(number for number in range(3))],
        "main module": lambda: sys.modules["__main__"].__dict__["__loader__"].__class__,
    }[task.payload["kind"]]()


# ---- what it is like in a worker


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def read_variable(task: ProcessingTask) -> str:
    return variable.get()


def thread_names(task: ProcessingTask) -> list[str]:
    """One for each thread of this process, Python's or not."""
    return [(item / "comm").read_text() for item in Path("/proc/self/task").iterdir()]


def time_left(task: ProcessingTask, context: TaskContext) -> float | None:
    return context.time_remaining()


async def raise_async(task: ProcessingTask) -> None:
    await asyncio.sleep(0)
    raise {
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "CancelledError": asyncio.CancelledError(),
        "GeneratorExit": GeneratorExit(),
        "TimeoutError": TimeoutError(),
    }[task.payload["kind"]]


async def spin_async(task: ProcessingTask) -> None:
    while True:
        pass


def surroundings(task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
    return {
        "task": current_task_id.get(),
        "argv": sys.argv,
        "folder": str(Path.cwd()),
        "environ": dict(os.environ),
        "stdin": sys.stdin.read(),
        "group": os.getpgrp() == os.getpid() == os.getsid(0),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "main": sys.modules["__main__"].__dict__.get("__file__"),
        "thread": threading.current_thread() is threading.main_thread(),
    }


def handlers(task: ProcessingTask) -> dict[int, str]:
    """Every signal's handler, by name."""
    found = {}
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        found[int(number)] = getattr(handler, "name", repr(handler))
    return found


def blocked_signals(task: ProcessingTask) -> list[int]:
    return [int(item) for item in signal.pthread_sigmask(signal.SIG_BLOCK, ())]


def descriptors(task: ProcessingTask) -> dict[int, str]:
    found = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that the listing used
    return found


def loaded_modules(task: ProcessingTask) -> set[str]:
    return {name.partition(".")[0] for name in sys.modules}


def log_a_line(task: ProcessingTask) -> int:
    """Would hang if a lock of the logging module had been copied while a thread of the parent held it."""
    logging.getLogger("tests.noise").info("a line of a worker")
    return os.getpid()


def print_much(task: ProcessingTask) -> None:
    line = "x" * 1023 + "\n"
    for _ in range(task.payload["kib"]):
        sys.stdout.write(line)
        sys.stderr.write(line)


_leftovers: list[Any] = []


async def leave_on_loop(task: ProcessingTask) -> None:
    """Leaves a task and an async generator behind."""

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            _leftovers.append("generator closed")

    generator = numbers()
    await anext(generator)
    _leftovers.append(asyncio.get_running_loop().create_task(asyncio.sleep(FOR_EVER_S)))
    _leftovers.append(generator)
    await asyncio.sleep(0)


def leftovers_of_loop(task: ProcessingTask) -> tuple[bool, str]:
    """What became of them: whether the task was cancelled, and what the generator said."""
    sleeping, _, said = _leftovers
    return sleeping.cancelled(), said


def report_often(task: ProcessingTask, context: TaskContext) -> int:
    """Report without pause for some time; gives how often."""
    until, count = time.monotonic() + task.payload["seconds"], 0
    while time.monotonic() < until:
        count += 1
        context.report_progress(0.5, f"report {count}")
    return count


def report_twice_and_wait(task: ProcessingTask, context: TaskContext) -> None:
    context.report_progress(0.1, "first")
    context.report_progress(0.2, "second")
    time.sleep(FOR_EVER_S)


_kept_context: list[TaskContext] = []


def keep_context(task: ProcessingTask, context: TaskContext) -> None:
    _kept_context.append(context)


def report_for_the_earlier(task: ProcessingTask, context: TaskContext) -> None:
    _kept_context.pop().report_progress(0.9, "too late")


def burn(task: ProcessingTask) -> None:
    threads = [threading.Thread(target=_burn, args=[task.payload["seconds"]]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def use_memory(task: ProcessingTask) -> int:
    """Fill so many MiB for a moment."""
    return len(b"x" * (task.payload["mib"] * MIB)) // MIB


_kept: list[bytes] = []


def keep_memory(task: ProcessingTask) -> int:
    """Fill so many MiB for good."""
    _kept.append(b"x" * (task.payload["mib"] * MIB))
    return os.getpid()


def allocate_without_end(task: ProcessingTask) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1024 * MIB, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hoard = []
    while True:
        hoard.append(b"x" * (16 * MIB))


def count_threads_of_numpy(task: ProcessingTask) -> int:
    """Threads of this process after numpy has set up its linear algebra."""
    import numpy as np

    square = np.ones((400, 400))
    square @ square
    return len(list(Path("/proc/self/task").iterdir()))


# ---- initializers


def mark_worker() -> None:
    os.environ["MARKED_BY_INITIALIZER"] = "yes"


def fail_to_initialize() -> None:
    raise ValueError("the model is missing")


def hang_in_initializer() -> None:
    time.sleep(FOR_EVER_S)


def exit_in_initializer() -> None:
    os._exit(5)


def fail_until_file_exists() -> None:
    if not Path(os.environ["INITIALIZER_WAITS_FOR"]).exists():
        raise RuntimeError("not yet")
