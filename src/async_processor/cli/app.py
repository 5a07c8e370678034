"""The command line: what can be typed. What is then done stands in one module per subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .talk import TalkOptions, print_line, run_talk
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


@app.command(epilog=_EXIT_CODES)
def talk(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="the sentence: wav, flac, ogg, mp3 or aiff")],
    answer: Annotated[Path, typer.Option(help="where the spoken answer goes")] = Path("out/answer.wav"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object, and no progress")] = False,
) -> None:
    """Listen to a spoken sentence and answer it.

    Transcription and emotion run side by side, the reply when both are done, then its voice. Works offline; with
    OPENAI_API_KEY or ANTHROPIC_API_KEY and ASYNC_PROCESSOR_AI_MODEL set, a hosted model replies.
    """
    raise typer.Exit(run_talk(TalkOptions(recording=recording, answer=answer, as_json=as_json)))


@app.command()
def version() -> None:
    """Say what is installed."""
    print_line(version_line())
