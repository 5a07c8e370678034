"""The way back from msgpack, on the guess that a stranger made the bytes.

No code is run and nothing is allocated because a number says so: what is made is as large as what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import array_of, scalar_of
from .kinds import LEAVES, RAW, Marker
from .packing import MAX_DEPTH, PLAIN_KEYS

_LEAVES = {leaf.code: leaf.unpack for leaf in LEAVES}
_MARKERS = {marker.value: marker for marker in Marker}
_INNER = frozenset({list, dict, Marker, memoryview})


def no_extension(code: int, _data: memoryview) -> Any:
    """For bytes that have none.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"extension {code} where there should be none")


def extension(code: int, data: memoryview) -> Any:
    """A leaf's value, a marker, or the bytes of an array.

    Raises:
        ValueError: none of these.
    """
    if code in _LEAVES:
        return _LEAVES[code](data)
    if code == RAW:
        return data
    if code in _MARKERS and not data:
        return _MARKERS[code]
    raise ValueError(f"unknown extension {code}")


def unpacked(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value that was packed; reuses the lists and dicts that it is given.

    Raises:
        ValueError, TypeError: no value packs to this.
    """
    kind = type(value)
    if kind is list or kind is dict:
        if depth == 0:
            raise ValueError("nested too deep")
        return _list(value, depth - 1) if kind is list else _dict(value, depth - 1)
    if kind in _INNER:
        raise ValueError("a marker where none can be")
    return value


def _list(value: list[Any], depth: int) -> Any:
    marker = value[0] if value else None
    if type(marker) is not Marker:
        return _each(value, depth)
    del value[0]
    if marker in _NUMPY:
        return _NUMPY[marker](*value)
    return _CONTAINERS[marker](_each(value, depth))


def _each(value: list[Any], depth: int) -> list[Any]:
    for index, item in enumerate(value):
        if type(item) in _INNER:
            value[index] = unpacked(item, depth)
    return value


def _dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    for key, item in value.items():
        # msgspec makes tuples of arrays that are keys, whatever is in them.
        if type(key) not in PLAIN_KEYS:
            raise ValueError("a key that is none")
        if type(item) in _INNER:
            value[key] = unpacked(item, depth)
    return value


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


_CONTAINERS: dict[Marker, Callable[[list[Any]], Any]] = {
    Marker.TUPLE: tuple,
    Marker.SET: set,
    Marker.FROZENSET: frozenset,
    Marker.DICT: _pairs,
}
_NUMPY: dict[Marker, Callable[..., Any]] = {Marker.NUMPY_ARRAY: array_of, Marker.NUMPY_SCALAR: scalar_of}
