"""What ``--store`` names."""

from __future__ import annotations

from ..errors import ConfigurationError

_SQLITE = "sqlite:///"


def file_of(store: str) -> str:
    """The file of a store that commands look into.

    Raises:
        ConfigurationError: it names none.
    """
    path = store.removeprefix(_SQLITE) if store.startswith(_SQLITE) else ""
    if not path:
        raise ConfigurationError(f"--store must be sqlite:///FILE (sqlite:////FILE from the root), not {store!r}")
    return path
