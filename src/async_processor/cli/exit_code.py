"""What the command's exit codes mean."""

from __future__ import annotations

import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """Ended by a signal, the command exits with 128 and the signal's number, as shells do."""

    OK = 0
    FAILED = 1
    """A stage of the work failed; the message says which and why."""
    USAGE = 2
    """The command was called in a way that cannot work, or something it needs is not installed."""
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM
