"""What msgpack has no type for, and the bytes each is kept as.

Two sorts. A *leaf* is one msgpack extension whose bytes hold the value. A *marker* is an extension without bytes at the
head of an array; it says what the rest of the array was. So no value is packed inside of another's bytes: nothing
large is copied twice, and reading needs no recursion of its own.

The codes are in people's files: one that was used is never given to anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from ..model import LaneName, ProcessingType, TaskPriority, TaskStatus

RAW = 15
"""The bytes of an array, left where they are until the array is made of them."""


class Marker(Enum):
    """What the array behind it was; the value is the code."""

    TUPLE = 16
    SET = 17
    FROZENSET = 18
    DICT = 19
    """Keys and values by turns, because some key is none that msgpack can have."""
    NUMPY_ARRAY = 20
    NUMPY_SCALAR = 21


class Leaf(NamedTuple):
    """A type kept in the bytes of an extension. ``unpack`` raises for bytes that ``pack`` never makes."""

    code: int
    kind: type
    pack: Callable[[Any], bytes | bytearray]
    unpack: Callable[[memoryview], Any]


_SECOND = timedelta(seconds=1)
_TIMEDELTA = struct.Struct("<iII")
# Of two moments with the same local time, when clocks are put back, the second.
_SECOND_FOLD = "f"


def _pack_int(value: int) -> bytes:
    # Two's complement, not digits: linear in its size, both ways.
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _unpack_int(data: memoryview) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text(data: memoryview) -> str:
    return str(data, "ascii")


def _pack_time(value: datetime | time) -> bytes:
    if value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError("has a time zone that knows no UTC offset for it; send a datetime, or a fixed offset")
        # Python writes such an offset, and reads it as none at all.
        if timedelta(0) < abs(offset) < _SECOND:
            raise ValueError("has a UTC offset of less than a second; send one of whole seconds")
    return (value.isoformat() + _SECOND_FOLD * value.fold).encode("ascii")


def _unpack_datetime(data: memoryview) -> datetime:
    text = _text(data)
    return datetime.fromisoformat(text.removesuffix(_SECOND_FOLD)).replace(fold=int(text.endswith(_SECOND_FOLD)))


def _unpack_time(data: memoryview) -> time:
    text = _text(data)
    return time.fromisoformat(text.removesuffix(_SECOND_FOLD)).replace(fold=int(text.endswith(_SECOND_FOLD)))


def _pack_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _unpack_timedelta(data: memoryview) -> timedelta:
    if len(data) != _TIMEDELTA.size:
        raise ValueError("an interval of another size")
    return timedelta(*_TIMEDELTA.unpack(data))


def _of_enum(code: int, kind: type[Enum]) -> Leaf:
    return Leaf(code, kind, lambda member: member.name.encode("ascii"), lambda data: kind[_text(data)])


LEAVES = (
    Leaf(1, int, _pack_int, _unpack_int),
    Leaf(2, bytearray, lambda value: value, bytearray),
    Leaf(3, datetime, _pack_time, _unpack_datetime),
    Leaf(4, date, lambda value: value.isoformat().encode("ascii"), lambda data: date.fromisoformat(_text(data))),
    Leaf(5, time, _pack_time, _unpack_time),
    Leaf(6, timedelta, _pack_timedelta, _unpack_timedelta),
    # As text, which states a huge exponent instead of writing it out.
    Leaf(7, Decimal, lambda value: str(value).encode("ascii"), lambda data: Decimal(_text(data))),
    Leaf(8, UUID, lambda value: value.bytes, lambda data: UUID(bytes=bytes(data))),
    # By name: as good as public, and the same for an enum of texts and one of numbers.
    _of_enum(32, ProcessingType),
    _of_enum(33, TaskPriority),
    _of_enum(34, TaskStatus),
    _of_enum(35, LaneName),
)
