"""A real mail server (aiosmtpd) on loopback, in the test's own event loop, which misbehaves as told."""

from __future__ import annotations

import asyncio
import email.policy
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

USER, PASSWORD = "bear", "s3cret-honey"

# What to answer to the end of a mail; given the server's side of the connection.
OnMail = Callable[[SMTP], Awaitable[str]]


async def _accept(_server: SMTP) -> str:
    return "250 2.0.0 taken"


@dataclass
class Mail:
    """One mail as it came in."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    user: str | None

    @property
    def parsed(self) -> EmailMessage:
        message = BytesParser(policy=email.policy.default).parsebytes(self.content)
        assert isinstance(message, EmailMessage)
        return message


class _Connection(SMTP):
    """One connection, which can be ended for good."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transports: list[asyncio.BaseTransport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)
        super().connection_made(transport)

    async def hang_up(self) -> None:
        for transport in self._transports:
            transport.abort()  # type: ignore[attr-defined]
        # The loop closes a socket in the turn after it was told to.
        for _ in range(3):
            await asyncio.sleep(0)


@dataclass
class MailServerKit:
    """Takes mail. ``replies`` holds what it says to some recipients; ``on_mail`` what it does at the end of one."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    on_mail: OnMail = _accept
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _protocols: list[_Connection] = field(default_factory=list)

    async def start(self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, login: bool = False) -> None:
        options: dict[str, Any] = {
            "enable_SMTPUTF8": False,
            "hostname": "mail.test",
            "loop": asyncio.get_running_loop(),
            "auth_require_tls": tls is not None and not implicit,
            "auth_required": login,
            "authenticator": _authenticate,
            "tls_context": None if implicit else tls,
        }

        def protocol() -> SMTP:
            self.connections += 1
            made = _Connection(self, **options)
            self._protocols.append(made)
            return made

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        for protocol in self._protocols:
            await protocol.hang_up()
        self._protocols.clear()
        await self._server.wait_closed()

    async def restart(self, **options: Any) -> None:
        await self.aclose()
        await self.start(**options)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(
            Mail(
                sender=envelope.mail_from or "",
                recipients=list(envelope.rcpt_tos),
                content=bytes(envelope.content or b""),
                tls=session.ssl is not None,
                user=USER if session.authenticated else None,
            )
        )
        self.arrived.set()
        return await self.on_mail(server)


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = (getattr(data, "login", b""), getattr(data, "password", b"")) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)
