"""``--http``: health and events of a running program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..processor import AdvancedAsyncProcessor
from .output import tell

if TYPE_CHECKING:
    from ..server.listening import HttpServer

TOKEN = "ASYNC_PROCESSOR_HTTP_TOKEN"  # noqa: S105 - the name of the variable


def serve(processor: AdvancedAsyncProcessor, address: str) -> HttpServer:
    """Listen from now on, and say where.

    Raises:
        ConfigurationError: the address cannot be used, or can be reached by others and there is no token.
        MissingExtraError: the extra ``server`` is not installed.
    """
    # What serves nothing need not wait for it to be imported.
    from ..server.access import LOOPBACK_NAMES
    from ..server.address import Address
    from ..server.app import create_app
    from ..server.listening import HttpServer

    where = Address.parse(address)
    token = os.environ.get(TOKEN)
    if not where.local and not token:
        raise ConfigurationError(
            f"{where.host} can be reached from other machines: set {TOKEN} to a secret that they must know, "
            "or give a port only, to listen on this machine alone"
        )
    # Where others can reach it, nobody knows under which names they do.
    hosts = {where.url(0).removeprefix("http://").removesuffix(":0"), *LOOPBACK_NAMES} if where.local else None
    server = HttpServer.start(create_app(processor, token=token or None, hosts=hosts), where)
    tell(f"async-processor run: health and events on {server.url}")
    return server
