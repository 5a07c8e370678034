"""Channels: the addresses (URLs) that messages are sent by, as settings name them. No payload brings one.

| scheme | sends | by |
| --- | --- | --- |
| ``smtp``, ``smtps`` | mail | aiosmtplib |
| ``json``, ``jsons`` | a JSON document to a server of one's own | httpx2 |
| those of ``VENDORS`` | SMS and push messages | apprise |
| any other | | a provider that another package brings |
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError
from .recipients import Mailbox, ascii_domain, mailbox

MAIL_SCHEMES = ("smtp", "smtps")
WEBHOOK_SCHEMES = ("json", "jsons")

# Scheme -> apprise's module. Only modules that were read for how they send: by plain calls of requests, no sockets.
SMS_VENDORS: Mapping[str, str] = {
    "clicksend": "clicksend",
    "d7sms": "d7networks",
    "msgbird": "messagebird",
    "nexmo": "vonage",
    "plivo": "plivo",
    "sinch": "sinch",
    "twilio": "twilio",
    "vonage": "vonage",
}
PUSH_VENDORS: Mapping[str, str] = {
    "discord": "discord",
    "gotify": "gotify",
    "gotifys": "gotify",
    "ntfy": "ntfy",
    "ntfys": "ntfy",
    "pbul": "pushbullet",
    "pover": "pushover",
    "slack": "slack",
    "tgram": "telegram",
}
VENDORS: Mapping[str, str] = {**SMS_VENDORS, **PUSH_VENDORS}

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAIL_OPTIONS = frozenset({"from", "name", "tls", "ca"})


class Kind(enum.Enum):
    """What a channel wants of a payload's recipients."""

    MAIL = "mail"
    SMS = "sms"
    FIXED = "fixed"  # the address names them
    OTHER = "other"  # a plug-in's: given as they are


def kind_of(url: str) -> Kind:
    """The kind of a channel, by its scheme alone."""
    scheme = scheme_of(url)
    if scheme in MAIL_SCHEMES:
        return Kind.MAIL
    if scheme in SMS_VENDORS:
        return Kind.SMS
    return Kind.FIXED if scheme in WEBHOOK_SCHEMES or scheme in PUSH_VENDORS else Kind.OTHER


def scheme_of(url: str) -> str:
    """The scheme of a channel's address, in lower case; "" without one."""
    scheme, separator, _ = url.partition("://")
    return scheme.strip().lower() if separator else ""


@dataclass(slots=True, frozen=True, kw_only=True)
class MailServer:
    """A mail server, and who the mail is from.

    Attributes:
        tls: "implicit" from the first byte, "starttls" or not at all, "none".
        authority: file with certificates to trust besides the system's, or None.
    """

    host: str
    port: int
    sender: Mailbox
    tls: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Webhook:
    """Where to post JSON. ``path`` holds the query too, and may hold a secret."""

    secure: bool
    host: str
    port: int
    path: str = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def known_schemes() -> list[str]:
    """The schemes that come with the library."""
    return sorted([*MAIL_SCHEMES, *WEBHOOK_SCHEMES, *VENDORS])


def read_mail_server(name: str, url: str) -> MailServer:
    """The mail server in ``smtp[s]://[user:password@]host[:port]?from=...[&name=...][&tls=...][&ca=...]``.

    TLS with a certificate that holds is demanded, but of a server on this machine or with ``tls=none``. A password
    never leaves the machine without TLS.

    Raises:
        ConfigurationError: it cannot be read, or asks for what is not safe.
    """
    parts = _split(name, url)
    options = _options(name, parts)
    host = _host(name, parts)
    implicit = parts.scheme.lower() == "smtps"
    local = host in _LOOPBACK
    tls = options.get("tls", "implicit" if implicit else "none" if local else "starttls")
    if tls not in ("implicit", "starttls", "none") or implicit != (tls == "implicit"):
        raise unusable(name, "must have tls=starttls or tls=none with smtp://, and neither with smtps://")
    user, password = _login(parts)
    if user is not None and tls == "none" and not local:
        raise unusable(name, "would send its password in clear; use tls=starttls or smtps://")
    sender = options.get("from")
    if sender is None:
        raise unusable(name, "must say whom mail is from: add ?from=name@example.org")
    return MailServer(
        host=host,
        port=_port(name, parts) or (465 if implicit else 25 if local else 587),
        sender=_sender(name, sender, options.get("name", "")),
        tls=tls,
        user=user,
        password=password,
        authority=options.get("ca"),
    )


def read_webhook(name: str, url: str) -> Webhook:
    """The server in ``json[s]://[user:password@]host[:port]/path[?query]``: ``http://`` and ``https://`` of the same.

    Raises:
        ConfigurationError: it cannot be read.
    """
    parts = _split(name, url)
    secure = parts.scheme.lower() == "jsons"
    user, password = _login(parts)
    return Webhook(
        secure=secure,
        host=_host(name, parts),
        port=_port(name, parts) or (443 if secure else 80),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        user=user,
        password=password,
    )


def unusable(name: str, problem: str) -> ConfigurationError:
    """The error for a channel. Its address is not shown: it holds passwords and tokens."""
    return ConfigurationError(f"channel {name!r} in NotifyConfig.channels {problem}")


def _split(name: str, url: str) -> SplitResult:
    try:
        if not url.isprintable() or " " in url:
            raise ValueError
        return urlsplit(url)
    except ValueError:
        raise unusable(name, "is no address such as 'smtp://user:password@host?from=name@example.org'") from None


def _host(name: str, parts: SplitResult) -> str:
    if not parts.hostname:
        raise unusable(name, "names no host")
    host = parts.hostname
    if host.isascii():
        return host
    return ascii_domain(host, lambda problem: unusable(name, f"names a host that {problem}"))


def _port(name: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise unusable(name, "has a port that is no number from 1 to 65535")
    return port


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    if parts.username is None:
        return None, None
    return unquote(parts.username), unquote(parts.password or "")


def _options(name: str, parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _MAIL_OPTIONS)
    if unknown:
        raise unusable(name, f"has an option that mail does not know; known are {', '.join(sorted(_MAIL_OPTIONS))}")
    return options


def _sender(name: str, address: str, shown: str) -> Mailbox:
    found = mailbox(address, lambda problem: unusable(name, f"has a 'from' that {problem}"))
    if not shown.isprintable():
        raise unusable(name, "has a 'name' with control characters")
    return Mailbox(address=found.address, name=shown or found.name)
