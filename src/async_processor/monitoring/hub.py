"""Hands what happens to whoever watches, at almost no cost when nobody does.

Each hook of ``Observer`` is an attribute of the hub: a function that calls the observers which really override it,
or, when there is none, something false. So the engine need not even build an event that nobody reads::

    if hub.task_finished:
        hub.task_finished(TaskFinished(...))
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..errors import ConfigurationError
from .observer import (
    AttemptEnded,
    AttemptStarted,
    Observer,
    TaskFinished,
    TaskProgress,
    TaskRetried,
    TaskSubmitted,
)

logger = logging.getLogger("async_processor.monitoring")

HOOKS = tuple(name for name, value in vars(Observer).items() if inspect.isfunction(value))
"""The names of all hooks, in the order in which ``Observer`` lists them."""

_E_contra = TypeVar("_E_contra", contravariant=True)
_A_contra = TypeVar("_A_contra", contravariant=True)


class Hook(Protocol[_E_contra]):
    """A hook with one argument; false when nobody listens."""

    def __call__(self, event: _E_contra, /) -> None: ...

    def __bool__(self) -> bool: ...


class Hook2(Protocol[_E_contra, _A_contra]):
    """A hook with two arguments; false when nobody listens."""

    def __call__(self, first: _E_contra, second: _A_contra, /) -> None: ...

    def __bool__(self) -> bool: ...


class _Silence(tuple[()]):
    """What a hook is while nobody listens."""

    # A tuple, because an empty one is false without a call into Python; a __bool__ of our own costs four times that.
    __slots__ = ()

    def __call__(self, *_: object) -> None:
        """Nobody listens."""


_SILENCE = _Silence()


class ObserverHub:
    """The observers of one engine. All calls on the event loop's thread.

    An observer whose hook raises is removed and logged, once. Observers may be added and removed at any time, also
    from within a hook: the event being handed out still goes to those who were there when it began.
    """

    started: Hook[float]
    task_submitted: Hook[TaskSubmitted]
    attempt_started: Hook[AttemptStarted]
    attempt_ended: Hook[AttemptEnded]
    task_retried: Hook[TaskRetried]
    task_progress: Hook[TaskProgress]
    task_finished: Hook[TaskFinished]
    submission_rejected: Hook2[str, float]
    stopped: Hook[float]

    def __init__(self, *observers: Observer) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._rebuild()
        for observer in observers:
            self.add(observer)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Those present, in the order in which they were added."""
        return self._observers

    def add(self, observer: Observer) -> None:
        """Let ``observer`` be told from the next event on. Adding it again changes nothing.

        Raises:
            ConfigurationError: it is no ``Observer``, or one of its hooks is a coroutine function.
        """
        if not isinstance(observer, Observer):
            raise ConfigurationError(f"an observer must be an instance of Observer, not {type(observer).__name__}")
        for name in HOOKS:
            if inspect.iscoroutinefunction(getattr(observer, name)):
                raise ConfigurationError(f"{type(observer).__name__}.{name} must not be async: hooks return at once")
        if not self._holds(observer):
            self._observers = (*self._observers, observer)
            self._rebuild()

    def remove(self, observer: Observer) -> bool:
        """Tell ``observer`` nothing more. Returns whether it was there."""
        # By identity: an observer may define an equality of its own.
        was_there = self._holds(observer)
        self._observers = tuple(item for item in self._observers if item is not observer)
        self._rebuild()
        return was_there

    def _holds(self, observer: Observer) -> bool:
        return any(item is observer for item in self._observers)

    def _rebuild(self) -> None:
        for name in HOOKS:
            listeners = tuple(item for item in self._observers if _overrides(item, name))
            setattr(self, name, self._dispatcher(name, listeners) if listeners else _SILENCE)

    def _dispatcher(self, name: str, listeners: tuple[Observer, ...]) -> Callable[..., None]:
        calls = tuple((getattr(item, name), item) for item in listeners)
        only, its_observer = calls[0]

        def dispatch_to_one(event: Any) -> None:
            try:
                only(event)
            except Exception as error:  # noqa: BLE001 - foreign code; whatever it raises must not reach the engine
                self._drop(its_observer, name, error)

        def dispatch(event: Any) -> None:
            for call, observer in calls:
                try:
                    call(event)
                except Exception as error:  # noqa: BLE001 - as above
                    self._drop(observer, name, error)

        def dispatch_two(first: Any, second: Any) -> None:
            for call, observer in calls:
                try:
                    call(first, second)
                except Exception as error:  # noqa: BLE001 - as above
                    self._drop(observer, name, error)

        # Three of a kind: most often there is one listener, and passing *args on would double the cost of every event.
        if name == "submission_rejected":
            return dispatch_two
        return dispatch_to_one if len(calls) == 1 else dispatch

    def _drop(self, observer: Observer, name: str, error: Exception) -> None:
        if self.remove(observer):
            logger.error(
                "observer %s failed in %s and is told nothing more; tasks are not affected",
                type(observer).__name__,
                name,
                exc_info=error,
            )


def _overrides(observer: Observer, name: str) -> bool:
    hook = getattr(observer, name)
    return getattr(hook, "__func__", None) is not getattr(Observer, name)
