"""How large a payload or result is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCALAR_BYTES = 8


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
        if isinstance(item, str | bytes | bytearray):
            total += len(item)
        elif isinstance(item, memoryview):
            total += item.nbytes
        elif isinstance(item, Mapping | list | tuple | set | frozenset):
            if id(item) not in seen:
                seen.add(id(item))
                # Empty containers count too, or a million of them would pass as nothing.
                total += _SCALAR_BYTES
                pending += [*item.keys(), *item.values()] if isinstance(item, Mapping) else item
        else:
            total += getattr(item, "nbytes", _SCALAR_BYTES)
    return total
