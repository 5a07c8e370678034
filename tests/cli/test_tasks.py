"""``async-processor tasks``: what it shows of a store, with and without an owner, and what it changes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from async_processor import AdvancedAsyncProcessor, ProcessingTask, TaskStatus, create_task
from async_processor.cli import tasks as command
from async_processor.cli.app import app
from async_processor.cli.exit_code import ExitCode

ESCAPE = "\x1b[2J"


async def value(task: ProcessingTask) -> object:
    return task.payload["value"]


async def fail(_task: ProcessingTask) -> None:
    raise ValueError(f"it {ESCAPE} went wrong")


def processor(folder: Path) -> AdvancedAsyncProcessor:
    made = AdvancedAsyncProcessor(store=store(folder), max_process_workers=1)
    for function in (value, fail):
        made.register_processor(function.__name__, function)
    return made


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'tasks.db'}"


async def fill(folder: Path) -> None:
    """One task of each kind; ``waits`` and ``leaf`` have not ended."""
    async with processor(folder) as running:
        for task in (
            create_task("value", {"value": "secret words"}, id="good"),
            create_task("fail", id="bad", max_retries=0),
            create_task("value", {"value": 1, "voice": b"..."}, id="voice", ephemeral=["voice"]),
        ):
            await running.submit_task(task)
            await running.wait_for_task(task.id)
        await running.submit_task(create_task("value", {"value": 1}, id="waits", depends_on=["later"]))
        await running.submit_task(create_task("value", {"value": 1}, id="leaf", depends_on=["waits"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    asyncio.run(fill(tmp_path))
    return tmp_path


def listed(folder: Path, capsys: pytest.CaptureFixture[str], **wanted: object) -> list[dict]:
    options = {"status": None, "task_type": None, "limit": 50} | wanted
    assert command.list_tasks(store(folder), as_json=True, **options) is ExitCode.OK  # type: ignore[arg-type]
    return json.loads(capsys.readouterr().out)


# ---- list


def test_the_list_shows_the_newest_first_and_nothing_of_payloads_and_results(folder: Path, capsys):
    assert command.list_tasks(store(folder), status=None, task_type=None, limit=50, as_json=False) is ExitCode.OK
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[:2] for line in lines] == [
        ["STATUS", "ID"],
        ["pending", "leaf"],
        ["pending", "waits"],
        ["completed", "voice"],
        ["failed", "bad"],
        ["completed", "good"],
    ]
    assert "secret words" not in "\n".join(lines)
    assert "went wrong" in lines[4]
    assert "\x1b" not in "\n".join(lines)


def test_the_list_can_be_narrowed(folder: Path, capsys):
    assert [task["id"] for task in listed(folder, capsys, status="completed")] == ["voice", "good"]
    assert [task["id"] for task in listed(folder, capsys, task_type="fail")] == ["bad"]
    assert [task["id"] for task in listed(folder, capsys, limit=2)] == ["leaf", "waits"]
    assert listed(folder, capsys, status="running") == []


def test_a_status_that_there_is_not_is_a_wrong_call(folder: Path, capsys):
    code = command.list_tasks(store(folder), status="done", task_type=None, limit=1, as_json=False)

    assert code is ExitCode.USAGE
    assert "--status must be one of pending" in capsys.readouterr().err


# ---- show and stats


def test_one_task_is_shown_with_its_payload_result_and_error(folder: Path, capsys):
    assert command.show_task(store(folder), "good", as_json=True) is ExitCode.OK
    good = json.loads(capsys.readouterr().out)
    assert command.show_task(store(folder), "bad", as_json=False) is ExitCode.OK
    bad = capsys.readouterr().out

    assert (good["status"], good["payload"], good["result"]) == ("completed", {"value": "secret words"}, "secret words")
    assert "went wrong" in bad
    assert "\x1b" not in bad


def test_an_ephemeral_field_is_named_and_never_shown(folder: Path, capsys):
    command.show_task(store(folder), "voice", as_json=True)
    shown = json.loads(capsys.readouterr().out)

    assert (shown["payload"], shown["not_stored"]) == ({"value": 1}, ["voice"])


def test_the_counts_add_up(folder: Path, capsys):
    assert command.show_counts(store(folder), as_json=True) is ExitCode.OK
    counts = json.loads(capsys.readouterr().out)
    assert command.show_counts(store(folder), as_json=False) is ExitCode.OK
    table = capsys.readouterr().out

    assert counts["types"] == {"fail": {"failed": 1}, "value": {"completed": 2, "pending": 2}}
    assert counts["total"] == {
        "pending": 2, "running": 0, "completed": 2, "failed": 1, "cancelled": 0, "timeout": 0,
    }  # fmt: skip
    assert "oldest unfinished: 20" in table


@pytest.mark.parametrize("wanted", ["memory:", "tasks.db", "sqlite:///"])
def test_a_store_that_is_no_file_is_a_wrong_call(wanted: str, capsys):
    assert command.show_counts(wanted, as_json=False) is ExitCode.USAGE
    assert "sqlite:///FILE" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, capsys):
    assert command.show_counts(store(tmp_path), as_json=False) is ExitCode.FAILED
    assert "there is no store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_not_there_is_said_to_be_so(folder: Path, capsys):
    for carried_out in (
        command.show_task(store(folder), "unknown", as_json=False),
        command.cancel(store(folder), "unknown"),
        command.retry(store(folder), "unknown"),
    ):
        assert carried_out is ExitCode.FAILED
    assert capsys.readouterr().err.count("'unknown'") == 3


def test_what_is_no_text_names_no_task(folder: Path, capsys):
    assert listed(folder, capsys, task_type="\udcff") == []
    for carried_out in (
        command.show_task(store(folder), "\udcff", as_json=False),
        command.cancel(store(folder), "\udcff"),
        command.retry(store(folder), "\udcff"),
    ):
        assert carried_out is ExitCode.FAILED
    assert "no task '\\udcff'" in capsys.readouterr().err


def test_a_damaged_row_is_shown_as_far_as_it_can_be_and_keeps_no_other_from_it(folder: Path, capsys):
    with closing(sqlite3.connect(folder / "tasks.db")) as connection:
        connection.executescript(
            """
            UPDATE tasks SET priority = 99, type = CAST(x'ff41' AS TEXT), spec = x'00' WHERE id = 'waits';
            UPDATE unfinished SET started_at = -1e18, progress = 1e999, due = 1e300;
            UPDATE finished SET outcome = x'00' WHERE row = (SELECT row FROM tasks WHERE id = 'bad');
            """
        )
    assert len(listed(folder, capsys)) == 5
    assert command.list_tasks(store(folder), status=None, task_type=None, limit=50, as_json=False) is ExitCode.OK
    for task_id in ("waits", "leaf", "bad", "good"):
        for as_json in (True, False):
            assert command.show_task(store(folder), task_id, as_json=as_json) is ExitCode.OK
    said = capsys.readouterr().out

    assert said.count("unreadable") == 4
    assert "Infinity" not in said
    assert command.show_counts(store(folder), as_json=False) is ExitCode.OK
    assert command.cancel(store(folder), "leaf") is ExitCode.OK
    # What cannot be read is for a processor to set aside, at its start.
    assert command.cancel(store(folder), "waits") is ExitCode.FAILED
    assert command.retry(store(folder), "bad") is ExitCode.FAILED


async def test_it_looks_while_the_owner_works_and_leaves_changes_to_the_owner(folder: Path, capsys):
    async with processor(folder) as running:
        assert {task["id"] for task in listed(folder, capsys)} == {"good", "bad", "voice", "waits", "leaf"}
        assert command.cancel(store(folder), "waits") is ExitCode.FAILED
        assert command.retry(store(folder), "bad") is ExitCode.FAILED
        said = capsys.readouterr().err
        assert await running.get_task_status("waits") is TaskStatus.PENDING

    assert said.count("belongs to another processor") == 2


def test_what_an_id_holds_is_shown_and_not_carried_out(tmp_path: Path, capsys):
    async def fill_badly() -> None:
        async with processor(tmp_path) as running:
            await running.submit_task(create_task("value", {"value": 1}, id=f"one\n{ESCAPE}two", depends_on=["later"]))

    asyncio.run(fill_badly())
    command.list_tasks(store(tmp_path), status=None, task_type=None, limit=50, as_json=False)
    command.show_task(store(tmp_path), f"one\n{ESCAPE}two", as_json=False)
    command.show_task(store(tmp_path), f"three\n{ESCAPE}", as_json=False)
    said = capsys.readouterr()

    assert said.out.splitlines()[1].split()[1:3] == ["one", "\\x1b[2Jtwo"]
    assert "\x1b" not in said.out + said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        ("list --status failed --type fail --limit 1 --json", 0, '"id": "bad"'),
        ("list", 0, "leaf"),
        ("show good --json", 0, '"result": "secret words"'),
        ("stats --json", 0, '"quarantined": 0'),
        ("cancel waits", 0, "cancelled waits"),
        ("retry bad", 0, "waits again"),
        ("cancel good", 1, "ended already"),
        ("retry unknown", 1, "'unknown'"),
        ("list --limit 0", 2, "--limit"),
        ("list --status done", 2, "--status must be"),
        ("show", 2, "ID"),
    ],
)
def test_it_does_what_is_typed(typed: str, code: int, says: str, folder: Path):
    ran = CliRunner().invoke(app, ["tasks", *typed.split(), "--store", store(folder)])

    assert ran.exit_code == code, ran.output
    assert says in ran.output


def test_a_store_must_be_named():
    assert CliRunner().invoke(app, ["tasks", "list"]).exit_code == 2


# ---- changes


async def ends(folder: Path, *ids: str) -> list[tuple[TaskStatus, int]]:
    async with processor(folder) as running:
        results = [await running.wait_for_task(item, timeout=10) for item in ids]
        return [(result.status, result.attempts) for result in results]


def test_a_cancelled_task_does_not_run_and_who_depends_on_it_is_cancelled(folder: Path, capsys):
    assert command.cancel(store(folder), "waits") is ExitCode.OK
    assert "cancelled waits" in capsys.readouterr().out

    assert asyncio.run(ends(folder, "waits", "leaf")) == [(TaskStatus.CANCELLED, 0), (TaskStatus.CANCELLED, 0)]


def test_a_failed_task_is_done_again_from_the_first_attempt(folder: Path, capsys):
    assert command.retry(store(folder), "bad") is ExitCode.OK
    assert asyncio.run(ends(folder, "bad")) == [(TaskStatus.FAILED, 1)]
    assert "waits again" in capsys.readouterr().out


def test_who_was_cancelled_with_its_dependency_is_done_again_after_it(folder: Path):
    command.cancel(store(folder), "waits")
    assert asyncio.run(ends(folder, "leaf")) == [(TaskStatus.CANCELLED, 0)]

    async def submit_later() -> None:
        async with processor(folder) as running:
            await running.submit_task(create_task("value", {"value": 1}, id="later"))
            await running.wait_for_task("later", timeout=10)

    asyncio.run(submit_later())
    assert [command.retry(store(folder), item) for item in ("leaf", "waits")] == [ExitCode.OK, ExitCode.OK]
    assert asyncio.run(ends(folder, "waits", "leaf")) == [(TaskStatus.COMPLETED, 1), (TaskStatus.COMPLETED, 1)]


@pytest.mark.parametrize(
    ("change", "task_id", "says"),
    [
        (command.cancel, "good", "has ended already: completed"),
        (command.retry, "good", "has completed"),
        (command.retry, "waits", "has not ended"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, capsys, change, task_id: str, says: str):
    assert change(store(folder), task_id) is ExitCode.FAILED
    assert says in capsys.readouterr().err


def test_a_task_that_lost_its_ephemeral_fields_is_not_done_again(folder: Path, capsys):
    async def crash() -> None:
        running = processor(folder)
        running.register_processor("slow", slow)
        await running.start()
        await running.submit_task(create_task("slow", {"voice": b"..."}, id="slow", ephemeral=["voice"], timeout=None))
        await running.shutdown(timeout=0)

    asyncio.run(crash())
    assert asyncio.run(ends(folder, "slow")) == [(TaskStatus.FAILED, 1)]
    assert command.retry(store(folder), "slow") is ExitCode.FAILED
    assert "'voice'" in capsys.readouterr().err


async def slow(_task: ProcessingTask) -> None:
    await asyncio.sleep(3_600.0)
