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
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...errors import AsyncProcessorError, ProviderError
from .failures import Call

if TYPE_CHECKING:
    import httpx2


class _Closable(Protocol):
    async def close(self) -> None: ...


Client = TypeVar("Client", bound=_Closable)


class OpenedLater(Generic[Client]):
    """A client library's client, made at first use.

    It is made in a thread: importing a client library takes a second or more, and reading the certificate
    authorities some milliseconds, for which no event loop may stand still.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
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
            await client.close()


def bounded_client(*, timeout_s: float, max_bytes: int, proxies: bool = True) -> httpx2.AsyncClient:
    """An HTTP client with the bounds above but the deadline, which ``fetch`` keeps.

    Args:
        timeout_s: seconds for each step of a request.
        max_bytes: largest answer read.
        proxies: whether it goes by the environment's proxies. They look names up themselves.
    """
    # Comes with both client libraries, so it is there whenever one of them is.
    import httpx2

    async def limit(response: httpx2.Response) -> None:
        client.cookies.clear()
        _check_announced(response.headers, max_bytes)
        response.stream = _limited_stream()(response.stream, max_bytes)

    client = httpx2.AsyncClient(
        timeout=timeout_s,
        follow_redirects=False,
        # With a transport of its own a client asks the environment for certificates only, and not for proxies.
        transport=None if proxies else httpx2.AsyncHTTPTransport(),
        event_hooks={"request": [_prepare], "response": [limit]},
    )
    return client


async def _prepare(request: httpx2.Request) -> None:
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


def _check_announced(headers: Mapping[str, str], max_bytes: int) -> None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProviderError("the provider sent a compressed answer, which was not asked for")
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > max_bytes):
        raise _too_large(max_bytes)


@functools.cache
def _limited_stream() -> Callable[[Any, int], httpx2.AsyncByteStream]:
    """The class for an answer's bytes that stops at a limit; made late, because its base is."""
    import httpx2

    class LimitedStream(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
            self._stream = stream
            self._max_bytes = max_bytes

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = self._max_bytes
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    raise _too_large(self._max_bytes)
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


def _too_large(max_bytes: int) -> ProviderError:
    return ProviderError(f"the provider's answer is larger than {max_bytes} bytes (AIConfig.max_response_bytes)")
