"""Mail over SMTP, with aiosmtplib on the event loop. One connection per mail: a server closes idle ones anyway.

Two moments matter. Until the text is under way, whatever fails has delivered nothing, and another attempt is safe. From
then until the server's answer nobody knows: it may have the mail. Such a mail is given up, unless settings
say otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...config import NotifyConfig
from ...errors import AsyncProcessorError, AuthenticationError, ConfigurationError, PermanentError, ProviderError
from .. import mail
from ..channels import MailServer
from ..extras import needs_extra
from ..notifier import Delivery, Notification, Refusal
from ..recipients import Mailbox, mailboxes
from .failures import chain

if TYPE_CHECKING:
    import aiosmtplib

_SHOWN_CHARS = 200
_GOODBYE_S = 1.0
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_AUTHENTICATION = (530, 534, 535, 538)


@dataclass(slots=True)
class _Session:
    """One connection; ``in_doubt`` while the text is under way and not answered."""

    client: aiosmtplib.SMTP
    in_doubt: bool = False


class SmtpMail:
    """A ``Notifier`` for one mail server."""

    provider = "smtp"

    def __init__(self, server: MailServer, settings: NotifyConfig) -> None:
        self._server = server
        self._settings = settings

    async def send(self, notification: Notification) -> Delivery:
        to = mailboxes(notification.recipients)
        # In a thread: encoding attachments takes some 40 ms per MB.
        text = await asyncio.to_thread(self._compose, notification, to)
        async with self._session() as session:
            delivered, refused = await self._envelope(session.client, to)
            session.in_doubt = True
            await session.client.data(text)
        return Delivery(
            provider=self.provider,
            delivered=delivered,
            refused=refused,
            message_id=mail.message_id(notification.key, self._server.sender),
        )

    async def check(self) -> None:
        async with self._session():
            pass

    async def aclose(self) -> None:
        """It holds nothing open."""

    def _compose(self, notification: Notification, to: tuple[Mailbox, ...]) -> bytes:
        return mail.compose(notification, self._server.sender, to, datetime.now(UTC)).as_bytes()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        """Connected, encrypted and logged in. Within, time is bounded and the library's errors become ours."""
        # Made in a thread, for which the library is imported: no event loop may stand still for that.
        session = _Session(await asyncio.to_thread(self._client))
        failure: AsyncProcessorError | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await session.client.connect()
                yield session
            await _say_goodbye(session.client)
        except TimeoutError:
            failure = self._unanswered(session)
        except AsyncProcessorError:
            raise
        except Exception as error:  # noqa: BLE001 - a border: what a library raises for a hostile server has no list
            answered = _code(error) is not None
            failure = _failure(error) if answered or not session.in_doubt else self._unanswered(session)
        finally:
            session.client.close()
        if failure is not None:
            # Raised out here, so that it drags no foreign exception along: their texts hold addresses.
            raise failure

    def _client(self) -> aiosmtplib.SMTP:
        with needs_extra("notify", needed_for="NOTIFICATION by mail"):
            import aiosmtplib
        server = self._server
        if server.authority is not None and not os.access(server.authority, os.R_OK):
            raise ConfigurationError("a mail channel's address names a file in 'ca' that cannot be read")
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            # The sender's domain rather than this machine's name: that is nobody's business, and finding it out may
            # take seconds where there is no name service.
            local_hostname=server.sender.address.rpartition("@")[2],
            timeout=self._settings.timeout_s,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            cert_bundle=server.authority,
        )

    async def _envelope(
        self, client: aiosmtplib.SMTP, to: Sequence[Mailbox]
    ) -> tuple[tuple[str, ...], tuple[Refusal, ...]]:
        """Tell the server sender and recipients: those it takes, and those it does not."""
        import aiosmtplib

        await client.mail(self._server.sender.address)
        delivered: list[str] = []
        refused: list[Refusal] = []
        codes: list[int] = []
        for recipient in to:
            try:
                await client.rcpt(recipient.address)
            except aiosmtplib.SMTPRecipientRefused as error:
                codes.append(error.code)
                refused.append(Refusal(recipient=recipient.address, reason=_reason(error.code, error.message)))
            else:
                delivered.append(recipient.address)
        if not delivered:
            # Later perhaps, if the server says so of any of them.
            raise _refusal(min(codes), "", "every recipient")
        return tuple(delivered), tuple(refused)

    def _unanswered(self, session: _Session) -> AsyncProcessorError:
        if not session.in_doubt:
            return ProviderError(f"the mail server did not answer within {self._settings.timeout_s:g} s")
        happened = "the mail server did not answer after the mail was sent to it, so it may have been delivered"
        if self._settings.retry_unknown:
            return ProviderError(happened)
        return PermanentError(
            f"{happened}; it is not sent again, because that could deliver it twice (NotifyConfig.retry_unknown)"
        )


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """End the session in good form. What goes wrong from here on changes nothing of what was answered."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_GOODBYE_S):
            await client.quit()


def _failure(error: Exception) -> AsyncProcessorError:
    """The error to raise in place of one of the library's. Texts of a server's are left out: they hold addresses."""
    import aiosmtplib

    code = _code(error)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        if code is not None and code < 500:
            return ProviderError(f"the mail server could not check the login now (code {code})")
        return AuthenticationError(f"the mail server refused the login (code {code}): check user and password")
    if code is not None:
        return _refusal(code, getattr(error, "message", ""), "the mail")
    if any(isinstance(item, ssl.SSLError) for item in chain(error)):
        return PermanentError(
            "the mail server's TLS cannot be used: its certificate does not hold for the host named, nobody known "
            "vouches for it (add ca=FILE to the channel's address), or it speaks none on this port"
        )
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPTimeoutError | OSError):
        return ProviderError(f"the mail server cannot be reached, or hung up ({type(error).__name__})")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return PermanentError("what answers at the channel's host and port is no mail server; check both")
    # What is left is what it does not offer: STARTTLS, or a login of a kind known here.
    return PermanentError(
        "the mail server offers no STARTTLS, or no login that is known here; nothing was sent. Use smtps://, or "
        "tls=none for a server of one's own network"
    )


def _code(error: Exception) -> int | None:
    code = getattr(error, "code", None)
    # The library gives -1 to what it could not read.
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _refusal(code: int, message: str, what: str) -> AsyncProcessorError:
    enhanced = _ENHANCED.match(message)
    shown = f"the mail server refused {what} (code {code}{f', {enhanced[0]}' if enhanced else ''})"
    if code < 500:
        return ProviderError(shown)
    if code in _AUTHENTICATION:
        return AuthenticationError(f"{shown}: it wants a login; give user and password in the channel's address")
    return PermanentError(shown)


def _reason(code: int, message: str) -> str:
    """For the result, which is the caller's own: with what the server said, on one line."""
    return " ".join(f"{code} {ascii(message)[1:-1]}".split())[:_SHOWN_CHARS]
