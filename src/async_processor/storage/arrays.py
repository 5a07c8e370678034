"""NumPy's arrays and scalars as type, shape and bytes. NumPy is asked only if the program has loaded it already."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

# Numbers, truth values and times of a size that is the same on every machine. Never objects, which would be pickled.
_PLAIN_DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c8|c16|[mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)")


def is_array(value: object) -> bool:
    """Whether it is a NumPy array, and of no subclass."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is getattr(numpy, "ndarray", None)


def is_scalar(value: object) -> bool:
    """Whether it is a NumPy scalar."""
    numpy = sys.modules.get("numpy")
    # Not isinstance alone: a class of the caller's may be derived from one.
    return numpy is not None and type(value).__module__ == "numpy" and isinstance(value, numpy.generic)


def parts_of(value: Any) -> tuple[str, tuple[int, ...], memoryview]:
    """Type, shape and bytes of an array or scalar; the bytes are not copied if they lie in one piece.

    Raises:
        ValueError: its dtype cannot be kept.
    """
    dtype = value.dtype.str
    if value.dtype.names is not None or not _PLAIN_DTYPE.fullmatch(dtype):
        raise ValueError(f"is a NumPy value of dtype {str(value.dtype)[:60]}; send numbers, or a list by .tolist()")
    # As plain bytes, because times do not lend theirs out under their own type.
    flat = value.reshape(-1)
    return dtype, value.shape, memoryview(flat.view("u1") if flat.size else b"")


def array_of(dtype: object, shape: object, data: object) -> Any:
    """The array of these parts, writable and with memory of its own.

    Raises:
        ValueError: they are no parts of an array.
        ImportError: NumPy is not installed.
    """
    if not isinstance(dtype, str) or not _PLAIN_DTYPE.fullmatch(dtype) or not isinstance(data, memoryview):
        raise ValueError("not the parts of an array")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("not the shape of an array")
    import numpy as np

    kind = np.dtype(dtype)
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError("an array of another size than its bytes")
    if kind.kind == "b" and len(data) and np.frombuffer(data, "u1").max() > 1:
        raise ValueError("truth values that are neither true nor false")
    return np.frombuffer(data, kind).reshape(shape).copy()


def scalar_of(dtype: object, data: object) -> Any:
    """The scalar of these parts; raises as ``array_of`` does."""
    return array_of(dtype, [], data)[()]
