"""An event loop on virtual time, with schedules that a seed chooses.

What it promises:

- Time passes only when nothing is runnable, and then at once: an hour of timers takes no time.
- With a seed, tasks that could run are taken in an order drawn from the seed, and may be held back for some turns.
  The same seed gives the same order. Only the steps of tasks are touched: that ``call_soon`` runs plain callbacks in
  the order in which they were registered is documented by asyncio, so code may rely on it.
- When nothing is runnable and no timer is set, nothing can ever happen again: that raises, and names who waits.

It reaches into private parts of ``asyncio.SelectorEventLoop`` (``_run_once``, ``_ready`` and the wake-up pipe);
``tests/testing/test_loop.py`` holds what it relies on, on every Python it runs on.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from .clock import VirtualClock
from .task_steps import check_recognition, is_task_step

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

DEFAULT_MAX_VIRTUAL_S = 86_400.0
DEFAULT_MAX_TURNS = 1_000_000
# After a limit was hit, cancelled tasks still need some turns and time to end.
_CLEANUP_TURNS = 10_000
_CLEANUP_VIRTUAL_S = 3_600.0
_HOLD_BACK = 0.25
_IDLE_FACTOR = 100
_SHOWN_TASKS = 20


class SimulationError(AssertionError):
    """A run on virtual time went wrong in a way that no code under test raised."""


class DeadlockError(SimulationError):
    """Nothing is runnable and no timer is set: whoever waits would wait for ever."""


class LivelockError(SimulationError):
    """The run did not end within its limit of turns or of virtual seconds."""


class UnhandledError(SimulationError):
    """Something failed with nobody to tell: a task whose exception nobody read, a callback that raised."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` is that of a ``VirtualClock``.

    Descriptors and other threads have no place in virtual time, so by default registering a descriptor, using an
    executor and calling in from another thread raise ``RuntimeError``. With ``real_io`` they are allowed: then, when
    nothing is runnable, the loop waits ``patience_s`` real seconds for them before it lets virtual time jump, and a
    hundred times as long before it calls a run without timers a deadlock. Such runs do not replay.

    Args:
        seed: draws the schedule; None for the usual order.
        clock: the clock to drive; a new one when not given.
        real_io: whether to look at descriptors and listen to other threads.
        patience_s: see above.
        max_virtual_s: virtual seconds after which the run counts as a live-lock.
        max_turns: turns of the loop after which it does.
    """

    _ready: deque[asyncio.Handle]  # of BaseEventLoop; typeshed does not show it

    def __init__(
        self,
        seed: int | None = None,
        *,
        clock: VirtualClock | None = None,
        real_io: bool = False,
        patience_s: float = 0.05,
        max_virtual_s: float = DEFAULT_MAX_VIRTUAL_S,
        max_turns: int = DEFAULT_MAX_TURNS,
    ) -> None:
        if seed is not None:
            check_recognition()
        self.clock = VirtualClock() if clock is None else clock
        self.seed = seed
        self.turns = 0
        self._real_io = real_io
        self._rng = None if seed is None else random.Random(seed)  # noqa: S311 - schedules, not secrets
        self._max_turns = max_turns
        self._max_time = self.clock.monotonic() + max_virtual_s
        self._owner = threading.get_ident()
        super().__init__(_VirtualSelector(self, patience_s if real_io else None))

    def time(self) -> float:
        """Seconds of virtual time."""
        return self.clock.monotonic()

    def __repr__(self) -> str:
        return f"<VirtualTimeLoop seed={self.seed} time={self.time():g} turns={self.turns}>"

    # ---- what has no place in virtual time

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As usual with ``real_io``; without, from the loop's own thread only.

        Raises:
            RuntimeError: called from another thread on a loop that does not listen to any.
        """
        if not self._real_io and threading.get_ident() != self._owner:
            raise RuntimeError(_needs_real_io("a call from another thread"))
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As usual with ``real_io``.

        Raises:
            RuntimeError: on a loop that does not listen to threads.
        """
        if not self._real_io:
            raise RuntimeError(_needs_real_io("an executor"))
        return super().run_in_executor(executor, func, *args)

    # The pipe by which other threads wake a loop that sleeps. One on virtual time never does, and two sockets for every
    # run would cost more than most runs do.

    def _make_self_pipe(self) -> None:
        if self._real_io:
            super()._make_self_pipe()  # type: ignore[misc]
        else:
            self._csock = None

    def _close_self_pipe(self) -> None:
        if self._real_io:
            super()._close_self_pipe()  # type: ignore[misc]

    # ---- one turn

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > self._max_turns:
            self._max_turns += _CLEANUP_TURNS
            raise LivelockError(f"no end after {self.turns - 1} turns of the loop; {self._who_waits()}")
        held = [] if self._rng is None else self._draw_schedule(self._rng)
        try:
            super()._run_once()  # type: ignore[misc]
        finally:
            self._ready.extend(held)

    def _draw_schedule(self, rng: random.Random) -> list[asyncio.Handle]:
        """Put the runnable steps into a drawn order. Gives those held back until the next turn."""
        ready = [(handle, is_task_step(handle._callback)) for handle in self._ready]  # type: ignore[attr-defined]
        steps = [handle for handle, is_step in ready if is_step]
        if not steps:
            return []
        rng.shuffle(steps)
        # One callback always goes on, or the loop would take the turn for an idle one.
        keep = 1 if len(steps) == len(ready) else 0
        going = steps[:keep]
        held: list[asyncio.Handle] = []
        for handle in steps[keep:]:
            (held if rng.random() < _HOLD_BACK else going).append(handle)
        places = iter(going)
        order = (next(places, None) if is_step else handle for handle, is_step in ready)
        self._ready = deque(handle for handle in order if handle is not None)
        return held

    # ---- the end of all things

    def _pass_time(self, seconds: float) -> None:
        if self.time() + seconds > self._max_time:
            self._max_time = self.time() + _CLEANUP_VIRTUAL_S
            raise LivelockError(f"no end at {self.time():g} s of virtual time; {self._who_waits()}")
        self.clock.advance(seconds)

    def _dead(self) -> NoReturn:
        raise DeadlockError(f"nothing is runnable and no timer is set at {self.time():g} s; {self._who_waits()}")

    def _who_waits(self) -> str:
        waiting = sorted(_where(task) for task in asyncio.all_tasks(self))
        more = f"\n  and {len(waiting) - _SHOWN_TASKS} more" if len(waiting) > _SHOWN_TASKS else ""
        seed = "" if self.seed is None else f" (seed {self.seed})"
        return f"{len(waiting)} tasks wait{seed}:" + "".join(f"\n  {line}" for line in waiting[:_SHOWN_TASKS]) + more


class _VirtualSelector(selectors.DefaultSelector):
    """What the loop calls to sleep; it lets time pass instead."""

    def __init__(self, loop: VirtualTimeLoop, patience_s: float | None) -> None:
        super().__init__()
        self._loop = loop
        self._patience_s = patience_s

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self._patience_s is None:
            raise RuntimeError(_needs_real_io("a descriptor"))
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._patience_s is not None:
            events = super().select(self._real_wait(timeout, self._patience_s))
            if events:
                return events
        if timeout is None:
            self._loop._dead()
        if timeout > 0:
            self._loop._pass_time(timeout)
        return []

    @staticmethod
    def _real_wait(timeout: float | None, patience_s: float) -> float:
        if timeout is None:
            return patience_s * _IDLE_FACTOR
        return patience_s if timeout > 0 else 0


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, _T]] | Coroutine[Any, Any, _T],
    *,
    seed: int | None = None,
    clock: VirtualClock | None = None,
    real_io: bool = False,
    max_virtual_s: float = DEFAULT_MAX_VIRTUAL_S,
    max_turns: int = DEFAULT_MAX_TURNS,
) -> _T:
    """Run a coroutine, or a function that makes one, on a new ``VirtualTimeLoop``, and close the loop clean.

    Tasks that are left over are cancelled, as ``asyncio.run`` does.

    Args:
        main: what to run.
        seed, clock, real_io, max_virtual_s, max_turns: as for ``VirtualTimeLoop``.

    Raises:
        DeadlockError: everybody waited and nothing could happen any more.
        LivelockError: a limit was reached.
        UnhandledError: ``main`` ended well, but something else failed with nobody to tell.
    """
    loop = VirtualTimeLoop(seed, clock=clock, real_io=real_io, max_virtual_s=max_virtual_s, max_turns=max_turns)
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    runner = asyncio.Runner(loop_factory=lambda: loop)
    try:
        result = runner.run(main if isinstance(main, Coroutine) else main())
    except BaseException as error:
        _close_after(runner, error)
        raise
    runner.close()
    if unhandled:
        _report(unhandled, seed)
    return result


def _close_after(runner: asyncio.Runner, error: BaseException) -> None:
    try:
        runner.close()
    except SimulationError as second:
        # The first error is the one to look at; this one is most often its echo.
        error.add_note(f"and after everything was cancelled: {type(second).__name__}: {second}")


def _report(unhandled: list[dict[str, Any]], seed: int | None) -> NoReturn:
    lines = [f"{context['message']}: {context.get('exception')!r}" for context in unhandled]
    causes = [context["exception"] for context in unhandled if "exception" in context]
    where = "" if seed is None else f" (seed {seed})"
    raise UnhandledError(f"{len(unhandled)} unhandled{where}: " + "; ".join(lines)) from next(iter(causes), None)


def _where(task: asyncio.Task[Any]) -> str:
    """A task's name and the innermost line at which it waits."""
    place: Any = task.get_coro()
    frame = None
    while place is not None:
        frame = getattr(place, "cr_frame", None) or frame
        place = getattr(place, "cr_await", None)
    at = "" if frame is None else f" at {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
    return f"{task.get_name()}{at}"


def _needs_real_io(what: str) -> str:
    return f"{what} has no place in virtual time; make the loop with real_io=True to allow it"
