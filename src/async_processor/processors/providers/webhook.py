"""A JSON document to a server of one's own, with httpx2 on the event loop.

The host is looked up once and the connection goes to the address that was checked; the host's name stays in the Host
header and is what the certificate must hold for. Proxies of the environment are left aside: they look names up anew.
Redirects are not followed. The task's key goes along as ``Idempotency-Key``: a request that was cut off is sent again,
and a receiver that remembers keys acts on it once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from typing import TYPE_CHECKING

from ...config import NotifyConfig
from ...errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from .. import public_addresses
from ..channels import Webhook
from ..extras import needs_extra
from ..notifier import Delivery, Notification
from .bounded_http import bounded_client
from .failures import chain, retry_after

if TYPE_CHECKING:
    import httpx2

# The answer's text is of no use; only its status counts.
_MAX_ANSWER_BYTES = 65_536
_MAX_KEY_CHARS = 255
_RETRYABLE = frozenset({408, 409, 423, 425, 429})


class WebhookPost:
    """A ``Notifier`` for one address. Keeps connections, and so must be closed."""

    provider = "webhook"

    def __init__(self, target: Webhook, settings: NotifyConfig) -> None:
        self._target = target
        self._settings = settings
        # One of its own: were it shared, two hosts of one address would share connections, and so certificates.
        self._client: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def send(self, notification: Notification) -> Delivery:
        body = {
            "id": notification.key,
            "title": notification.subject,
            "message": notification.message,
        }
        status, wait = await self._post(json.dumps(body).encode(), notification.key)
        if not 200 <= status < 300:
            raise _refusal(status, wait)
        return Delivery(provider=self.provider, message_id=notification.key)

    async def check(self) -> None:
        """The host can be looked up and may be connected to. Nothing is sent: any request could set something off."""
        await self._opened()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._address()
        except TimeoutError:
            raise ProviderError("looking the webhook's host up takes too long") from None

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, body: bytes, key: str) -> tuple[int, float | None]:
        """Status and wished-for wait of the answer."""
        client = await self._opened()
        failure: AsyncProcessorError
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                address = await self._address()
                answer = await client.post(
                    self._url(address),
                    content=body,
                    headers=self._headers(key),
                    extensions={"sni_hostname": self._target.host},
                )
            return answer.status_code, retry_after(answer.headers)
        except AsyncProcessorError:
            raise
        except TimeoutError:
            failure = ProviderError(f"the webhook's server did not answer within {self._settings.timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - a border: what a client library raises for hostile answers has no list
            failure = _failure(error)
        # Raised out here, so that it drags no foreign exception along: their texts may hold the address and its secret.
        raise failure

    async def _opened(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._client is None:
                # In a thread: importing the library and reading the certificate authorities takes its time.
                self._client = await asyncio.to_thread(self._make)
            return self._client

    def _make(self) -> httpx2.AsyncClient:
        with needs_extra("notify", needed_for="NOTIFICATION by webhook"):
            return bounded_client(timeout_s=self._settings.timeout_s, max_bytes=_MAX_ANSWER_BYTES, proxies=False)

    async def _address(self) -> str:
        target = self._target
        return await public_addresses.look_up(
            target.host, target.port, allow_private=self._settings.allow_private_networks
        )

    def _headers(self, key: str) -> dict[str, str]:
        headers = {"Host": self._host(), "Content-Type": "application/json", "Idempotency-Key": _header_value(key)}
        if self._target.user is not None:
            login = f"{self._target.user}:{self._target.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        return headers

    def _url(self, address: str) -> str:
        scheme = "https" if self._target.secure else "http"
        return f"{scheme}://{f'[{address}]' if ':' in address else address}:{self._target.port}{self._target.path}"

    def _host(self) -> str:
        target = self._target
        shown = f"[{target.host}]" if ":" in target.host else target.host
        return shown if target.port == (443 if target.secure else 80) else f"{shown}:{target.port}"


def _header_value(key: str) -> str:
    """Ids of tasks are chosen by callers, and may hold what no header can; such a key goes by its digest."""
    if key.isascii() and key.isprintable() and len(key) <= _MAX_KEY_CHARS:
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _failure(error: Exception) -> AsyncProcessorError:
    own = next((item for item in chain(error) if isinstance(item, AsyncProcessorError)), None)
    if own is not None:
        return own
    if any(isinstance(item, ssl.SSLCertVerificationError) for item in chain(error)):
        return PermanentError("the webhook's server has no certificate that holds for the host named; nothing was sent")
    return ProviderError(f"the webhook's server gave no usable answer ({type(error).__name__})")


def _refusal(status: int, wait: float | None) -> AsyncProcessorError:
    shown = f"the webhook's server refused the message (status {status})"
    if 300 <= status < 400:
        return PermanentError(f"{shown}: it redirects, which is not followed; name the address it redirects to")
    if status in (401, 403):
        return AuthenticationError(f"{shown}: check user, password or token in the channel's address")
    if status in _RETRYABLE or status >= 500:
        return ProviderError(shown, retry_after=wait)
    return PermanentError(shown)
