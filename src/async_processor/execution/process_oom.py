"""Whether the kernel's out-of-memory killer was at work."""

from __future__ import annotations

import signal
from pathlib import Path

_VMSTAT = Path("/proc/vmstat")
_COUNTER = b"\noom_kill "


def oom_kills() -> int | None:
    """How many processes it has ended since the machine started, in containers too; None if the system does not say."""
    try:
        return int(_VMSTAT.read_bytes().partition(_COUNTER)[2].split(None, 1)[0])
    except (OSError, ValueError, IndexError):
        return None


def suspicion(exit_code: int | None, kills_before: int | None) -> str:
    """What a death by that exit code may have to do with memory, in words; empty if nothing."""
    if exit_code != -signal.SIGKILL or kills_before is None:
        return ""
    kills = oom_kills()
    if kills is None or kills <= kills_before:
        return ""
    return (
        "out of memory: the kernel ended a process for want of memory meanwhile; give the task or the machine more room"
    )
