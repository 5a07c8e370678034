"""Values on their way into a database and out of it.

In: what either database can bind. Out: plain values that JSON has, and bytes. What JSON has no type for comes as text
that loses nothing: a Decimal as its digits, dates and times in ISO 8601. Such text is taken on the way in, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..errors import InvalidPayloadError
from . import payload as read

WANTED = "None, a bool, a number, a text, bytes, a date or time, a Decimal or a UUID"
# Deeper than anybody nests, and within what a store keeps.
MAX_DEPTH = 50
_INT64 = 1 << 63
# In passing: as many values are looked at, and of these none that takes longer than a number does.
_LOOKED_AT = 1_000
_LONG = (str, bytes, bytearray, memoryview)


class Values:
    """Takes the values of one task, and counts them.

    Args:
        most: how many may be bound.
        in_passing: whether to look at the first ones only, and into no text, list or mapping.
    """

    def __init__(self, most: int, *, in_passing: bool) -> None:
        self._most = most
        self._count = 0
        self._in_passing = in_passing
        self._left = _LOOKED_AT if in_passing else math.inf

    def expect(self, key: str, count: int) -> None:
        """So many more values come. To be called before any of them is looked at.

        Raises:
            InvalidPayloadError: they are more than may be bound.
        """
        self._count += count
        if self._count > self._most:
            raise read.invalid(key, f"binds {self._count} values; send at most {self._most} in one task")

    def bindable(self, key: str, value: object) -> Any:
        """The value as it is bound; as it came, where it is not looked at.

        Raises:
            InvalidPayloadError: no database has such a value.
        """
        return value if self._is_passed(value, _LONG) else bindable(key, value)

    def bindable_or_json(self, key: str, value: object) -> Any:
        """As ``bindable``; also lists and mappings of what JSON has."""
        return value if self._is_passed(value, (*_LONG, list, tuple, Mapping)) else bindable_or_json(key, value)

    def _is_passed(self, value: object, long: tuple[type, ...]) -> bool:
        self._left -= 1
        return self._in_passing and (self._left < 0 or isinstance(value, long))


def bindable(key: str, value: object) -> Any:
    """The value as it is bound.

    Args:
        key: the payload's field, for the error.

    Raises:
        InvalidPayloadError: no database has such a value.
    """
    match value:
        case None | bool() | date() | time() | UUID():
            return value
        case int():
            if not -_INT64 <= value < _INT64:
                raise read.invalid(key, "has a whole number beyond 64 bits; send a text or a Decimal")
            return int(value)
        case float() | Decimal():
            # Not by math.isfinite, which cannot be asked about a Decimal that signals.
            if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
                raise read.invalid(key, "has a number that is not finite; send None instead")
            return float(value) if isinstance(value, float) else value
        case str():
            return _text(key, value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case _:
            raise read.invalid(
                key, f"has a value that cannot be bound; it must be {WANTED}, not {type(value).__name__}"
            )


def bindable_or_json(key: str, value: object) -> Any:
    """As ``bindable``; also lists and mappings of what JSON has, for columns of JSON or arrays."""
    if not isinstance(value, list | tuple | Mapping):
        return bindable(key, value)
    try:
        return _json(value, MAX_DEPTH)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidPayloadError):
            raise
        raise read.invalid(
            key, f"has a list or mapping that is no JSON; send texts, numbers and such ({error})"
        ) from None


def json_text(value: object) -> str:
    """A list or mapping as JSON, for databases that keep it as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def storable(value: object, depth: int = MAX_DEPTH) -> Any:
    """A value that came from a database as one that can be written as JSON, or as bytes.

    What is nested deeper than ``MAX_DEPTH``, and types that only one database knows, come as text.
    """
    match value:
        case None | bool() | int() | bytes():
            return value
        case str():
            return str(value)
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytearray() | memoryview():
            return bytes(value)
        case list() | tuple() if depth:
            return [storable(item, depth - 1) for item in value]
        case Mapping() if depth:
            return {str(name): storable(item, depth - 1) for name, item in value.items()}
        case list() | tuple() | Mapping():
            return f"({type(value).__name__} nested deeper than {MAX_DEPTH} levels)"
        case _:
            return str(value)


def size_of(value: object) -> int:
    """About how many bytes a value takes; exact for texts of ASCII and for bytes."""
    match value:
        case str() | bytes():
            return len(value)
        case list():
            return sum(map(size_of, value)) + 8
        case dict():
            return sum(len(name) + size_of(item) for name, item in value.items()) + 8
        case _:
            return 8


def _text(key: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise read.invalid(key, "has a text that is not valid Unicode; send text without surrogates") from None
    return str(value)


def _json(value: object, depth: int) -> Any:
    if not depth:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool() | str() | int() | float():
            return _json_leaf(value)
        case list() | tuple():
            return [_json(item, depth - 1) for item in value]
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                raise TypeError("a key that is no text")
            return {_json(name, 1): _json(item, depth - 1) for name, item in value.items()}
        case _:
            raise TypeError(f"a value of type {type(value).__name__}")


def _json_leaf(value: object) -> Any:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is not finite")
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValueError("a whole number beyond 64 bits")
    return value


def _not_finite(value: float) -> str:
    # As PostgreSQL writes them; JSON has none of them.
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def from_text(kind: type, text: str) -> Any:
    """A date, time, Decimal or UUID that was written as text; the text itself for other kinds.

    Raises:
        ValueError: it is not written so.
    """
    if issubclass(kind, datetime | date | time):
        return kind.fromisoformat(text)
    if issubclass(kind, Decimal):
        try:
            return Decimal(text)
        except ArithmeticError:
            raise ValueError("no number") from None
    return UUID(text) if issubclass(kind, UUID) else text
