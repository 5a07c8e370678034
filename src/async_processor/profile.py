"""Where a call spent its time, as text: a thin layer over the deterministic profiler of the standard library.

``cProfile`` watches one thread. It slows Python code down by about half to two and calls into C less, so what it shows
is where time went, not how much there would have been without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cProfile import Profile

SHOWN_FUNCTIONS = 20
_MAX_NAME_CHARS = 100
_MAX_FILE_CHARS = 160
_OWN_END = "<method 'disable' of '_lsprof.Profiler' objects>"


class Profiled(NamedTuple):
    """What came of a call: ``value`` or ``error``, and where the time went.

    ``text`` is None where no profile could be made: something else profiles already.
    """

    value: Any
    error: BaseException | None
    text: str | None


def profile_call(func: Callable[[], Any]) -> Profiled:
    """Call ``func`` in this thread under the profiler. Whatever it raises is given back, and nothing is raised.

    If another profiler is at work (a debugger, ``python -m cProfile``; from Python 3.12 on, one in any thread), the
    call is made without.
    """
    profiler = _begin()
    value, error = None, None
    try:
        value = func()
    except BaseException as raised:  # noqa: BLE001 - handed to the caller, who decides; the profiler must end first
        error = raised
    if profiler is None:
        return Profiled(value, error, None)
    profiler.disable()
    return Profiled(value, error, _text_of(profiler))


def _begin() -> Profile | None:
    # At first use: the profiler costs several milliseconds to import, and hardly anybody needs it.
    from cProfile import Profile

    if sys.getprofile() is not None:
        # Up to Python 3.11 ours would silently take its place.
        return None
    profiler = Profile()
    try:
        profiler.enable()
    except ValueError:
        # From Python 3.12 on there can be but one profiler in the process.
        return None
    return profiler


def _text_of(profiler: Profile) -> str:
    """The functions that took longest, callees included; one line each."""
    profiler.create_stats()
    # (file, line, name) -> (primitive calls, calls, own seconds, seconds with callees, callers)
    stats = {key: figures for key, figures in profiler.stats.items() if key[2] != _OWN_END}
    calls = sum(figures[1] for figures in stats.values())
    lines = [f"{calls} function calls, {len(stats)} functions", "   calls       own s     total s  function"]
    ranked = sorted(stats.items(), key=lambda item: item[1][3], reverse=True)
    for (file, line, name), (_, count, own, total, _) in ranked[:SHOWN_FUNCTIONS]:
        place = "" if file == "~" else f" ({file[-_MAX_FILE_CHARS:]}:{line})"
        lines.append(f"{count:>8} {own:>11.6f} {total:>11.6f}  {name[:_MAX_NAME_CHARS]}{place}")
    return "\n".join(lines)
