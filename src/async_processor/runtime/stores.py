"""From what a caller says about the store to the store."""

from __future__ import annotations

from typing import Literal

from ..clock import Clock
from ..config import ProcessorConfig
from ..errors import ConfigurationError
from ..storage.base import Store

Durability = Literal["power", "process"]

MEMORY = "memory:"
_SQLITE = "sqlite:///"


def check_store(store: Store | str, durability: str) -> None:
    """Refuse what no store can be made of.

    Raises:
        ConfigurationError: and what would be accepted instead.
    """
    known = store == MEMORY or file_of(store) if isinstance(store, str) else callable(getattr(store, "new_row", None))
    if not known:
        raise ConfigurationError(
            f'store must be "memory:", or "sqlite:///FILE" ("sqlite:////FILE" for an absolute path), not {store!r}'
        )
    if durability not in ("power", "process"):
        raise ConfigurationError(f'durability must be "power" or "process", not {durability!r}')


def open_store(store: Store | str, durability: Durability, config: ProcessorConfig, clock: Clock) -> Store | None:
    """A store for one run; None for nowhere but in memory. A store that a caller made is used as it is."""
    if not isinstance(store, str):
        return store
    if store == MEMORY:
        return None
    # Brings the encoder and the database: only for those who want to keep something.
    from ..storage.sqlite_store import SqliteStore

    return SqliteStore(
        file_of(store),
        durability=durability,
        result_file_bytes=config.result_file_bytes,
        max_results=config.max_results,
        result_ttl_s=config.result_ttl_s,
        max_failures=config.max_failures,
        failure_ttl_s=config.failure_ttl_s,
        clock=clock,
    )


def file_of(url: str) -> str:
    """The file that a store's name leads to; empty if it leads to none."""
    return url.removeprefix(_SQLITE) if url.startswith(_SQLITE) else ""
