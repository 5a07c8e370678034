"""How a worker process behaves towards the system and its parent: what it does first of all, before any user code."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_OOM_SCORE_ADJ = Path("/proc/self/oom_score_adj")
_OOM_SCORE = 500
# Libraries for linear algebra start a thread per core, each, in every worker: with n workers n times too many.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_LAST_STANDARD_FD = 2
_NEVER_RESET = frozenset({signal.SIGKILL, signal.SIGSTOP})
# As Python itself has them: a write to a closed pipe or a file too large is an exception, not the end.
_IGNORED = frozenset({signal.SIGINT, signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)})


def lead_own_group() -> None:
    """Become leader of a session and process group, so that whatever this worker starts can be ended with it."""
    with contextlib.suppress(PermissionError):  # it is one already
        os.setsid()


def reset_signals() -> None:
    """Ignore Ctrl-C, which is the parent's to handle, and let every other signal do what it does by default."""
    for number in signal.valid_signals() - _NEVER_RESET:
        with contextlib.suppress(OSError, ValueError):  # a few belong to the C library
            signal.signal(number, signal.SIG_IGN if number in _IGNORED else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_stdin() -> None:
    """Read nothing from the terminal of the parent."""
    # A fork server has put a descriptor of its own in the place of stdin, for its children too.
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        if sys.stdin.fileno() > _LAST_STANDARD_FD:
            os.close(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor, open as long as this process


def offer_to_oom_killer() -> None:
    """Let the kernel, when memory runs out, choose this worker rather than its parent."""
    try:
        if int(_OOM_SCORE_ADJ.read_bytes()) < _OOM_SCORE:
            _OOM_SCORE_ADJ.write_bytes(b"%d" % _OOM_SCORE)
    except (OSError, ValueError):
        return  # not Linux, or not allowed: then all are equal


def take_environment(environ: Mapping[str, str], target: MutableMapping[str, str] = os.environ) -> None:
    """Take over the parent's environment, with one thread per linear algebra library unless it says otherwise."""
    wanted = {**dict.fromkeys(THREAD_LIMITS, "1"), **environ}
    for name in target.keys() - wanted.keys():
        del target[name]
    for name, value in wanted.items():
        if target.get(name) != value:
            target[name] = value


def die_with_parent(lifeline: int, parent: int) -> None:
    """End this process and its group as soon as the parent has ended, however it ended.

    Not by PR_SET_PDEATHSIG: that fires when the *thread* ends that started this process, and is lost behind a fork
    server.

    Args:
        lifeline: a pipe whose other end only the parent holds.
        parent: its process id.
    """
    watched = select.poll()
    watched.register(lifeline, 0)  # hanging up is always reported
    # A process that the parent forked holds the other end of the lifeline too; this sees the parent itself.
    with contextlib.suppress(AttributeError, OSError):
        watched.register(os.pidfd_open(parent), select.POLLIN)
    _let_kernel_kill(lifeline)
    threading.Thread(target=_wait_and_end, args=(watched,), name="parent-watch", daemon=True).start()


def _let_kernel_kill(lifeline: int) -> None:
    # The thread below needs the interpreter lock, which a C function may hold for hours. So the kernel is told to send
    # SIGKILL to the whole group instead of SIGIO when the pipe becomes readable, that is, when it is hung up.
    try:
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except (ImportError, AttributeError, OSError):
        return  # not Linux: then the thread does what it can


def _wait_and_end(watched: select.poll) -> None:
    watched.poll()
    end_group()


def end_group() -> None:
    """End this process, and whatever it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
