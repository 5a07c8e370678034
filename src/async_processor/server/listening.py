"""A web server inside the event loop that is there. The only module that knows Uvicorn.

Signals stay with whoever runs the loop, logging stays as it is, and the end is bounded: open streams are told to end,
idle connections are closed, and a client that does not take what was sent to it is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from ..errors import ConfigurationError
from ..processors.extras import needs_extra
from .address import Address

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

logger = logging.getLogger("async_processor.server")

# Uvicorn looks three times, every 0.1 s, before it ends; then who is left is hung up on.
GRACE_S = 0.5
ABORT_S = 0.3


class HttpServer:
    """Serves an application on one socket, from ``start`` to ``stop``.

    Attributes:
        url: where it is to be found.
    """

    def __init__(self, server: uvicorn.Server, listening: socket.socket, url: str, end_streams: Callable[[], None]):
        self.url = url
        self._server = server
        self._end_streams = end_streams
        self._serving = asyncio.create_task(server.serve([listening]), name="async-processor-http")
        self._serving.add_done_callback(_report)

    @classmethod
    def start(cls, app: Starlette, address: Address) -> Self:
        """Listen from now on; connections that come before the loop has its next turn wait for it.

        Args:
            app: one of ``create_app``.

        Raises:
            ConfigurationError: the address cannot be listened on.
            MissingExtraError: the extra ``server`` is not installed.
        """
        server = _make_server(app)
        listening = _listen(address)
        return cls(server, listening, address.url(listening.getsockname()[1]), app.state.end_streams)

    async def stop(self) -> None:
        """Listen no more and close every connection, within ``GRACE_S`` + ``ABORT_S``."""
        self._server.should_exit = True
        self._end_streams()
        await asyncio.wait([self._serving], timeout=GRACE_S)
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.wait([self._serving], timeout=ABORT_S)
        if not self._serving.done():
            logger.warning("the HTTP server did not end in time and was given up")
            self._serving.cancel()


def _make_server(app: Starlette) -> uvicorn.Server:
    with needs_extra("server", "--http"):
        import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # They belong to whoever runs the loop.
            yield

    return Server(
        uvicorn.Config(
            app,
            # Whatever else is installed: what is tested is what runs.
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    )


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"cannot listen on {address.host}, port {address.port}: {error}") from error


def _report(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and (error := serving.exception()) is not None:
        logger.error("the HTTP server failed; tasks are not affected", exc_info=error)
