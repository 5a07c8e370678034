"""What ``--store`` names."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..runtime import stores


def file_of(store: str) -> str:
    """The file of a store that commands look into.

    Raises:
        ConfigurationError: it names none.
    """
    path = stores.file_of(store)
    if not path:
        raise ConfigurationError(f"--store must be sqlite:///FILE (sqlite:////FILE from the root), not {store!r}")
    return path
