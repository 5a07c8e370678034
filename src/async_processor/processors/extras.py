"""Turns the import error of an optional library into one that says what to install."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from ..errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(extra: str, needed_for: str) -> Iterator[None]:
    """Wrap the imports of a leaf module's libraries.

    Args:
        extra: name of the extra that installs them.
        needed_for: what does not work without them; begins the message.

    Raises:
        MissingExtraError: one of them is not there, or is there but cannot be loaded.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(extra, needed_for=needed_for) from error


def missing_extra(extra: str, needed_for: str, *modules: str) -> str | None:
    """What to install where one of the modules is not there, else None. Looks for them and loads none."""
    if all(importlib.util.find_spec(name) is not None for name in modules):
        return None
    return str(MissingExtraError(extra, needed_for=needed_for))
