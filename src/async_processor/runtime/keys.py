"""Which idempotency keys are in use, and by which task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..errors import AsyncProcessorError

_SWEEP_SLACK = 1_024


class RepeatedKeyError(AsyncProcessorError):
    """A task of this key was submitted before. Never seen by callers: they are given the first one's id."""

    def __init__(self, first_id: str) -> None:
        super().__init__(f"task {first_id!r} has this idempotency key")
        self.first_id = first_id


class IdempotencyKeys:
    """Key -> id of the first task that gave it, as long as that task is remembered.

    Args:
        remembered: whether a task is; asked when somebody comes with its key again.
    """

    __slots__ = ("_ids", "_remembered", "_sweep_at")

    def __init__(self, remembered: Callable[[str], bool]) -> None:
        self._ids: dict[str, str] = {}
        self._remembered = remembered
        self._sweep_at = _SWEEP_SLACK

    def load(self, ids: Mapping[str, str]) -> None:
        """Take over the keys of an earlier run."""
        self._ids.update(ids)

    def refuse_repeated(self, key: str | None) -> None:
        """Let a new key pass.

        Raises:
            RepeatedKeyError: it is in use; names the task.
        """
        first = None if key is None else self._ids.get(key)
        if first is not None and self._remembered(first):
            raise RepeatedKeyError(first)

    def add(self, key: str | None, task_id: str) -> None:
        """A task of this key was accepted."""
        if key is None:
            return
        self._ids[key] = task_id
        if len(self._ids) >= self._sweep_at:
            # Nobody says when a task is forgotten, so those that are go from time to time; at a constant cost per key.
            self._ids = {item: owner for item, owner in self._ids.items() if self._remembered(owner)}
            self._sweep_at = 2 * len(self._ids) + _SWEEP_SLACK

    def forget(self, keys: Iterable[str]) -> None:
        """The tasks of these keys are not remembered any more, or were not accepted after all."""
        for key in keys:
            self._ids.pop(key, None)
