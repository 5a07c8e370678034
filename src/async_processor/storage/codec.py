"""Values as bytes: msgpack, never pickle. What goes in comes out equal and of the same type, or is refused.

None, bool, int of any size, float, str, bytes, bytearray, list, tuple, set, frozenset, dict, datetime, date, time,
timedelta, Decimal, UUID, the library's own enums, and NumPy arrays and scalars of numbers, truth values or times. Keys
and items of sets may be any of these that can be hashed, except NaN. Not quite the same come back: a memoryview as
bytes, a named time zone as its UTC offset, an array's memory in C order. Subclasses (other enums, named tuples,
ordered dicts) are refused rather than turned into something that a processor function would treat differently.

The first byte is the form, and at the same time the head of a msgpack array of as many elements as the form's number:

- form 1, ``[value]``: all plain msgpack, no extensions. The common case, read and written at msgspec's full speed.
- form 2, ``[value, None]``: with the extensions of ``kinds``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.msgpack import Decoder, Encoder

from ..errors import StoreFormatError, UnserializableError
from .nesting import check_nesting
from .packing import is_plain, packed
from .unpacking import extension, no_extension, unpacked

_PLAIN_FORM = b"\x91"
_EXACT_FORM = b"\x92"

_encode = Encoder().encode
_plain = Decoder(ext_hook=no_extension)
_exact = Decoder(ext_hook=extension)

DAMAGE = (DecodeError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, ImportError)
"""What reading of bytes that nobody wrote here can raise."""


def encode_value(value: Any, what: str) -> bytes:
    """Put a value into bytes.

    Args:
        value: see above for what it may hold.
        what: what it is called in messages, e.g. ``"result"``.

    Raises:
        UnserializableError: something in it cannot be kept; says what, where, and what to send instead.
    """
    return encode_within(value, what, _form)


def decode_value(data: bytes) -> Any:
    """The value that ``encode_value`` was given. Safe for bytes of any origin.

    Raises:
        StoreFormatError: they were not made by ``encode_value``, are damaged, or were made by a newer version.
    """
    try:
        form = data[:1]
        check_nesting(data)
        if form == _PLAIN_FORM:
            return _plain.decode(data)[0]
        if form == _EXACT_FORM:
            return unpacked(_exact.decode(data)[0])
    except DAMAGE as error:
        raise StoreFormatError(f"a stored value cannot be read: {cause(error)}") from error
    raise StoreFormatError("a stored value is damaged, or was made by a newer version of this library")


def encode_within(value: Any, what: str, wrap: Callable[[Any, bool], Any]) -> bytes:
    """Put a value into bytes as part of something larger.

    Args:
        value, what: as for ``encode_value``.
        wrap: given the value as msgpack can have it, and whether that is with extensions; gives the whole.

    Raises:
        UnserializableError: as ``encode_value``; also if the rest of the whole cannot be kept.
    """
    try:
        if is_plain(value):
            try:
                return _encode(wrap(value, False))
            except (OverflowError, ValueError):
                # A number beyond 64 bits, which needs an extension, or a text that is none: found out below.
                pass
        return _encode(wrap(packed(value, what), True))
    except (OverflowError, ValueError) as error:
        raise UnserializableError(f"{what}, or what is kept with it, cannot be put into bytes: {error}") from None
    except RuntimeError as error:
        raise UnserializableError(
            f"{what} cannot be put into bytes ({error}); do not change it once it is handed over"
        ) from None


def decode_within(data: bytes | Raw, *, exact: bool) -> Any:
    """The value that ``encode_within`` was given, from its bytes alone; raises one of ``DAMAGE``."""
    return unpacked(_exact.decode(data)) if exact else _plain.decode(data)


def cause(error: BaseException) -> str:
    """Why reading failed, for a message. Without the content: it may be what a child said."""
    if isinstance(error, ImportError):
        return "it holds a NumPy array, and NumPy is not installed: pip install 'advanced-async-processor[voice]'"
    return str(error) if isinstance(error, DecodeError) else f"damaged ({type(error).__name__})"


def _form(value: Any, exact: bool) -> Any:
    return (value, None) if exact else (value,)
