"""What all results have in common: from a dataclass to the plain dict that a task results in, and back.

The classes of a result say which keys it has and what may stand in them; nothing else does. Two rules make the dict:
a tuple becomes a list, and a record in it a dict; whatever else a field holds is handed on as it is. So bytes, and the
rows of a user's own data, which are lists and dicts, are never copied.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Self

from ..errors import InvalidResultError
from ..model import TaskResult

OPTIONAL = {"optional": True}
"""Metadata of a field whose key the plain dict may lack. Its default is None, and so it reads where there is none."""

# Where msgspec says that something is wrong, at the end of its message.
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_BYTES = (bytes, bytearray, memoryview)  # as they are: a text is not decoded into any

_SIMPLE = frozenset({str, int, float, bool, bytes, type(None)})


class Record:
    """A part of a result with fixed keys. The classes below it are frozen dataclasses."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, as a task results in it. Bytes and a user's own data are not copied."""
        names, get_values, optional = _layout(type(self))  # type: ignore[arg-type]  # mypy takes a class for unhashable
        values = get_values(self)
        plain = dict(zip(names, values, strict=True))
        if not _SIMPLE.issuperset(map(type, values)):  # of most of a thousand points or words this is all to ask
            for name, value in plain.items():
                plain[name] = _plain(value)
        for name in optional:
            if plain[name] is None and self._lacks(name):
                del plain[name]
        return plain

    def _lacks(self, _name: str) -> bool:
        """Whether an optional key is not there, given that its value is None."""
        return True


class Result(Record):
    """The result of a task of one type."""

    __slots__ = ()

    @classmethod
    def of(cls, result: TaskResult) -> Self:
        """Read how a task ended.

        Raises:
            TaskFailedError, TaskTimeoutError, TaskCancelledError: it did not complete.
            InvalidResultError: its result is not of this form.
        """
        return cls._read(result.unwrap(), result.task_id)

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Read a result's plain dict, such as a dependency's. Keys that are not known here are left alone.

        Raises:
            InvalidResultError: it is not of this form.
        """
        return cls._read(plain, None)

    @classmethod
    def _variant(cls, _plain: Mapping[str, Any]) -> type[Self]:
        """The class to read it as, where its form depends on what was asked for."""
        return cls

    @classmethod
    def _read(cls, plain: object, task_id: str | None) -> Self:
        import msgspec  # takes longer to import than all the rest of this package

        if not isinstance(plain, Mapping):
            raise _refusal(cls, f"Expected `object`, got `{type(plain).__name__}`", task_id)
        try:
            return msgspec.convert(plain, cls._variant(plain), builtin_types=_BYTES)
        except msgspec.ValidationError as error:
            raise _refusal(cls, str(error), task_id) from None


@functools.cache
def _layout(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], tuple[str, ...]]:
    """The keys in their order, what gets all their values at once, and which of them are optional.

    What a class adds to the one it is made from comes first: it is what was asked for.
    """
    known = {item.name: item for item in fields(kind)}
    own = [name for base in kind.__mro__ for name in inspect.get_annotations(base)]
    names = tuple(dict.fromkeys(name for name in own if name in known))
    # One more than there are: of a single name it would give the value alone.
    getter = attrgetter(*names, names[0])
    return names, lambda record: getter(record)[:-1], tuple(n for n in names if "optional" in known[n].metadata)


def _plain(value: Any) -> Any:
    if type(value) is tuple:
        return [_plain(item) for item in value]
    return value.as_dict() if isinstance(value, Record) else value


def _refusal(kind: type[Result], said: str, task_id: str | None) -> InvalidResultError:
    """The error for what msgspec says of a result: which field, and what it must be; never what stands there."""
    found = _PLACE.fullmatch(said)
    problem, path = (found["problem"], found["path"] or "") if found else (said, "")
    missing = _MISSING.fullmatch(problem)
    if missing is not None:
        path, problem = f"{path}.{missing[1]}".lstrip("."), "it is missing"
    elif not problem.startswith("Expected"):
        problem = "it is none of the values that are known"
    else:
        problem = problem.replace("Expected ", "it must be ").replace(", got ", ", not ")
    whose = "the result" if task_id is None else f"the result of task {task_id!r}"
    where = f"at {path}, " if path else ""
    return InvalidResultError(
        f"{whose} is no {kind.__name__}: {where}{problem.replace('`', '')}", field=path or None, task_id=task_id
    )
