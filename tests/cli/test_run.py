"""``async-processor run`` as a process of its own: what it runs, and how signals end it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tests.cli.running import COMMAND, PROGRAM, SLACK_S, Launch, assert_gone, ended, run
from tests.cli.stores import make_store
from tests.source_code import ROOT

from async_processor.storage.sqlite_view import StoreView

MANY = 20_000


def finish(launch: Launch) -> None:
    """Let a further life do what is left."""
    code, _, error = launch("setup", "--until-idle").end()
    assert code == 0, error


def assert_nothing_lost(folder: Path) -> None:
    accepted = set((folder / "accepted").read_text(encoding="ascii").splitlines())
    with closing(sqlite3.connect(folder / "tasks.db")) as connection:
        completed = {
            item
            for (item,) in connection.execute(
                "SELECT id FROM finished JOIN tasks ON tasks.row = finished.row WHERE status = 'completed'"
            )
        }
    assert accepted - completed == set()
    # Cancelled is who was being submitted when the signal ended its submitter: nobody knows of it.
    counts = StoreView(str(folder / "tasks.db")).counts()
    assert counts.of_status("pending", "running", "failed", "timeout") == 0


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
    ran = run(program)

    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf"])
def test_a_time_that_nobody_can_wait_for_is_a_wrong_call(timeout: str):
    ran = run(f"{PROGRAM}:few", f"--timeout={timeout}", "--until-idle")

    assert ran.returncode == 2
    assert "--timeout must be" in ran.stderr


def test_a_payload_that_its_type_cannot_use_ends_the_program_with_a_sentence():
    ran = run(f"{PROGRAM}:slip", "--until-idle")

    assert ran.returncode == 1
    assert ran.stderr.startswith("async-processor run: task 'slip' is not accepted: payload['text'] is missing; send")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("code", ["import nowhere", "object.nothing", "def setup(processor): object.nothing"])
def test_what_is_wrong_within_a_program_is_shown_with_its_place(code: str, tmp_path: Path):
    (tmp_path / "wrong.py").write_text(code, encoding="ascii")
    ran = run("wrong:setup", folder=tmp_path)

    assert ran.returncode == 1
    assert 'wrong.py", line 1' in ran.stderr


def test_a_program_in_the_working_directory_is_found_by_worker_processes_too(tmp_path: Path):
    (tmp_path / "own.py").write_text(
        """
from async_processor import create_task

def name(task):
    return __name__

async def setup(processor):
    processor.register_processor("name", name, cpu_intensive=True)
    await processor.submit_task(create_task("name", id="where", max_retries=0))
""",
        encoding="ascii",
    )
    command = [Path(sys.executable).parent / "async-processor"]
    ran = run("own:setup", "--until-idle", "--store", "sqlite:///tasks.db", command=command, folder=tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert StoreView(str(tmp_path / "tasks.db")).counts().by_type == {"name": {"completed": 1}}


def test_a_store_that_another_has_is_refused_with_its_owner(launch: Launch, tmp_path: Path):
    first = launch("setup")
    first.until((tmp_path / "tasks.db").exists)
    code, _, error = launch("setup").end()
    first.process.terminate()

    assert first.end()[0] == 143
    assert code == 1
    assert f"process {first.process.pid}" in error


# ---- signals


def end_at_random_moments(moments: int, seed: object, launch: Launch, prefix: tuple[str, ...] = ()) -> None:
    rng = random.Random(f"moments {seed}")
    for moment in range(moments):
        program = launch("busy", "--timeout", "2", "--queue-size", "50", prefix=prefix)
        before = len(program.lines("accepted"))
        program.until(lambda program=program, before=before: len(program.lines("accepted")) > before)  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.3))  # The moment is what is being tried.
        children = program.children()
        (children[0] if prefix else program.process).terminate()
        code, said, seconds = ended(program)

        assert code == 143, (seed, moment, said)
        assert re.fullmatch(r"async-processor run: stopped by SIGTERM; \d+ tasks? stays? in the .* start\n", said), said
        assert seconds <= 2.0 + 1.0 + SLACK_S
        assert_gone(children)
        ledger = [line.split() for line in program.lines("ledger")]
        assert {name for what, name in ledger if what == "began"} == {name for what, name in ledger if what == "left"}


@pytest.mark.parametrize("seed", range(4))
def test_sigterm_at_any_moment_ends_it_in_order_and_loses_nothing(seed: int, launch: Launch, tmp_path: Path):  # D5
    end_at_random_moments(5, seed, launch)
    finish(launch)
    assert_nothing_lost(tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(4, 24))
def test_sigterm_at_a_hundred_moments_loses_nothing(seed: int, launch: Launch, tmp_path: Path):  # D5
    end_at_random_moments(5, seed, launch)
    finish(launch)
    assert_nothing_lost(tmp_path)


def test_what_does_not_end_in_time_is_stopped_and_clears_up(launch: Launch):  # D5
    program = launch("stubborn", "--timeout", "0")
    program.until(lambda: len(program.lines("ledger")) >= 3)
    program.process.terminate()
    code, said, seconds = ended(program)

    assert code == 143
    assert "3 tasks stay in the store" in said
    assert seconds <= 1.0 + SLACK_S
    assert "left long-nap" in program.lines("ledger")


@pytest.mark.parametrize("function", ["blocking", "lingering"])
def test_it_ends_in_time_though_the_loop_is_blocked_or_a_thread_stays(
    function: str, launch: Launch, tmp_path: Path
):  # D5
    program = launch(function, "--timeout", "0.2")
    program.until(lambda: len(program.lines("ledger")) == 1)
    children = program.children()
    program.process.terminate()
    code, said, seconds = ended(program)

    assert (code, said) == (
        143,
        "async-processor run: stopped by SIGTERM; ended by force, for something would not end\n",
    )
    assert seconds <= 0.2 + 1.0 + SLACK_S
    assert_gone(children)
    assert StoreView(str(tmp_path / "tasks.db")).unfinished() == 1


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """What makes a command process 1 of a namespace of its own."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs permission to make a process namespace")
    return inside


def test_as_process_1_of_a_container_it_ends_the_same(launch: Launch, tmp_path: Path, namespace: tuple[str, ...]):  # D6
    end_at_random_moments(5, "container", launch, namespace)
    finish(launch)
    assert_nothing_lost(tmp_path)


def test_as_process_1_of_a_container_it_takes_in_orphans(launch: Launch, namespace: tuple[str, ...]):  # D6
    program = launch("bereaving", prefix=namespace)
    program.until(lambda: program.lines("ledger") != [])
    (first,) = psutil.Process(program.process.pid).children()

    # The command and, for half a second, the orphan.
    program.until(lambda: len(first.children()) == 2)
    program.until(lambda: len(first.children()) == 1)


def test_as_process_1_of_a_container_a_second_signal_ends_it_at_once(launch: Launch, namespace: tuple[str, ...]):  # D6
    program = launch("stubborn", "--timeout", "60", prefix=namespace)
    program.until(lambda: len(program.lines("ledger")) >= 3)
    first, *others = program.children()
    first.terminate()
    time.sleep(0.3)  # The first is being answered: two signals at one moment are one to the kernel.
    first.terminate()
    code, said, seconds = ended(program)

    assert (code, said.partition("\n")[0]) == (143, "async-processor run: ended at once")
    assert seconds < SLACK_S
    assert_gone(others)


def test_ctrl_c_reaches_the_whole_group_and_is_answered_by_one_line(launch: Launch):  # D8
    program = launch("stubborn", "--timeout", "0.5")
    program.until(lambda: len(program.lines("ledger")) >= 3)
    os.killpg(program.process.pid, signal.SIGINT)
    code, said, seconds = ended(program)

    assert code == 130
    assert said == "async-processor run: stopped by SIGINT; 3 tasks stay in the store for the next start\n"
    assert seconds <= 0.5 + 1.0 + SLACK_S


def test_ctrl_c_while_the_program_is_imported_is_answered_by_one_line(tmp_path: Path):  # D8
    (tmp_path / "slow.py").write_text("import time; open('begun', 'w').close(); time.sleep(600)", encoding="ascii")
    process = subprocess.Popen(
        [*COMMAND, "run", "slow:setup"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20.0
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == (None, "async-processor run: stopped by SIGINT\n")
    finally:
        process.kill()
    assert process.returncode == 130


# What comes after the one line is multiprocessing's: workers that were just being started miss their parent.
@pytest.mark.parametrize("function", ["blocking", "lingering"])
def test_a_second_signal_ends_it_at_once_though_the_loop_is_blocked_or_a_thread_stays(
    function: str, launch: Launch
):  # D8
    program = launch(function, "--timeout", "60")
    program.until(lambda: len(program.lines("ledger")) == 1)
    program.process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # As above.
    program.process.send_signal(signal.SIGINT)
    code, said, seconds = ended(program)

    assert (code, said.partition("\n")[0]) == (130, "async-processor run: ended at once")
    assert seconds < SLACK_S


def test_a_second_ctrl_c_ends_it_at_once_and_its_workers_with_it(launch: Launch, tmp_path: Path):  # D8
    program = launch("stubborn", "--timeout", "60")
    program.until(lambda: len(program.lines("ledger")) >= 3)
    children = program.children()
    os.killpg(program.process.pid, signal.SIGINT)
    time.sleep(0.3)  # The first is being answered: two signals at one moment are one to the kernel.
    assert program.process.poll() is None
    os.killpg(program.process.pid, signal.SIGINT)
    code, said, seconds = ended(program)

    assert (code, said.partition("\n")[0]) == (130, "async-processor run: ended at once")
    assert seconds < SLACK_S
    assert_gone(children)
    assert StoreView(str(tmp_path / "tasks.db")).counts().of_status("pending", "running") == 3


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_sigterm_while_tasks_are_taken_up_loses_none(
    delay: float, launch: Launch, tmp_path: Path, many_tasks: Path
):  # D12
    shutil.copy(many_tasks, tmp_path / "tasks.db")
    program = launch("setup", "--timeout", "1")
    # The lock comes first: tasks are taken up from then on.
    program.until((tmp_path / "tasks.db-lock").exists)
    time.sleep(delay)  # The moment is what is being tried.
    program.process.terminate()
    code, said, seconds = ended(program)

    assert code == 143, said
    assert said.startswith("async-processor run: stopped by SIGTERM; ")
    assert said.count("\n") == 1
    assert seconds <= 1.0 + 1.0 + SLACK_S
    counts = StoreView(str(tmp_path / "tasks.db")).counts()
    assert counts.of_status("pending", "completed") == MANY
    # Those that were stopped have left too, and go on at the next start.
    assert counts.of_status("completed") <= sum(line.startswith("left") for line in program.lines("ledger"))


@pytest.fixture(scope="module")
def many_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with many tasks that nobody has begun."""
    return make_store(tmp_path_factory.mktemp("many") / "tasks.db", waiting=MANY)


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
