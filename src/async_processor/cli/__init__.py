"""The command ``async-processor``. Without the extra ``cli`` it says how to install it."""

from __future__ import annotations

import sys

from ..errors import MissingExtraError
from .exit_code import ExitCode
from .first_process import step_aside


def main() -> None:
    """Run the command with the arguments of this process, and end it with an ``ExitCode``."""
    step_aside()
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.stderr.write(f"{MissingExtraError('cli', needed_for='the command async-processor')}\n")
        raise SystemExit(ExitCode.USAGE) from None
    app()
