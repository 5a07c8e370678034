"""Python values to typed columns: what a list of records, or a dict of columns, holds.

A column has one type. None, a missing field, NaN and the infinities are all the same: no value. Numbers with whole
numbers among them are numbers; whatever else is mixed becomes text, and a remark says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from . import payload as read
from .extras import needs_extra

FIELD = "data"
LARGEST = 1e150
"""Largest size of a number: its square, and the sum of ten million such squares, can still be written."""

_SHOWN_NAME_CHARS = 40
_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)
_PLAIN = (bool, int, float, str, datetime, date, Decimal)
_NUMBERS = {int, float, Decimal}
_TIMES = {datetime, date}


class Kind(StrEnum):
    """What a column holds."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    TIME = "time"


@dataclass(slots=True, frozen=True, kw_only=True)
class Column:
    """One column as NumPy arrays.

    Attributes:
        name: as the caller named it.
        kind: what it holds.
        values: its array. Where there is no value: None in text, NaN in numbers, NaT in times, anything elsewhere.
        missing: for whole numbers and truth values, an array that is True where there is no value; else None.
        remark: what was done to its values, for the result's warnings.
    """

    name: str
    kind: Kind
    values: Any
    missing: Any = None
    remark: str | None = None


def shown(name: str) -> str:
    """A column's name for a message: in ASCII, and cut."""
    return ascii(name) if len(name) <= _SHOWN_NAME_CHARS else f"{name[:_SHOWN_NAME_CHARS]!a}..."


def columns_of(
    data: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    *,
    max_columns: int,
    max_cells: int,
    step: Callable[[], None],
) -> list[Column]:
    """The columns of records or of a dict of columns.

    Args:
        data: what the payload holds, of these outer types.
        max_columns, max_cells: limits; cells are rows times columns, so that records with few fields each count too.
        step: called between columns; may raise to end the work.

    Raises:
        InvalidPayloadError: the data is too large, uneven, or holds something that is no number, text, time or bool.
        MissingExtraError: the extra "data" is not installed.
    """
    if isinstance(data, Mapping):
        names: Iterable[str] = data
        rows = _common_length(data)
        values_of: Callable[[str], Any] = data.__getitem__
    else:
        names = _names_in(data, max_columns)
        rows = len(data)
        values_of = lambda name: [record.get(name) for record in data]  # noqa: E731 - the other half of a choice
    checked = _checked_names(names, max_columns)
    check_cells(rows, len(checked), max_cells)
    columns = []
    for name in checked:
        step()
        columns.append(_column(name, values_of(name)))
    return columns


def check_cells(rows: int, columns: int, max_cells: int) -> None:
    """Refuse a table that is too large.

    Raises:
        InvalidPayloadError: it has more than ``max_cells`` cells, or no column.
    """
    if not columns:
        raise read.invalid(FIELD, "has no columns; send at least one record with one field")
    if rows * columns > max_cells:
        raise read.invalid(
            FIELD, f"has {rows} rows and {columns} columns; send at most {max_cells} cells, rows times columns"
        )


def check_column_count(count: int, max_columns: int) -> None:
    """Refuse too many columns.

    Raises:
        InvalidPayloadError: there are more than ``max_columns``.
    """
    if count > max_columns:
        raise read.invalid(FIELD, f"has more than {max_columns} columns; send fewer")


def too_large(name: str) -> Exception:
    """The error for a number that could not be squared."""
    return read.invalid(
        FIELD, f"has a number beyond {LARGEST:g} in column {shown(name)}; send smaller ones, or scale them"
    )


def _names_in(records: Sequence[Mapping[str, Any]], max_columns: int) -> dict[str, None]:
    """All field names, in the order in which they first appear."""
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record))
        check_column_count(len(names), max_columns)
    return names


def _checked_names(names: Iterable[Any], max_columns: int) -> list[str]:
    checked: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise read.invalid(FIELD, f"has a column name of type {type(name).__name__}; names must be text")
        if not _is_unicode(name):
            raise read.invalid(FIELD, f"has the column name {shown(name)}; send names without surrogates")
        checked.append(name)
        check_column_count(len(checked), max_columns)
    return checked


def _common_length(columns: Mapping[str, Any]) -> int:
    length: int | None = None
    for name, values in columns.items():
        if not isinstance(values, list | tuple) and not _is_array(values):
            raise read.invalid(
                FIELD, f"has a column {shown(str(name))} of type {type(values).__name__}; "
                "columns must be lists, tuples or NumPy arrays of one dimension"
            )  # fmt: skip
        if length is not None and len(values) != length:
            raise read.invalid(
                FIELD,
                f"has columns of different lengths, {length} and {len(values)}; send equally many values for each",
            )
        length = len(values)
    return length or 0


def _is_array(values: object) -> bool:
    return hasattr(values, "dtype") and hasattr(values, "tolist") and getattr(values, "ndim", 0) == 1


def _column(name: str, values: Any) -> Column:
    if _is_array(values):
        return _of_array(name, values)
    return _of_values(name, values)


def _of_array(name: str, array: Any) -> Column:
    numpy = _numpy()
    if isinstance(array, numpy.ma.MaskedArray) or array.dtype.kind in "OU":
        return _of_values(name, array.tolist())
    match array.dtype.kind:
        case "b":
            return Column(name=name, kind=Kind.BOOLEAN, values=array)
        case "i" | "u":
            return Column(name=name, kind=Kind.INTEGER, values=array.astype(f"{array.dtype.kind}8"))
        case "f":
            with numpy.errstate(over="ignore"):  # what a long double holds beyond is refused with the infinities
                return _numbers(name, array, array.astype("f8"))
        case "M":
            return Column(name=name, kind=Kind.TIME, values=array.astype("M8[us]"))
    raise _refused(name, str(array.dtype))


def _of_values(name: str, given: Sequence[Any]) -> Column:
    types, values = {type(value) for value in given}, given
    if not types <= {*_PLAIN, type(None)}:
        values = [_plain(name, value) for value in given]
        types = {type(value) for value in values}
    types.discard(type(None))
    if types == {bool}:
        return _with_missing(name, Kind.BOOLEAN, values, "?")
    if types == {int}:
        return _whole(name, values)
    if types and types <= _NUMBERS:
        floats = [math.nan if value is None else _float(name, value) for value in values]
        return _numbers(name, None, _numpy().array(floats, "f8"))
    if types and types <= _TIMES:
        return Column(name=name, kind=Kind.TIME, values=_numpy().array([_moment(item) for item in values], "M8[us]"))
    if types <= {str}:
        return _text(name, values, None)
    mixed = " and ".join(sorted(item.__name__ for item in types))
    return _text(name, [_as_text(name, item) for item in values], f"column {shown(name)} holds {mixed}: taken as text")


def _plain(name: str, value: Any) -> Any:
    """The value as one of the plain types: enums, NumPy's scalars and subclasses stand for what they are made of."""
    if value is None:
        return None
    if type(value).__module__ == "numpy" and hasattr(value, "dtype"):
        if value.ndim or value.dtype.kind not in "biufMU" or (value.dtype.kind == "f" and value.dtype.itemsize > 8):
            raise _refused(name, str(value.dtype))
        # Finer times would come out as counts of nanoseconds.
        value = (value.astype("M8[us]") if value.dtype.kind == "M" else value).item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, datetime):
        if value != value:  # the NaT of pandas passes for a time, and is no value
            return None
        return datetime.combine(date(value.year, value.month, value.day), value.timetz())
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    if value is None or isinstance(value, Decimal):
        return None if value is None else Decimal(value)
    raise _refused(name, type(value).__name__)


def _whole(name: str, values: Sequence[int | None]) -> Column:
    there = [value for value in values if value is not None]
    low, high = min(there), max(there)
    if low in _INT64 and high in _INT64:
        return _with_missing(name, Kind.INTEGER, values, "i8")
    if low in _UINT64 and high in _UINT64:
        return _with_missing(name, Kind.INTEGER, values, "u8")
    raise read.invalid(
        FIELD, f"has a whole number of more than 64 bits in column {shown(name)}; send it as text, or as a float"
    )


def _with_missing(name: str, kind: Kind, values: Sequence[Any], dtype: str) -> Column:
    numpy = _numpy()
    missing = [value is None for value in values]
    if any(missing):
        values = [0 if value is None else value for value in values]
        return Column(name=name, kind=kind, values=numpy.array(values, dtype), missing=numpy.array(missing, "?"))
    return Column(name=name, kind=kind, values=numpy.array(values, dtype))


def _numbers(name: str, given: Any, floats: Any) -> Column:
    """Finite numbers within the limit; infinities that were given are no values, those of the conversion too large."""
    numpy = _numpy()
    finite = numpy.isfinite(floats)
    if given is not None and not numpy.array_equal(finite, numpy.isfinite(given)):
        raise too_large(name)
    floats = numpy.where(finite, floats, numpy.nan)
    if numpy.any(numpy.abs(floats, where=finite, out=numpy.zeros_like(floats)) > LARGEST):
        raise too_large(name)
    return Column(name=name, kind=Kind.NUMBER, values=floats)


def _float(name: str, value: float | Decimal) -> float:
    if isinstance(value, Decimal) and not value.is_finite():
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        raise too_large(name) from None
    if not isinstance(value, float) and not math.isfinite(number):
        raise too_large(name)
    return number


def _moment(value: datetime | date | None) -> datetime | None:
    """In UTC; a time without a zone is taken to be in UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - UTC throughout, see above
    if value.utcoffset() is None:
        return value.replace(tzinfo=None)
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise read.invalid(FIELD, "has a time that is outside of the years 1 to 9999 in UTC; send another") from None


def _text(name: str, values: Sequence[str | None], remark: str | None) -> Column:
    if not _is_unicode("".join(value for value in values if value is not None)):
        raise read.invalid(FIELD, f"is not valid Unicode in column {shown(name)}; send text without surrogates")
    numpy = _numpy()
    array = numpy.empty(len(values), object)
    array[:] = values
    return Column(name=name, kind=Kind.TEXT, values=array, remark=remark)


def _as_text(name: str, value: Any) -> str | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, date):
        return value.isoformat()
    try:
        return str(value)
    except ValueError:  # a whole number of more digits than Python writes
        raise too_large(name) from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(name: str, kind: str) -> Exception:
    return read.invalid(
        FIELD,
        f"has a value of type {kind} in column {shown(name)}; values must be numbers, texts, times, bools or None",
    )


def _numpy() -> Any:
    with needs_extra("data", needed_for="DATA_ANALYTICS"):
        import numpy as np
    return np
