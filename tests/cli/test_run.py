"""``async-processor run`` as a process of its own: what it runs, and how signals end it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.source_code import ROOT

from async_processor.storage.sqlite_view import StoreView

COMMAND = [sys.executable, "-m", "tests.cli.command"]
PROGRAM = "tests.cli.programs"


class Program:
    """One ``async-processor run`` in a process group of its own."""

    def __init__(self, folder: Path, function: str, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.store = folder / "tasks.db"
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, "run", f"{PROGRAM}:{function}", "--store", f"sqlite:///{self.store}", *options],
            cwd=ROOT,
            env={**os.environ, "PROGRAM_FOLDER": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.01)

    def end(self, seconds: float = 20.0) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        try:
            out, error = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self.process.returncode, out, error

    def close(self) -> None:
        """Leave nothing of it, whatever the test found."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


Launch = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts programs on the test's own folder; those still there at its end are killed."""
    programs: list[Program] = []

    def start(function: str, *options: str, prefix: tuple[str, ...] = ()) -> Program:
        programs.append(Program(tmp_path, function, *options, prefix=prefix))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def finish(launch: Launch) -> None:
    """Let a further life do what is left."""
    code, _, error = launch("setup", "--until-idle").end()
    assert code == 0, error


def assert_nothing_lost(folder: Path) -> None:
    view = StoreView(str(folder / "tasks.db"))
    accepted = (folder / "accepted").read_text(encoding="ascii").splitlines()
    lines = {line.id: line.status for line in view.tasks(limit=1_000)}
    if len(accepted) < 1_000:
        assert [item for item in accepted if lines.get(item) != "completed"] == []
    # Cancelled is who was being submitted when the signal ended its submitter: nobody knows of it.
    assert view.counts().of_status("pending", "running", "failed", "timeout") == 0
    assert view.counts().of_status("completed") >= len(accepted)


# ---- without signals


def test_it_ends_by_itself_when_nothing_is_left_to_do(launch: Launch, tmp_path: Path):
    code, _, error = launch("few", "--until-idle").end()

    assert (code, error) == (0, "")
    assert StoreView(str(tmp_path / "tasks.db")).counts().of_status("completed") == 5


def test_a_plain_function_registers_before_what_the_store_holds_is_taken_up(launch: Launch, tmp_path: Path):
    first = launch("stubborn", "--timeout", "0")
    first.until(lambda: len(first.lines("ledger")) >= 3)
    first.process.terminate()
    assert first.end()[0] == 143

    second = launch("setup", "--timeout", "0")
    second.until(lambda: [line.split()[0] for line in second.lines("ledger")].count("began") >= 6)
    second.process.terminate()
    assert second.end()[0] == 143


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("nowhere:setup", "no module 'nowhere'"),
        (f"{PROGRAM}:nothing", "has no 'nothing'"),
        (f"{PROGRAM}:broken", "must be a function"),
        ("programs", "MODULE:FUNCTION"),
    ],
)
def test_a_program_that_is_not_there_is_a_wrong_call(program: str, says: str):
    ran = subprocess.run([*COMMAND, "run", program], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_store_that_another_has_is_refused_with_its_owner(launch: Launch, tmp_path: Path):
    first = launch("setup")
    first.until((tmp_path / "tasks.db").exists)
    code, _, error = launch("setup").end()
    first.process.terminate()

    assert first.end()[0] == 143
    assert code == 1
    assert f"process {first.process.pid}" in error


# ---- signals


@pytest.mark.parametrize(
    "moments", [pytest.param(5, id="some"), pytest.param(100, id="many", marks=pytest.mark.nightly)]
)
def test_sigterm_at_any_moment_ends_it_in_order_and_loses_nothing(moments: int, launch: Launch, tmp_path: Path):  # D5
    rng = random.Random(5)
    for moment in range(moments):
        program = launch("busy", "--timeout", "2")
        before = len(program.lines("accepted"))
        program.until(lambda program=program, before=before: len(program.lines("accepted")) > before)  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.3))
        children = program.children()
        program.process.terminate()
        began = time.monotonic()
        code, out, error = program.end()

        assert (code, out) == (143, ""), (moment, error)
        # The timeout and a second, and what an interpreter takes to end.
        assert time.monotonic() - began < 5.0
        assert error.startswith("async-processor run: stopped by SIGTERM; "), (moment, error)
        assert error.count("\n") == 1, error
        assert psutil.wait_procs(children, timeout=2.0)[1] == []
        ledger = [line.split() for line in program.lines("ledger")]
        naps = {name for what, name in ledger if what == "began"}
        assert naps == {name for what, name in ledger if what == "left"}
    finish(launch)
    assert_nothing_lost(tmp_path)


def test_as_process_1_of_a_container_it_ends_the_same(launch: Launch, tmp_path: Path):  # D6
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs permission to make a process namespace")
    program = launch("busy", "--timeout", "2", prefix=inside)
    program.until(lambda: len(program.lines("accepted")) > 5)
    (first,) = psutil.Process(program.process.pid).children()
    assert first.cmdline()[0] == sys.executable
    first.terminate()
    code, _, error = program.end()

    assert code == 143, error
    assert error.startswith("async-processor run: stopped by SIGTERM; ")
    finish(launch)
    assert_nothing_lost(tmp_path)


def test_ctrl_c_reaches_the_whole_group_and_is_answered_by_one_line(launch: Launch, tmp_path: Path):  # D8
    program = launch("stubborn", "--timeout", "0.5")
    program.until(lambda: len(program.lines("ledger")) >= 3)
    os.killpg(program.process.pid, signal.SIGINT)
    began = time.monotonic()
    code, out, error = program.end()

    assert (code, out) == (130, "")
    assert error == "async-processor run: stopped by SIGINT; 3 tasks stay in the store for the next start\n"
    assert time.monotonic() - began < 3.5


def test_a_second_ctrl_c_ends_it_at_once_and_its_workers_with_it(launch: Launch, tmp_path: Path):  # D8
    program = launch("stubborn", "--timeout", "60")
    program.until(lambda: len(program.lines("ledger")) >= 3)
    children = program.children()
    os.killpg(program.process.pid, signal.SIGINT)
    time.sleep(0.3)  # The first is being answered: two signals at one moment are one to the kernel.
    assert program.process.poll() is None
    os.killpg(program.process.pid, signal.SIGINT)
    began = time.monotonic()
    code, _, error = program.end()

    assert code == 130
    assert "ended at once" in error
    assert time.monotonic() - began < 2.0
    _, alive = psutil.wait_procs(children, timeout=2.0)
    assert alive == []
    assert StoreView(str(tmp_path / "tasks.db")).counts().of_status("pending", "running") == 3


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_sigterm_while_tasks_are_taken_up_loses_none(
    delay: float, launch: Launch, tmp_path: Path, many_tasks: Path
):  # D12
    shutil.copy(many_tasks, tmp_path / "tasks.db")
    (tmp_path / "ledger").touch()
    program = launch("setup", "--timeout", "1")
    program.until(lambda: len(program.lines("ledger")) > 0)
    time.sleep(delay)
    program.process.terminate()
    began = time.monotonic()
    code, _, error = program.end()

    assert code == 143, error
    assert time.monotonic() - began < 4.0
    counts = StoreView(str(tmp_path / "tasks.db")).counts()
    assert counts.of_status("pending", "completed") == 5_000
    # Those that were stopped have left too, and go on at the next start.
    assert counts.of_status("completed") <= sum(line.startswith("left") for line in program.lines("ledger"))


@pytest.fixture(scope="module")
def many_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with five thousand tasks that nobody has begun."""
    folder = tmp_path_factory.mktemp("many")
    script = """
import asyncio, sys, time
from async_processor import create_task
from async_processor.storage.base import TaskAccepted
from async_processor.storage.sqlite_store import SqliteStore
from async_processor.storage.task_codec import encode_task

async def main():
    store = SqliteStore(sys.argv[1], durability="process")
    await store.open(lambda _: None)
    for _ in range(5_000):
        task = create_task("nap", {"seconds": 0.0})
        store.write(TaskAccepted(store.new_row(), encode_task(task, time.time())))
    await store.aclose(20.0)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script, str(folder / "tasks.db")], check=True, timeout=30)
    return folder / "tasks.db"


# ---- the library itself


def test_the_library_installs_no_signal_handlers():  # D7
    script = """
import asyncio, signal
from async_processor import AdvancedAsyncProcessor, create_task

def own(number, frame):
    raise SystemExit(5)

async def main():
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("noop", lambda task: None)
        for hints in ({}, {"cpu_intensive": True}):
            await processor.wait_for_task(await processor.submit_task(create_task("noop", **hints)))
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before

signal.signal(signal.SIGTERM, own)
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


def test_it_works_off_the_main_thread_where_no_handler_can_be_installed():  # D7
    script = """
import asyncio, threading
from async_processor import AdvancedAsyncProcessor, create_task

async def main():
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("noop", lambda task: 7)
        result = await processor.wait_for_task(await processor.submit_task(create_task("noop")))
        print(result.result)

thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start()
thread.join()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)

    assert (ran.stdout, ran.stderr) == ("7\n", "")
