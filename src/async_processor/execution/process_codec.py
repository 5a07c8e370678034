"""Turns functions, payloads and results into bytes for the way to a worker process and back.

What can be imported under its own name travels as that name (the standard library's pickle); what cannot (lambdas,
closures, anything of ``__main__``, which a worker never imports) travels by value, through cloudpickle.
"""

from __future__ import annotations

import io
import pickle
import types
import weakref
from collections.abc import Callable
from typing import Any

from ..errors import SizeLimitError, UnserializableError
from ..outcome import ErrorInfo

# Pickle's own bytes (opcodes, keys, the task's fields) do not count against the limits of payload and result.
OVERHEAD_BYTES = 64 * 1024
_PROTOCOL = 5
_MAIN = b"__main__"
# How pickle says that a function or class cannot be found under its own name.
_NOT_FOUND_BY_NAME = (pickle.PicklingError, AttributeError)
# A pickler writes frames of 64 KiB up to about twice that; only larger pieces are surely somebody's raw bytes.
_MAX_FRAME_BYTES = 160 * 1024


class Chunks:
    """Bytes in pieces, as a pickler writes them. Large ``bytes`` objects are kept as they are and not copied.

    Args:
        limit: how many bytes are accepted.
        what: names the value in errors.
    """

    __slots__ = ("_limit", "_what", "parts", "size")

    def __init__(self, limit: int, what: str) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self._limit = limit
        self._what = what

    def write(self, piece: Any) -> int:
        """Take a piece.

        Raises:
            SizeLimitError: there is more than ``limit``.
        """
        size = len(piece)
        self.size += size
        if self.size > self._limit:
            raise SizeLimitError(
                f"{self._what} is larger than {self._limit:,} bytes on its way between processes; "
                "send less, or raise max_payload_bytes or max_result_bytes"
            )
        # Anything but bytes is memory that the pickler lends for this call only.
        self.parts.append(piece if type(piece) is bytes else bytes(piece))
        return size

    def names_main(self) -> bool:
        """Whether it seems to refer to ``__main__``: then it would not be found in a worker."""
        for part in self.parts:  # noqa: SIM110 - of every message: ``any`` with a generator takes three times as long
            if len(part) <= _MAX_FRAME_BYTES and _MAIN in part:
                return True
        return False


class Encoder:
    """Pickles values, one at a time, for one thread.

    It keeps its pickler: to make one takes twice as long as to pickle an ordinary message.
    """

    __slots__ = ("_chunks", "_pickler")

    def __init__(self) -> None:
        self._chunks: Chunks | None = None
        self._pickler: pickle.Pickler | None = None

    def encode(self, value: Any, limit: int, what: str) -> Chunks:
        """Pickle a value.

        Args:
            value: anything.
            limit: how many bytes it may take.
            what: names the value in errors, e.g. ``"the payload of task 'x'"``.

        Raises:
            UnserializableError: it cannot be pickled.
            SizeLimitError: it is larger than ``limit``.
        """
        if self._chunks is not None:
            return encode(value, limit, what)  # code of the value that is being pickled wants another one pickled
        chunks = self._chunks = Chunks(limit, what)
        # One that stops halfway is not used again.
        pickler, self._pickler = self._pickler or pickle.Pickler(self, _PROTOCOL), None
        try:
            error = _dump(pickler, value)
        finally:
            self._chunks = None
        if error is None:
            pickler.clear_memo()  # it remembers every object that it has pickled
            self._pickler = pickler
            if not chunks.names_main():
                return chunks
        return _by_value(value, limit, what, error)

    def write(self, piece: Any) -> int:
        """Take a piece from the pickler. Raises as ``Chunks.write``."""
        assert self._chunks is not None  # noqa: S101 - it writes only while it pickles
        return self._chunks.write(piece)


def encode(value: Any, limit: int, what: str) -> Chunks:
    """Pickle a single value; as ``Encoder.encode``."""
    return Encoder().encode(value, limit, what)


def _by_value(value: Any, limit: int, what: str, error: BaseException | None) -> Chunks:
    """Pickle what pickle itself cannot, for ``error``, or only in a way that a worker could not read."""
    if error is not None and not isinstance(error, _NOT_FOUND_BY_NAME):
        # Nothing that cloudpickle is for. It would even make a copy of an open file and call that the result.
        raise _unserializable(what, error) from error
    chunks = Chunks(limit, what)
    make_pickler = _by_value_pickler()
    if make_pickler is None:
        if error is not None or _refers_to_main(value):
            raise _unserializable(what, error or "it belongs to __main__, which workers do not import", install=True)
        make_pickler = pickle.Pickler
    error = _dump(make_pickler(chunks, _PROTOCOL), value)
    if error is not None:
        raise _unserializable(what, error) from error
    return chunks


def _dump(pickler: pickle.Pickler, value: Any) -> BaseException | None:
    try:
        pickler.dump(value)
    except (SizeLimitError, MemoryError, KeyboardInterrupt):
        raise  # not because of what the value is; the last may be the user's Ctrl-C
    except BaseException as error:  # noqa: BLE001 - pickling runs code of what is pickled
        return error
    return None


def _by_value_pickler() -> Callable[..., Any] | None:
    try:
        import cloudpickle
    except ImportError:
        return None
    pickler: Callable[..., Any] = cloudpickle.Pickler
    return pickler


class _MainFound(Exception):  # noqa: N818 - a signal, never seen outside
    pass


class _MainFinder(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.FunctionType | type) and getattr(obj, "__module__", None) == "__main__":
            raise _MainFound
        return NotImplemented


def _refers_to_main(value: Any) -> bool:
    try:
        _MainFinder(io.BytesIO(), _PROTOCOL).dump(value)
    except _MainFound:
        return True
    return False


def _unserializable(what: str, why: BaseException | str, *, install: bool = False) -> UnserializableError:
    reason = why if isinstance(why, str) else _shown(why)
    hint = (
        "; lambdas, closures and what __main__ defines need pip install 'advanced-async-processor[closures]'"
        if install
        else ""
    )
    return UnserializableError(f"{what} cannot be sent between processes ({reason}){hint}")


def _shown(error: BaseException) -> str:
    info = ErrorInfo.from_exception(error, with_traceback=False)  # survives an exception whose text cannot be read
    return f"{info.type_name}: {info.message}"


def cannot_rebuild(what: str, error: BaseException) -> UnserializableError:
    """The error for something that was sent, but could not be put together again at the other end."""
    return UnserializableError(
        f"{what} was sent between processes but could not be rebuilt ({_shown(error)}); "
        "it must be importable and unpickle at both ends"
    )


class FunctionEncoder:
    """Pickles processor functions. The bytes of a plain function are made once and kept as long as it lives."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._known: weakref.WeakKeyDictionary[types.FunctionType, bytes] = weakref.WeakKeyDictionary()
        self._limit = limit

    def encode(self, func: Callable[..., Any], task_id: str) -> bytes:
        """The function as bytes.

        Raises:
            UnserializableError: it cannot be pickled; the message names it and the task.
            SizeLimitError: it carries too much with it.
        """
        # Only plain functions that capture nothing: what closures, partials, methods and callable objects hold may
        # change between two attempts.
        if type(func) is not types.FunctionType or func.__closure__ is not None:
            return self._pickled(func, task_id)
        known = self._known.get(func)
        if known is None:
            known = self._known[func] = self._pickled(func, task_id)
        return known

    def _pickled(self, func: Callable[..., Any], task_id: str) -> bytes:
        name = getattr(func, "__qualname__", type(func).__qualname__)
        return b"".join(encode(func, self._limit, f"the function {name!r} of task {task_id!r}").parts)


class FunctionCache:
    """The functions that a worker was sent, by their bytes. The one unused for longest goes."""

    __slots__ = ("_known",)
    MAX_KNOWN = 128

    def __init__(self) -> None:
        self._known: dict[bytes, Callable[..., Any]] = {}

    def load(self, data: bytes) -> Callable[..., Any]:
        """The function behind the bytes; imports its module at first use. Raises whatever that raises."""
        func = self._known.pop(data, None)
        if func is None:
            func = pickle.loads(data)  # noqa: S301 - from the parent of this very process
            while len(self._known) >= self.MAX_KNOWN:
                del self._known[next(iter(self._known))]
        self._known[data] = func
        loaded: Callable[..., Any] = func
        return loaded
