"""Expressions in a voice, by Hume's Expression Measurement API: a service that recordings are uploaded to.

The client library's own retries and redirects are off, and its own log stays off: it would show the key.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...config import EmotionConfig
from ...errors import AsyncProcessorError, ConfigurationError, ProviderError
from ..addresses import checked_key, checked_url
from ..extras import needs_extra
from .bounded_http import bounded
from .failures import Call

if TYPE_CHECKING:
    from hume_expression_measurement import AsyncExpressionMeasurementClient

T = TypeVar("T")

NAME = "hume"
MAX_UPLOAD_BYTES = 25_000_000
"""Largest request that the service takes."""

_MAX_NAME_CHARS = 100

Expressions = Mapping[str, float]
"""Hume's names for what is expressed, each with the probability (0 to 1) that it really is."""


async def measure(wav: bytes, settings: EmotionConfig) -> list[Expressions]:
    """Upload a recording of 16 kHz, mono, 16 bit.

    Returns:
        The expressions per stretch of at most ten seconds of speech, in order; empty where no speech was found.

    Raises:
        ConfigurationError: there is no key, or key or address cannot be used. ``MissingExtraError`` without the extra.
        ProviderError: it did not answer, or not usefully; another attempt may help.
        PermanentError: no other attempt would help. ``AuthenticationError`` when it refused the key.
    """

    async def upload(client: AsyncExpressionMeasurementClient) -> list[Expressions]:
        answer = await client.audio.measure(file=("recording.wav", wav, "audio/wav"))
        return [_read(item.expressions) for item in answer.measurements]

    return await _ask(upload, settings)


async def check(settings: EmotionConfig) -> None:
    """Find out whether the service takes the key, by asking for the newest entry of its list of uploads.

    Raises:
        AsyncProcessorError: as ``measure`` would.
    """

    async def list_newest(client: AsyncExpressionMeasurementClient) -> None:
        await client.runs.list(page_size=1)

    # Loading the library takes half a second, for which no event loop may stand still.
    await asyncio.to_thread(_load)
    await _ask(list_newest, settings)


async def _ask(question: Callable[[AsyncExpressionMeasurementClient], Awaitable[T]], settings: EmotionConfig) -> T:
    if not settings.api_key:
        raise ConfigurationError("provider 'hume' needs a key: set HUME_API_KEY or EmotionConfig.api_key")
    key = checked_key(settings.api_key)
    call = Call(provider=NAME, secret=key)
    base_url = checked_url(settings.base_url, "EmotionConfig")
    loaded = _load()
    where = loaded.address(base=base_url, production=base_url) if base_url else loaded.address.PRODUCTION
    timeout_s, max_bytes = settings.request_timeout_s, settings.max_response_bytes
    failure: AsyncProcessorError
    try:
        # The one deadline for the whole call: the client library's timeouts start anew with every byte.
        async with (
            asyncio.timeout(timeout_s),
            bounded(
                loaded.httpx,
                timeout_s=timeout_s,
                max_bytes=max_bytes,
                limit="EmotionConfig.max_response_bytes",
                verify=loaded.trusted,
            ) as http,
        ):
            client = loaded.client(
                environment=where,
                api_key=call.secret,
                timeout=timeout_s,
                max_retries=0,  # the processor's own retries know the deadline, the jitter and the other tasks
                httpx_client=http,
            )
            return await question(client)
    except TimeoutError:
        failure = ProviderError(f"{NAME} did not answer within {timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - a border: what a client library raises for hostile answers has no list
        failure = _failure(call, error)
    # Raised out here, so that it drags no foreign exception along: their texts hold whole answers.
    raise failure


class _Loaded(NamedTuple):
    """The first generation of HTTPX, the client made for it, the class for its addresses, and whom it trusts."""

    httpx: Any
    client: Any
    address: Any
    trusted: ssl.SSLContext


@functools.cache
def _load() -> _Loaded:
    with needs_extra("hume", needed_for="EMOTION_ANALYSIS with provider 'hume'"):
        import httpx

        # The client imports its parts at their first use. Here, so that the time for it is not that of a request.
        import hume_expression_measurement.audio.client
        import hume_expression_measurement.runs.client  # noqa: F401
        from hume_expression_measurement import AsyncExpressionMeasurementClient
        from hume_expression_measurement.environment import ExpressionMeasurementClientEnvironment

    # Reading the certificate authorities takes some 50 ms: once per process.
    trusted = httpx.create_ssl_context()
    return _Loaded(httpx, AsyncExpressionMeasurementClient, ExpressionMeasurementClientEnvironment, trusted)


def _read(expressions: Any) -> Expressions:
    """Names and probabilities, if that is what they are."""
    found: dict[str, float] = {}
    for item in expressions:
        name, probability = item.name, item.probability
        named = 0 < len(name) <= _MAX_NAME_CHARS and name.isprintable()
        if not named or not 0 <= probability <= 1:  # NaN fails this, too
            raise ProviderError(f"{NAME} answered with an expression that has no name, or a probability that is none")
        found[name] = max(probability, found.get(name, 0.0))
    return found


def _failure(call: Call, error: Exception) -> AsyncProcessorError:
    """The client library's errors carry status, headers and body themselves; any may be None."""
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return call.failure(error)
    if 200 <= status < 300:
        return ProviderError(f"{NAME} answered with something that is no measurement")
    body = getattr(error, "body", None)
    if not isinstance(body, str | Mapping):
        body = {name: getattr(body, name, None) for name in ("code", "message")}
    return call.refusal(status, body, getattr(error, "headers", None) or {})
