"""The error of a step that the lifecycle does not hold.

In a module of its own, because a compiled one (docs/compiled.md) cannot derive a class from a built-in exception.
"""

from __future__ import annotations


class IllegalStepError(AssertionError):
    """The scheduler tried a step that the table does not hold. Always a bug of this library."""
