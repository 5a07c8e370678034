"""Values made ready for msgpack, so that they come back equal and of the same types."""

from __future__ import annotations

import dataclasses
import io
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from msgspec.msgpack import Ext

from ..errors import UnserializableError
from .arrays import is_array, is_scalar, parts_of
from .kinds import LEAVES, RAW, Leaf, Marker

MAX_DEPTH = 100
# A value may hold the same list a million times, but a ladder of lists that each hold the next twice has no end. So
# many containers on one level are looked at more closely,
WIDE = 100_000
# and so many items may be kept again because what holds them is there again.
MAX_REPEATED = 10_000_000
_SHOWN_STEPS = 12
_SHOWN_KEY = 60

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
PLAIN_KEYS = PLAIN - {float}
_LEAVES: dict[type, Leaf] = {leaf.kind: leaf for leaf in LEAVES if leaf.kind is not int}
_INT = next(leaf for leaf in LEAVES if leaf.kind is int)
_MARKERS = {marker: Ext(marker.value, b"") for marker in Marker}


def is_plain(value: Any) -> bool:
    """Whether msgpack can keep it as it is, but for a number beyond 64 bits or a text that is none.

    Level by level rather than by recursion: depth and repeats are bounded in passing, and most values have one level.
    """
    # Most results are a single value.
    if type(value) in PLAIN:
        return True
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict and PLAIN_KEYS.issuperset(map(type, item)):
                below += [inner for inner in item.values() if type(inner) not in PLAIN]
            elif kind is list:
                below += [inner for inner in item if type(inner) not in PLAIN]
            elif kind not in PLAIN:
                return False
        if not below:
            return True
        if len(below) > WIDE and len(set(map(id, below))) < len(below):
            return False
        level = below
    return False


def packed(value: Any, what: str) -> Any:
    """The value with msgpack extensions for all that is not plain.

    Raises:
        UnserializableError: something in it cannot be kept; says what, where, and what to send instead.
    """
    try:
        return _Packer().pack(value, MAX_DEPTH)
    except _Refusal as refusal:
        raise UnserializableError(f"{what}{refusal.place()} {refusal.reason}") from None


class _Refusal(Exception):  # noqa: N818 - caught where it is made into an error
    """Collects on its way out where it comes from."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def place(self) -> str:
        steps = self.steps[::-1]
        return "".join(steps) if len(steps) <= _SHOWN_STEPS else "".join([*steps[:_SHOWN_STEPS], "[...]"])


class _Packer:
    def __init__(self) -> None:
        # By id: the container itself, so that the id stays its own; how much depth it had left; what was made of it,
        # and of how many items.
        self._known: dict[int, tuple[Any, int, Any, int]] = {}
        self._items_kept = self._items_repeated = 0

    def pack(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return _checked_text(value)
        if kind is int:
            # What one field of msgpack can hold.
            return value if -(1 << 63) <= value < 1 << 64 else Ext(_INT.code, _INT.pack(value))
        if kind in PLAIN:
            return value
        leaf = _LEAVES.get(kind)
        if leaf is not None:
            return _leaf(leaf, value)
        if kind in _CONTAINERS:
            return self._container(value, depth)
        return _foreign(value)

    def _container(self, value: Any, depth: int) -> Any:
        if depth == 0:
            raise _Refusal(f"is nested deeper than {MAX_DEPTH} levels, or contains itself; send something flatter")
        _, known_depth, made, items = self._known.get(id(value), (None, MAX_DEPTH + 1, None, 0))
        if depth >= known_depth:
            self._items_kept += items
            self._items_repeated += items
            if self._items_repeated > MAX_REPEATED:
                raise _Refusal("is there too often: a store would keep a copy for each time; send less")
            return made
        before = self._items_kept
        self._items_kept += 1 + len(value)
        made = _CONTAINERS[type(value)](self, value, depth - 1)
        self._known[id(value)] = (value, depth, made, self._items_kept - before)
        return made

    def _items(self, items: Iterable[Any], depth: int) -> Iterator[Any]:
        for index, item in enumerate(items):
            try:
                yield self.pack(item, depth)
            except _Refusal as refusal:
                refusal.steps.append(f"[{index}]")
                raise

    def list_(self, value: list[Any], depth: int) -> Any:
        return list(self._items(value, depth))

    def tuple_(self, value: tuple[Any, ...], depth: int) -> Any:
        return [_MARKERS[Marker.TUPLE], *self._items(value, depth)]

    def set_(self, value: set[Any] | frozenset[Any], depth: int) -> Any:
        marker = Marker.SET if type(value) is set else Marker.FROZENSET
        return [_MARKERS[marker], *(self._key(item, depth, " (an item of the set)") for item in value)]

    def dict_(self, value: dict[Any, Any], depth: int) -> Any:
        if all(type(key) in PLAIN_KEYS for key in value) and all(map(_fits, value)):
            return {self._key(key, depth): self._field(key, inner, depth) for key, inner in value.items()}
        flat: list[Any] = [_MARKERS[Marker.DICT]]
        for key, inner in value.items():
            flat += (self._key(key, depth), self._field(key, inner, depth))
        return flat

    def _field(self, key: Any, value: Any, depth: int) -> Any:
        try:
            return self.pack(value, depth)
        except _Refusal as refusal:
            refusal.steps.append(f"[{_shown(key)}]")
            raise

    def _key(self, key: Any, depth: int, role: str = " (a key)") -> Any:
        try:
            made = self.pack(key, depth)
            if _holds_nan(key):
                raise _Refusal("is or holds NaN, which is not equal to itself and could not be found again")
        except _Refusal as refusal:
            refusal.steps[:] = [role]
            raise
        return made


_CONTAINERS: dict[type, Callable[[_Packer, Any, int], Any]] = {
    list: _Packer.list_,
    tuple: _Packer.tuple_,
    set: _Packer.set_,
    frozenset: _Packer.set_,
    dict: _Packer.dict_,
}


def _fits(key: Any) -> bool:
    return type(key) is not int or -(1 << 63) <= key < 1 << 64


def _checked_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Refusal(
                "is a text with a lone surrogate, which no encoding has; clean it, e.g. by"
                " .encode('utf-8', 'replace').decode()"
            ) from None
    return value


def _leaf(leaf: Leaf, value: Any) -> Ext:
    try:
        return Ext(leaf.code, leaf.pack(value))
    except Exception as error:  # noqa: BLE001 - a tzinfo of the caller's may do anything when asked
        told = str(error) if type(error) is ValueError else f"cannot be read ({type(error).__name__})"
        raise _Refusal(told) from None


def _foreign(value: Any) -> Any:
    if isinstance(value, memoryview):
        return value if value.c_contiguous else bytes(value)
    array = is_array(value)
    if not array and not is_scalar(value):
        raise _Refusal(f"is {_named(value)}; {_advice(value)}")
    try:
        dtype, shape, data = parts_of(value)
    except ValueError as error:
        raise _Refusal(str(error)) from None
    if array:
        return [_MARKERS[Marker.NUMPY_ARRAY], dtype, list(shape), Ext(RAW, data)]
    return [_MARKERS[Marker.NUMPY_SCALAR], dtype, Ext(RAW, data)]


def _holds_nan(key: Any) -> bool:
    """Of a value that was packed, and so is of known types. Only NaN is not equal to itself."""
    if isinstance(key, tuple | frozenset):
        return any(map(_holds_nan, key))
    return bool(key != key)


def _shown(key: Any) -> str:
    if isinstance(key, str | bytes):
        return repr(key[:_SHOWN_KEY])
    # Not the digits of a huge number, nor what a class of the caller's says of itself.
    small = type(key) in (bool, type(None)) or (type(key) is int and _fits(key))
    return repr(key) if small else f"<{type(key).__name__}>"


def _named(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"a {name}, which a store cannot keep"


# In this order: a member of a StrEnum is a str too.
_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((Enum,), "send its .value"),
    ((PurePath,), "send its path as a text, by str()"),
    ((str, int, float, bytes, bytearray), "send the plain text, number or bytes without the class of its own"),
    ((dict, list, tuple, set, frozenset, Mapping), "send a plain dict, list, tuple or set with the same in it"),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType, type), "send its name and look it up there"),
    ((io.IOBase,), "send its path or its bytes"),
    ((Iterator,), "send a list of what it yields"),
)


def _advice(value: Any) -> str:
    for kinds, advice in _ADVICE:
        if isinstance(value, kinds):
            return advice
    if dataclasses.is_dataclass(value):
        return "send a dict, e.g. by dataclasses.asdict()"
    if hasattr(type(value), "numpy"):
        return "send a NumPy array, by .numpy()"
    return "send plain data: numbers, texts, bytes, dates, lists, tuples, sets and dicts of these, or NumPy arrays"
