"""Typed reading of payload fields. Whatever a payload holds, the only error is ``InvalidPayloadError``.

A field that is missing or None counts as not given. Messages name the field, what it must be and the type that came
instead. They never repeat text or bytes of a payload, because messages are logged; numbers and the short names
offered to ``choice`` are repeated.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from ..errors import InvalidPayloadError

DEFAULT_MAX_CHARS = 100_000
_SHOWN_NAME_CHARS = 40
# No name to choose is longer: a text of megabytes need not be compared with each.
_MAX_NAME_CHARS = 1_000

Buffer = bytes | bytearray | memoryview
"""What a payload may hold bytes in."""


def invalid(key: str, problem: str) -> InvalidPayloadError:
    """The error for one field; ``problem`` completes the sentence "payload['key'] ..."."""
    return InvalidPayloadError(f"payload[{key!r}] {problem}", field=key)


def required(payload: Mapping[str, Any], key: str, kind: type | tuple[type, ...], wanted: str) -> Any:
    """A field that must be there.

    Args:
        payload: the task's payload.
        key: name of the field.
        kind: the type or types accepted. ``bool`` does not pass for ``int``.
        wanted: what to send, as in "must be ..."; part of the message.

    Raises:
        InvalidPayloadError: it is missing, None, or of another type.
    """
    value = payload.get(key)
    if value is None:
        raise invalid(key, f"is missing; it must be {wanted}")
    if not _is_kind(value, kind):
        refuse(key, wanted, value)
    return value


def optional(payload: Mapping[str, Any], key: str, kind: type | tuple[type, ...], wanted: str) -> Any:
    """As ``required``, but None where the field is missing or None."""
    return None if payload.get(key) is None else required(payload, key, kind, wanted)


def text(
    payload: Mapping[str, Any],
    key: str,
    default: str | None = None,
    *,
    max_chars: int = DEFAULT_MAX_CHARS,
    wanted: str = "a text",
) -> str:
    """A string that can be written as UTF-8, with at most ``max_chars`` characters. May be empty.

    Args:
        default: used where the field is not given; without one the field is required.

    Raises:
        InvalidPayloadError: missing, not a string, too long, or with half a surrogate pair in it.
    """
    if default is not None and payload.get(key) is None:
        return default
    value: str = required(payload, key, str, wanted)
    if len(value) > max_chars:
        raise invalid(key, f"has {len(value)} characters; send at most {max_chars}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise invalid(key, f"is not valid Unicode at character {error.start}; send text without surrogates") from None
    return value


def number(payload: Mapping[str, Any], key: str, default: float | None, minimum: float, maximum: float) -> float:
    """A finite number from ``minimum`` to ``maximum``, both included; ``default`` None makes it required.

    Raises:
        InvalidPayloadError: missing, not a number (``bool`` is none), not finite, or out of range.
    """
    if default is not None and payload.get(key) is None:
        return default
    wanted = f"a number from {minimum:g} to {maximum:g}"
    value = required(payload, key, numbers.Real, wanted)
    try:
        result = float(value)
    except (OverflowError, ValueError):  # a whole number of more than 308 digits
        result = math.inf
    if not minimum <= result <= maximum:  # NaN fails this too
        raise invalid(key, f"must be {wanted}, not {result:g}")
    return result


def whole(payload: Mapping[str, Any], key: str, default: int | None, minimum: int, maximum: int) -> int:
    """A whole number from ``minimum`` to ``maximum``, both included; ``default`` None makes it required.

    A float without a fraction is taken for one, because JSON writers produce them.

    Raises:
        InvalidPayloadError: as for ``number``, or with a fraction.
    """
    if default is not None and payload.get(key) is None:
        return default
    value = number(payload, key, None, minimum, maximum)
    if not value.is_integer():
        raise invalid(key, f"must be a whole number from {minimum} to {maximum}, not {value:g}")
    given = payload[key]
    return int(given) if isinstance(given, numbers.Integral) else int(value)


def choice(payload: Mapping[str, Any], key: str, default: str | None, choices: Collection[str]) -> str:
    """One of a few names, in any case; gives it back as ``choices`` spells it.

    Args:
        default: used where the field is not given; None makes it required.

    Raises:
        InvalidPayloadError: missing, not a string, or another name.
    """
    if default is not None and payload.get(key) is None:
        return default
    wanted = f"one of {', '.join(repr(item) for item in choices)}"
    value: str = required(payload, key, str, wanted)
    wished = value.casefold() if len(value) <= _MAX_NAME_CHARS else None
    found = next((item for item in choices if item.casefold() == wished), None)
    if found is None:
        shown = ascii(value) if len(value) <= _SHOWN_NAME_CHARS else f"a name of {len(value)} characters"
        raise invalid(key, f"must be {wanted}, not {shown}")
    return found


def flag(payload: Mapping[str, Any], key: str, *, default: bool) -> bool:
    """True or False; ``default`` where the field is not given. Numbers and words are not taken for either.

    Raises:
        InvalidPayloadError: it is anything else.
    """
    value: bool | None = optional(payload, key, bool, "True or False")
    return default if value is None else value


def mapping(payload: Mapping[str, Any], key: str, wanted: str = "a mapping with string keys") -> Mapping[str, Any]:
    """A mapping with string keys; an empty one where the field is not given.

    Raises:
        InvalidPayloadError: not a mapping, or with a key that is no string.
    """
    value: Mapping[str, Any] = optional(payload, key, Mapping, wanted) or {}
    if not all(issubclass(kind, str) for kind in set(map(type, value))):
        raise invalid(key, f"must be {wanted}, but one of its keys is no string")
    return value


def buffer(payload: Mapping[str, Any], key: str, wanted: str, max_bytes: int, setting: str) -> Buffer:
    """Bytes, at least one and at most ``max_bytes``, as they came: nothing is copied.

    Args:
        wanted: what to send, as in "must be ..."; part of the message.
        setting: name of the setting that holds the limit; part of the message.

    Raises:
        InvalidPayloadError: missing, not bytes, empty, or too many.
    """
    value: Buffer = required(payload, key, (bytes, bytearray, memoryview), wanted)
    try:
        size = size_of(value)
    except ValueError:
        raise invalid(key, "is a memoryview that was released; send the bytes") from None
    if size > max_bytes:
        raise invalid(key, f"has {size} bytes; send at most {max_bytes} ({setting})")
    if not size:
        raise invalid(key, f"is empty; send {wanted}")
    return value


def data(payload: Mapping[str, Any], key: str, wanted: str, max_bytes: int, setting: str) -> bytes:
    """As ``buffer``, but a bytearray or memoryview is copied."""
    return bytes(buffer(payload, key, wanted, max_bytes, setting))


def size_of(value: Buffer) -> int:
    """How many bytes it holds."""
    return value.nbytes if isinstance(value, memoryview) else len(value)


def beginning(value: Buffer, size: int) -> bytes:
    """The first bytes of it; takes as long for a large one as for a small one."""
    if not isinstance(value, memoryview):
        return bytes(value[:size])
    try:
        return bytes(value.cast("B")[:size])
    except (TypeError, ValueError):
        # Not all memory is in one piece, or of a kind that can be seen as bytes.
        return bytes(value)[:size]


def refuse(key: str, wanted: str, value: object) -> NoReturn:
    """Raise the error for a value of the wrong type."""
    raise invalid(key, f"must be {wanted}, not {type(value).__name__}")


def _is_kind(value: object, kind: type | tuple[type, ...]) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds or object in kinds)
