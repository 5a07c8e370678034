"""SMS and push messages by vendors' services, with apprise in a few threads of its own.

apprise answers yes or no. Its modules call the functions of ``requests`` themselves, with nowhere to put an adapter. So
a vendor's module is loaded a second time, for us alone, and in that copy the name ``requests`` stands for ours: every
call goes through one session that looks a host up once, connects to the address that was checked, follows no redirect,
keeps its time, and notes what was answered. Nothing of apprise's or of ``requests``' own is changed for anybody else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import importlib.util
import io
import logging
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...config import NotifyConfig
from ...errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from .. import public_addresses
from ..channels import SMS_VENDORS, VENDORS, scheme_of, unusable
from ..extras import needs_extra
from ..notifier import Delivery, Notification, Refusal
from ..recipients import phone_numbers
from .failures import chain, retry_after

if TYPE_CHECKING:
    import requests

logger = logging.getLogger("async_processor.providers")

_THREADS = 8
_GRACE_S = 0.5
_MAX_ANSWER_BYTES = 1_000_000
_CHUNK_BYTES = 16_384
_RETRYABLE = frozenset({408, 409, 425, 429})
# Options of an apprise URL that would undo what is promised here.
_NOT_TAKEN = ("verify", "redirect", "retry", "wait", "rto", "cto", "store")


@dataclass(slots=True)
class _Exchange:
    """What happened while one message was sent.

    Attributes:
        deadline: when it is to be over, on the monotonic clock.
        requests: how many were begun.
        statuses: of the answers, in order.
        wait_s: what the last one asked to wait.
        in_doubt: whether a request was under way and has no answer that can be read.
        error: what is to be raised in place of apprise's no.
        connection: the one that is in use.
    """

    deadline: float
    requests: int = 0
    statuses: list[int] = field(default_factory=list)
    wait_s: float | None = None
    in_doubt: bool = False
    error: AsyncProcessorError | None = None
    connection: socket.socket | None = None

    @property
    def taken_in_part(self) -> bool:
        """Whether some of several requests were answered well: an address may name several whom a message goes to."""
        return len(self.statuses) > 1 and any(200 <= status < 300 for status in self.statuses)

    def hang_up(self) -> None:
        """Let the thread that waits for an answer go: its read ends at once. Safe from another thread."""
        if self.connection is not None:
            with contextlib.suppress(OSError):  # closed already
                # Not by the method of a TLS connection: that would take from the thread what it is reading with.
                socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


_exchange: contextvars.ContextVar[_Exchange] = contextvars.ContextVar("async_processor_notify_exchange")


class AppriseVendor:
    """A ``Notifier`` for one vendor."""

    def __init__(self, name: str, url: str, settings: NotifyConfig) -> None:
        self.provider = scheme_of(url)
        self._name = name
        self._url = url
        self._settings = settings
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "async-processor-notify")
        self._plugin: type[Any] | None = None

    async def send(self, notification: Notification) -> Delivery:
        if self.provider not in SMS_VENDORS:
            await self._send_one(notification, None)
            return Delivery(provider=self.provider)
        delivered: list[str] = []
        refused: list[Refusal] = []
        errors: list[AsyncProcessorError] = []
        # One after the other, so that each number has an answer of its own.
        for number in phone_numbers(notification.recipients):
            try:
                await self._send_one(notification, number)
            except (PermanentError, ProviderError) as error:
                errors.append(error)
                refused.append(Refusal(recipient=number, reason=str(error)))
            else:
                delivered.append(number)
        if not delivered:
            # Another attempt goes to all of them, so all must be worth one.
            raise next((error for error in errors if error.permanent), errors[0])
        return Delivery(provider=self.provider, delivered=tuple(delivered), refused=tuple(refused))

    async def check(self) -> None:
        """The address can be read. Vendors have no request that does nothing."""
        await self._in_thread(functools.partial(self._make, "+15005550006" if self.provider in SMS_VENDORS else None))

    async def aclose(self) -> None:
        threads, self._threads = (
            self._threads,
            concurrent.futures.ThreadPoolExecutor(_THREADS, "async-processor-notify"),
        )
        threads.shutdown(wait=False, cancel_futures=True)

    async def _send_one(self, notification: Notification, number: str | None) -> None:
        exchange = _Exchange(deadline=time.monotonic() + self._settings.timeout_s)
        _exchange.set(exchange)
        failure: AsyncProcessorError | None = None
        try:
            # A moment longer than the thread has, which knows better what it is that takes so long.
            async with asyncio.timeout(self._settings.timeout_s + _GRACE_S):
                if not await self._in_thread(functools.partial(self._notify, notification, number)):
                    failure = self._failure(exchange)
        except TimeoutError:
            failure = self._failure(exchange, late=True)
        except AsyncProcessorError:
            raise
        except Exception as error:  # noqa: BLE001 - a border: what apprise's modules raise for odd answers has no list
            logger.debug("apprise's module for %s failed: %s", self.provider, type(error).__name__)
            exchange.in_doubt = exchange.in_doubt or any(200 <= status < 300 for status in exchange.statuses[-1:])
            failure = self._failure(exchange)
        finally:
            exchange.hang_up()
        if failure is not None:
            # Raised out here, so that it drags no foreign exception along.
            raise failure

    async def _in_thread(self, func: functools.partial[Any]) -> Any:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, func)

    def _notify(self, notification: Notification, number: str | None) -> bool:
        from apprise import NotifyFormat

        plugin = self._make(number)
        return bool(plugin.notify(body=notification.message, title=notification.subject, body_format=NotifyFormat.TEXT))

    def _make(self, number: str | None) -> Any:
        """apprise's object for the channel, and for one number where it sends SMS."""
        with needs_extra("notify", needed_for=f"NOTIFICATION by {self.provider}"):
            import apprise
        if self._plugin is None:
            self._plugin = _private_copy(VENDORS[self.provider], self._settings)
        asset = apprise.AppriseAsset(http_redirects=False, default_service_retry=0)
        try:
            parsed = self._plugin.parse_url(self._url) or {}
            for option in _NOT_TAKEN:
                parsed.pop(option, None)
            if number is not None:
                parsed["targets"] = [number]
            plugin = self._plugin(**parsed, asset=asset)
        except Exception as error:  # noqa: BLE001 - apprise catches everything here itself: its modules fail in many ways
            logger.debug("apprise cannot read the address of channel %r: %s", self._name, type(error).__name__)
            plugin = None
        if plugin is None:
            raise unusable(
                self._name, "cannot be read by apprise; see what the vendor wants in apprise's documentation"
            )
        if number is not None and not _goes_to(plugin, number):
            raise PermanentError(f"apprise does not take this number for {self.provider}; send one of 10 to 14 digits")
        return plugin

    def _failure(self, exchange: _Exchange, *, late: bool = False) -> AsyncProcessorError:
        if exchange.error is not None:
            return exchange.error
        if exchange.in_doubt or exchange.taken_in_part:
            happened = (
                f"{self.provider} took the message in part"
                if exchange.taken_in_part
                else f"{self.provider} did not answer after the message was sent, so it may have been delivered"
            )
            if self._settings.retry_unknown:
                return ProviderError(happened)
            return PermanentError(f"{happened}; it is not sent again (NotifyConfig.retry_unknown)")
        if not exchange.requests and not late:
            return PermanentError(
                f"apprise sent nothing to {self.provider}: check the channel's address, and whether the vendor takes "
                "such a recipient"
            )
        if not exchange.statuses:
            return ProviderError(
                f"{self.provider} cannot be reached, or took longer than {self._settings.timeout_s:g} s"
            )
        status = exchange.statuses[-1]
        shown = f"{self.provider} refused the message (status {status})"
        if status in (401, 403):
            return AuthenticationError(f"{shown}: check the tokens in the channel's address")
        if status in _RETRYABLE or status >= 500:
            return ProviderError(shown, retry_after=exchange.wait_s)
        return PermanentError(shown)


def _goes_to(plugin: Any, number: str) -> bool:
    """Whether a message goes to this number and no other.

    apprise drops a number that it does not like, and some of its modules then send to the number that they send from.
    """
    targets = [target[-1] if isinstance(target, tuple) else target for target in plugin.targets]
    return [str(target).removeprefix("+") for target in targets] == [number.removeprefix("+")]


class _AtDebug(logging.LoggerAdapter[logging.Logger]):
    """Whatever level a line has, it goes to DEBUG: apprise tells telephone numbers and servers' answers at others."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ARG002 - the point of it
        super().log(logging.DEBUG, msg, *args, **kwargs)

    def trace(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.log(logging.DEBUG, msg, *args, **kwargs)

    deprecate = trace


def _private_copy(module_name: str, settings: NotifyConfig) -> type[Any]:
    """The class of a vendor, from a copy of its module whose ``requests`` is ours."""
    from apprise import NotifyBase

    spec = importlib.util.find_spec(f"apprise.plugins.{module_name}")
    if spec is None or spec.loader is None:
        raise PermanentError(f"the installed apprise has no module for {module_name}; install another version of it")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.requests = GuardedRequests(settings)
    # The vendor's class is the only one in its module: a test holds that for each of them.
    found: type[Any] = next(
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, NotifyBase) and item.__module__ == module.__name__
    )
    found.logger = _AtDebug(logger, {})
    return found


class GuardedRequests:
    """Stands for the module ``requests`` within a vendor's module. What sends nothing is the original's."""

    def __init__(self, settings: NotifyConfig) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        import requests

        if name in ("Session", "session", "sessions", "api", "adapters"):
            raise PermanentError(
                f"the installed apprise uses requests.{name}, which cannot be guarded; install another"
            )
        return getattr(requests, name)

    def get(self, url: str, **options: Any) -> requests.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> requests.Response:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> requests.Response:
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> requests.Response:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> requests.Response:
        return self.request("DELETE", url, **options)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """One request under the rules at the top of this module, noted in the exchange that it belongs to."""
        import requests

        exchange = _exchange.get()
        options |= {"allow_redirects": False, "verify": True, "stream": True, "timeout": _time_left(exchange)}
        with requests.Session() as session:
            session.trust_env = False  # proxies of the environment would look names up themselves
            for prefix in ("http://", "https://"):
                session.mount(prefix, _pinned_adapter(exchange, allow_private=self._settings.allow_private_networks))
            exchange.requests += 1
            exchange.in_doubt = True
            try:
                answer = session.request(method, url, **options)
                _read_bounded(answer, exchange)
            except AsyncProcessorError as error:
                exchange.in_doubt, exchange.error = False, error
                raise
            except requests.RequestException as error:
                exchange.in_doubt = not _never_sent(error)
                if any(isinstance(item, ssl.SSLCertVerificationError) for item in chain(error)):
                    exchange.error = PermanentError(
                        "the vendor's server has no certificate that holds for the host named; nothing was sent"
                    )
                raise
            exchange.in_doubt = False
        exchange.statuses.append(answer.status_code)
        exchange.wait_s = retry_after(answer.headers)
        return answer


def _never_sent(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import NewConnectionError

    unsent = (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError, NewConnectionError)
    causes = [*chain(error), *(getattr(item, "reason", None) for item in error.args)]
    return any(isinstance(item, unsent) for item in causes)


def _time_left(exchange: _Exchange) -> float:
    left = exchange.deadline - time.monotonic()
    if left <= 0:
        raise ProviderError("no time was left for another request to the vendor")
    return left


def _read_bounded(answer: requests.Response, exchange: _Exchange) -> None:
    """Read an answer's body, and put what was read in the place of its connection."""
    import requests

    body = bytearray()
    for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > exchange.deadline:
            raise requests.exceptions.ReadTimeout("the answer is too large, or takes too long")
    answer.raw = io.BytesIO(bytes(body))


def _pinned_adapter(exchange: _Exchange, *, allow_private: bool) -> requests.adapters.HTTPAdapter:
    """An adapter that connects to the address that was checked, under the host's own name, and notes the connection."""
    from requests.adapters import HTTPAdapter

    class PinnedAdapter(HTTPAdapter):
        def build_connection_pool_key_attributes(
            self, request: Any, verify: Any, cert: Any = None
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            host_params, pool_params = super().build_connection_pool_key_attributes(request, verify, cert)
            host = str(host_params["host"]).strip("[]")
            port = host_params["port"] or (443 if host_params["scheme"] == "https" else 80)
            host_params["host"] = public_addresses.look_up_blocking(host, port, allow_private=allow_private)
            if host_params["scheme"] == "https":
                pool_params |= {"server_hostname": host, "assert_hostname": host}
            return host_params, pool_params

        def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
            pool = super().get_connection_with_tls_context(*arguments, **options)
            pool.ConnectionCls = _noting(pool.ConnectionCls, exchange)
            return pool

        def add_headers(self, request: Any, **_options: Any) -> None:
            request.headers.setdefault("Host", urlsplit(request.url).netloc.rpartition("@")[2])

    return PinnedAdapter()


def _noting(connection_class: type[Any], exchange: _Exchange) -> type[Any]:
    """The same kind of connection, which tells its exchange once it is there."""

    class Noting(connection_class):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            exchange.connection = self.sock

    return Noting
