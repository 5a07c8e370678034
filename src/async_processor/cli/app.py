"""The command line: what can be typed. What is then done stands in one module per subcommand."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..runtime.stores import MEMORY
from . import run as run_command
from .output import print_line
from .talk import TalkOptions, run_talk
from .version import version_line

_EXIT_CODES = (
    "Exit codes: 0 all went well; 1 a stage failed; 2 called wrongly, or something is not installed; "
    "130 ended by Ctrl-C; 143 ended by SIGTERM."
)

app = typer.Typer(
    help="Background work inside an asyncio process: the command.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


tasks = typer.Typer(help="Look into a store on disk, and change one whose owner is gone.", no_args_is_help=True)
app.add_typer(tasks, name="tasks")


class Durability(StrEnum):
    """What a store on disk survives."""

    power = "power"
    process = "process"


Kept = Annotated[str, typer.Option("--store", help="where tasks are kept: memory: or sqlite:///FILE")]
Survives = Annotated[Durability, typer.Option(help="what the file survives: a power cut, or only the process")]
Looked = Annotated[str, typer.Option("--store", help="the store: sqlite:///FILE")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="the task's id")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command(epilog=_EXIT_CODES)
def talk(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="the sentence: wav, flac, ogg, mp3 or aiff")],
    answer: Annotated[Path, typer.Option(help="where the spoken answer goes")] = Path("out/answer.wav"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object, and no progress")] = False,
    store: Kept = MEMORY,
    durability: Survives = Durability.power,
) -> None:
    """Listen to a spoken sentence and answer it.

    Transcription and emotion run side by side, the reply when both are done, then its voice. Works offline; with
    OPENAI_API_KEY or ANTHROPIC_API_KEY and ASYNC_PROCESSOR_AI_MODEL set, a hosted model replies.
    """
    raise typer.Exit(
        run_talk(
            TalkOptions(recording=recording, answer=answer, as_json=as_json, store=store, durability=durability.value)
        )
    )


@app.command(epilog=_EXIT_CODES)
def run(
    program: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="a function that is given the processor")],
    store: Kept = MEMORY,
    durability: Survives = Durability.power,
    max_workers: Annotated[int, typer.Option(help="slots on the event loop")] = 10,
    max_thread_workers: Annotated[int, typer.Option(help="threads")] = 5,
    max_process_workers: Annotated[int, typer.Option(help="worker processes")] = 2,
    queue_size: Annotated[int, typer.Option(help="how many tasks may wait")] = 1_000,
    timeout: Annotated[float, typer.Option(help="seconds that running tasks are given at the end")] = 30.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="end when no task waits or runs")] = False,
    http: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="serve health and events over HTTP; on loopback by default"),
    ] = None,
) -> None:
    """Run a program's processor functions, and what the store holds for them, until SIGTERM or Ctrl-C.

    A plain FUNCTION is called before the start, to register functions; an async one after it, and may submit tasks.
    What is not done in time stays in the store. A second signal ends at once.
    """
    options = run_command.RunOptions(
        program=program,
        store=store,
        durability=durability.value,
        max_workers=max_workers,
        max_thread_workers=max_thread_workers,
        max_process_workers=max_process_workers,
        queue_size=queue_size,
        timeout=timeout,
        until_idle=until_idle,
        http=http,
    )
    raise typer.Exit(run_command.run_program(options))


@tasks.command("list")
def list_tasks(
    store: Looked,
    status: Annotated[str | None, typer.Option(help="only of this status")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="only of this type")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="how many, the newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """List tasks, the newest first; also while their owner runs."""
    from .tasks import list_tasks as carry_out

    raise typer.Exit(carry_out(store, status=status, task_type=task_type, limit=limit, as_json=as_json))


@tasks.command("show")
def show_task(task_id: TaskId, store: Looked, as_json: AsJson = False) -> None:
    """Show one task, its payload and result cut short."""
    from .tasks import show_task as carry_out

    raise typer.Exit(carry_out(store, task_id, as_json=as_json))


@tasks.command("stats")
def stats(store: Looked, as_json: AsJson = False) -> None:
    """Count tasks by type and status."""
    from .tasks import show_counts as carry_out

    raise typer.Exit(carry_out(store, as_json=as_json))


@tasks.command("cancel")
def cancel(task_id: TaskId, store: Looked) -> None:
    """End a task that has not ended, in a store whose owner is gone."""
    from .tasks import cancel as carry_out

    raise typer.Exit(carry_out(store, task_id))


@tasks.command("retry")
def retry(task_id: TaskId, store: Looked) -> None:
    """Have a task done again that failed, timed out or was cancelled, in a store whose owner is gone."""
    from .tasks import retry as carry_out

    raise typer.Exit(carry_out(store, task_id))


@app.command(epilog="Exit codes: 0 all went well; 1 an example failed; 2 a setting cannot be used.")
def doctor(
    try_all: Annotated[bool, typer.Option("--run", help="do an example task of each type that is ready")] = False,
    as_json: AsJson = False,
) -> None:
    """Say for each type of task what would do it, and what is missing.

    Where a hosted service is configured it is asked whether it would answer; with --run it does the example, too.
    """
    from .doctor import run_doctor

    raise typer.Exit(run_doctor(try_all=try_all, as_json=as_json))


@app.command(epilog="Exit codes: 0 all went well; 1 an example failed; 2 a setting cannot be used.")
def showcase() -> None:
    """Do an example task of each type that works here without keys, and show what came of it.

    Nothing leaves the machine, whatever keys the environment holds.
    """
    from .showcase import run_showcase

    raise typer.Exit(run_showcase())


@app.command()
def version() -> None:
    """Say what is installed."""
    print_line(version_line())
