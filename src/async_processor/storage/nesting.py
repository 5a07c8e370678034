"""How deep msgpack is nested, found out without nesting calls.

msgspec reads by recursion and stops at Python's recursion limit. A program that has raised that limit far beyond what
the stack holds would be ended by bytes that are a million brackets; so there, and only there, this looks first.
"""

from __future__ import annotations

import sys

SAFE_DEPTH = 3_000

# First byte -> size of the head in all, and how many of its bytes are a length. What is not here is a head of 1.
_HEADS: dict[int, tuple[int, int]] = {
    **{0xC4 + n: (1 + 2**n, 2**n) for n in range(3)},  # bytes
    **{0xC7 + n: (2 + 2**n, 2**n) for n in range(3)},  # extensions: a type comes after the length
    0xCA: (5, 0),
    0xCB: (9, 0),
    **{0xCC + n: (1 + 2**n, 0) for n in range(4)},
    **{0xD0 + n: (1 + 2**n, 0) for n in range(4)},
    **{0xD4 + n: (2 + 2**n, 0) for n in range(5)},
    **{0xD9 + n: (1 + 2**n, 2**n) for n in range(3)},  # texts
    **{0xDC + n: (3 + 2 * (n % 2), 2 + 2 * (n % 2)) for n in range(4)},  # arrays, then maps
}


def check_nesting(data: bytes) -> None:
    """See to it that msgspec can read this.

    Raises:
        ValueError: its recursion might not end in time.
    """
    if len(data) > SAFE_DEPTH < sys.getrecursionlimit() and deeper_than(data, SAFE_DEPTH):
        raise ValueError("nested too deep")


def deeper_than(data: bytes, depth: int) -> bool:
    """Whether arrays and maps are nested deeper than this, up to where the bytes end or make no sense."""
    # How many values are still to come, of each array and map that is open.
    left = [1]
    at = 0
    while at < len(data) and len(left) <= depth + 1:
        while left and not left[-1]:
            left.pop()
        if not left:
            return False
        left[-1] -= 1
        values, size = _next(data, at)
        at += size
        if values:
            left.append(values)
    return len(left) > depth + 1


def _next(data: bytes, at: int) -> tuple[int, int]:
    """Of the value that starts here: how many values are inside of it, and its size without them."""
    head = data[at]
    if 0x80 <= head <= 0x8F:
        return 2 * (head & 0x0F), 1
    if 0x90 <= head <= 0x9F:
        return head & 0x0F, 1
    if 0xA0 <= head <= 0xBF:
        return 0, 1 + (head & 0x1F)
    size, length_bytes = _HEADS.get(head, (1, 0))
    length = int.from_bytes(data[at + 1 : at + 1 + length_bytes], "big")
    if 0xDC <= head <= 0xDF:
        return (length if head <= 0xDD else 2 * length), size
    return 0, size + length
