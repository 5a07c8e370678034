"""The HTTP client under every hosted provider: bounded in bytes and time, and sent nowhere else.

- At most ``max_bytes`` of an answer are read. Compressed answers are neither asked for nor taken: a few bytes of one
  can stand for gigabytes.
- One deadline holds for the whole call. A client library's own timeouts start anew with every byte that drips in.
- Redirects are not followed: key and words stay with the server that was configured.
- Cookies are not kept: they would tie what one child says to what another does.
- A cancelled call closes its connection at once, also in the middle of a TLS handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from ...errors import AsyncProcessorError, ProviderError
from .answers import ended_early
from .event_stream import Collector, event_data, is_event_stream
from .failures import Call

if TYPE_CHECKING:
    import httpx2


# A server that has said all has this long, in seconds, to end its answer before its connection is closed instead.
_AFTERMATH_S = 0.2

Client = TypeVar("Client")


async def _close(client: Any) -> None:
    await client.close()


class OpenedLater(Generic[Client]):
    """A client library's client, made at first use.

    It is made in a thread: importing a client library takes a second or more, and reading the certificate
    authorities some milliseconds, for which no event loop may stand still.

    Args:
        make: makes a client.
        close: closes it; its method ``close`` unless given.
    """

    def __init__(self, make: Callable[[], Client], close: Callable[[Client], Awaitable[None]] = _close) -> None:
        self._make = make
        self._close = close
        self._lock = asyncio.Lock()
        self._client: Client | None = None

    async def get(self) -> Client:
        """The client; made now if there is none."""
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
            return self._client

    async def aclose(self) -> None:
        """Close the client if there is one. The next ``get`` makes another."""
        client, self._client = self._client, None
        if client is not None:
            await self._close(client)


def bounded_client(
    *, timeout_s: float, max_bytes: int, limit: str = "AIConfig.max_response_bytes", proxies: bool = True, **more: Any
) -> httpx2.AsyncClient:
    """An HTTP client with the bounds above but the deadline, which ``fetch`` keeps.

    Args:
        timeout_s: seconds for each step of a request.
        max_bytes: largest answer read.
        limit: the setting that ``max_bytes`` comes from.
        proxies: whether it goes by the environment's proxies. They look names up themselves.
        more: further options of the client.
    """
    # Comes with both client libraries, so it is there whenever one of them is.
    import httpx2

    if not proxies:
        # With a transport of its own a client asks the environment for certificates only, and not for proxies.
        more["transport"] = httpx2.AsyncHTTPTransport()
    client: httpx2.AsyncClient = bounded(httpx2, timeout_s=timeout_s, max_bytes=max_bytes, limit=limit, **more)
    return client


def bounded(
    httpx: Any,
    *,
    timeout_s: float,
    max_bytes: int,
    limit: str,
    verify: ssl.SSLContext | bool = True,
    **more: Any,
) -> Any:
    """The same client of either generation of HTTPX.

    Args:
        httpx: the module.
        timeout_s: seconds until a connection, or between two bytes.
        max_bytes: largest answer read.
        limit: the setting that this comes from.
        verify: certificate authorities to trust; True for those that HTTPX finds.
        more: further options of the client.
    """

    async def guard(response: Any) -> None:
        client.cookies.clear()
        _check_announced(response.headers, max_bytes, limit)
        response.stream = _limited_stream(httpx.AsyncByteStream)(response.stream, max_bytes, limit)

    client = httpx.AsyncClient(
        timeout=timeout_s,
        verify=verify,
        follow_redirects=False,
        event_hooks={"request": [_prepare], "response": [guard]},
        **more,
    )
    return client


async def _prepare(request: Any) -> None:
    request.headers["accept-encoding"] = "identity"
    request.extensions = {**request.extensions, "trace": _HandshakeGuard()}


class _HandshakeGuard:
    """Closes a connection whose TLS handshake is given up.

    A ``trace`` extension of HTTPX. The transport itself closes it after an error, but not after a cancel
    (httpcore2 2.16): the socket would stay open, held by the event loop, until the server thinks of closing it.
    """

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            self._stream = info["return_value"]
        elif event.endswith((".start_tls.complete", ".start_tls.failed")):
            stream, self._stream = self._stream, None
            if stream is not None and event.endswith("failed"):
                await stream.aclose()


def _check_announced(headers: Mapping[str, str], max_bytes: int, limit: str) -> None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProviderError("the provider sent a compressed answer, which was not asked for")
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > max_bytes):
        raise _too_large(max_bytes, limit)


@functools.cache
def _limited_stream(base: Any) -> Callable[[Any, int, str], Any]:
    """The class for an answer's bytes that stops at a limit; made late, because its base is imported late."""

    class LimitedStream(base):  # type: ignore[misc]  # its base depends on the library
        def __init__(self, stream: Any, max_bytes: int, limit: str) -> None:
            self._stream = stream
            self._max_bytes = max_bytes
            self._limit = limit

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = self._max_bytes
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    raise _too_large(self._max_bytes, self._limit)
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    return LimitedStream


async def fetch(send: Callable[[], Awaitable[Any]], call: Call, timeout_s: float) -> bytes:
    """Make one call with a client library, raw, and give back the body of a successful answer.

    Raises:
        ProviderError: no answer within ``timeout_s`` seconds, none at all, or one worth another attempt.
        PermanentError: the provider refused the request for good.
    """
    failure: AsyncProcessorError
    try:
        async with asyncio.timeout(timeout_s):
            answer = await send()
        body: bytes = answer.http_response.content
        return body
    except TimeoutError:
        failure = ProviderError(f"{call.provider} did not answer within {timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - a border: what a client library raises for hostile answers has no list
        failure = call.failure(error)
    # Raised out here, so that it drags no foreign exception along: their texts may hold the key or the prompt.
    raise failure


async def fetch_stream(
    send: Callable[[], AbstractAsyncContextManager[Any]], collector: Collector, call: Call, timeout_s: float
) -> bytes | None:
    """Make one call with a client library, and hand its answer to ``collector`` event by event as it comes.

    The bounds are those of ``fetch``: one deadline for the whole reply, however slowly it drips, and ``max_bytes``.

    Returns:
        the whole body where the server did not stream, for whoever asked to read; else None.

    Raises:
        ProviderError: as ``fetch``, or the stream ended before the reply was complete.
        PermanentError: the provider refused the request for good.
    """
    failure: AsyncProcessorError
    try:
        async with asyncio.timeout(timeout_s), send() as answer:
            response = answer.http_response
            if not is_event_stream(response.headers):
                body: bytes = await response.aread()
                return body
            events = event_data(response.aiter_bytes())
            async for data in events:
                if collector.add(data):
                    await _to_its_end(events)
                    return None
        failure = ended_early(call.provider)
    except TimeoutError:
        failure = ProviderError(f"{call.provider} did not answer within {timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - a border: what a client library raises for hostile answers has no list
        failure = call.failure(error)
    # Raised out here for the same reason as in ``fetch``.
    raise failure


async def _to_its_end(events: AsyncIterator[bytes]) -> None:
    """Read what follows a complete reply, which should be nothing: only then is its connection of use to the next."""
    with contextlib.suppress(TimeoutError, ProviderError):
        async with asyncio.timeout(_AFTERMATH_S):
            async for _ in events:
                pass


async def request(
    client: httpx2.AsyncClient, method: str, url: str, call: Call, timeout_s: float, body: Any = None
) -> bytes:
    """Make one call without a client library: JSON sent if there is a ``body``, the bytes of a successful answer back.

    Raises:
        AsyncProcessorError: as ``fetch``.
    """

    async def send() -> _Answered:
        answer = await client.request(method, url, json=body)
        if not answer.is_success:
            raise call.refusal(answer.status_code, _error_body(answer.content), answer.headers)
        return _Answered(answer)

    return await fetch(send, call, timeout_s)


class _Answered(NamedTuple):
    """An answer in the form in which client libraries give theirs."""

    http_response: httpx2.Response


def _error_body(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def _too_large(max_bytes: int, limit: str) -> ProviderError:
    return ProviderError(f"the provider's answer is larger than {max_bytes} bytes ({limit})")
