"""How large a payload or result is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCALAR_BYTES = 8
# Told by their type alone, most items take a tenth of the time that it takes to ask whether each is a Mapping.
_SCALARS = frozenset({int, float, bool, type(None)})
_TEXTS = (str, bytes, bytearray)
_CONTAINERS = (dict, list, tuple, set, frozenset, Mapping)


def payload_size(value: Any, limit: int) -> int:
    """Bytes and characters in a value, containers followed, anything else counted as 8.

    Stops counting once past ``limit``, so that the cost is bounded by the limit and not by the value. Containers
    that hold themselves are counted once.
    """
    total = 0
    seen: set[int] = set()
    pending = [value]
    while pending and total <= limit:
        item = pending.pop()
        if type(item) in _SCALARS:
            total += _SCALAR_BYTES
        elif isinstance(item, _TEXTS):
            total += len(item)
        elif isinstance(item, memoryview):
            total += _view_size(item)
        elif isinstance(item, _CONTAINERS):
            if id(item) not in seen:
                seen.add(id(item))
                # Empty containers count too, or a million of them would pass as nothing.
                total += _SCALAR_BYTES
                pending += [*item.keys(), *item.values()] if isinstance(item, (dict, Mapping)) else item
        else:
            total += getattr(item, "nbytes", _SCALAR_BYTES)
    return total


def _view_size(view: memoryview) -> int:
    try:
        return view.nbytes
    except ValueError:
        return _SCALAR_BYTES  # it was released: whoever wants its bytes will find out
