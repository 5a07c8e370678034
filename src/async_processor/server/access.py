"""Who may see more than whether the process lives.

Two guards, each off unless asked for. A token, for servers that others can reach. Names under which the server may be
called, for one on loopback that every web page in a browser on the same machine can reach: a page of
``evil.example`` whose name was made to mean 127.0.0.1 still calls it ``evil.example``.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

MIN_TOKEN_LENGTH = 16
"""Shorter ones can be guessed."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Access:
    """Decides about a request.

    Args:
        token: what ``Authorization: Bearer`` must hold; None to ask for none.
        hosts: names under which the server may be called, without port; None for any.

    Raises:
        ConfigurationError: the token is too short.
    """

    def __init__(self, token: str | None = None, hosts: Collection[str] | None = None) -> None:
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise ConfigurationError(f"a token for HTTP must have at least {MIN_TOKEN_LENGTH} characters")
        self._token = None if token is None else token.encode("utf-8")
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    def refusal(self, scope: Message) -> int | None:
        """The status code to refuse a request with; None to let it in."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if self._hosts is not None and not self._called_rightly(headers, self._hosts):
            return 403
        if self._token is not None and not self._holds_token(headers, self._token):
            return 401
        return None

    @staticmethod
    def _called_rightly(headers: list[tuple[bytes, bytes]], hosts: Collection[str]) -> bool:
        host = _header(headers, b"host").lower()
        origin = _header(headers, b"origin").lower()
        return _without_port(host) in hosts and (not origin or _same(origin, host))

    @staticmethod
    def _holds_token(headers: list[tuple[bytes, bytes]], token: bytes) -> bool:
        scheme, _, given = _header(headers, b"authorization").partition(" ")
        # Compared whatever the scheme, in a time that tells nothing.
        return hmac.compare_digest(given.strip().encode("latin-1"), token) and scheme.lower() == "bearer"


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header; empty if it is not there, or more than once."""
    values = [value for key, value in headers if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host


class Guarded:
    """An ASGI application behind an ``Access``."""

    def __init__(self, app: AsgiApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        status = self._access.refusal(scope)
        if status is None:
            await self._app(scope, receive, send)
        else:
            headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await refuse(send, status, headers)


async def refuse(send: Send, status: int, headers: Collection[tuple[bytes, bytes]] = ()) -> None:
    """An empty response."""
    fixed = [(b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": b""})
