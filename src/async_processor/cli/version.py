"""``async-processor version``: what is installed, for a bug report."""

from __future__ import annotations

import platform
from importlib.metadata import version


def version_line() -> str:
    """Versions of the package and of Python, and the platform."""
    name = "advanced-async-processor"
    return f"{name} {version(name)}, Python {platform.python_version()}, {platform.platform()}"
