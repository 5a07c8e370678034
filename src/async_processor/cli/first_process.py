"""The command as process 1 of a container.

There, the system drops signals that have no handler, and hands over the orphans of all other processes, which stay in
its tables until somebody asks how they ended. So the command itself runs in a child, and process 1 does only this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_HANDED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


def step_aside() -> None:
    """As process 1, start the same command as a child, and end as it does; otherwise do nothing."""
    if os.getpid() != 1:
        return
    # Blocked, so that none comes before somebody waits for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_HANDED_ON, signal.SIGCHLD})
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, *sys.orig_argv[1:]],
        os.environ,
        # A session of its own, or Ctrl-C would come twice: from the terminal and from process 1.
        setsid=True,
        setsigmask=before,
    )
    sys.exit(_look_after(child))


def _look_after(child: int) -> int:
    """Hand on signals and take in the dead until the child ends; its exit code."""
    while True:
        number = signal.sigwait({*_HANDED_ON, signal.SIGCHLD})
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        ended = _take_in()
        if child in ended:
            code = os.waitstatus_to_exitcode(ended[child])
            return code if code >= 0 else 128 - code


def _take_in() -> dict[int, int]:
    """All that have ended: process id -> status. One signal may stand for many."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended
