"""What a notification is sent with and answered with, whoever sends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..results.notification import Refusal as Refusal  # noqa: PLC0414 - plug-ins import it from here


@dataclass(slots=True, frozen=True, kw_only=True)
class Attachment:
    """A file to go with a mail.

    Attributes:
        name: the file's name; one line, no path.
        content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(slots=True, frozen=True, kw_only=True)
class Notification:
    """One message to send.

    Attributes:
        key: the same at every attempt of one task, and of no other: what must not act twice goes by it.
        message: the words, as plain text.
        subject: one line; may be empty.
        recipients: whom to, as the channel's kind has them; empty where the channel itself names them.
        html: the same words for mail programs; "" for none.
        attachments: files; mail only.
    """

    key: str
    message: str = field(repr=False)
    subject: str = field(default="", repr=False)
    recipients: tuple[str, ...] = field(default=(), repr=False)
    html: str = field(default="", repr=False)
    attachments: tuple[Attachment, ...] = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class Delivery:
    """What became of a message. At least one recipient, or the channel itself, took it.

    Attributes:
        provider: who took it over: "smtp", "webhook", a vendor's scheme, or what a plug-in calls itself.
        delivered: the recipients it was taken over for. For a channel that names its recipients itself: empty.
        refused: those it was not.
        message_id: under which it is known on its way; None where nobody gave it one.
        offline: whether nothing left the machine.
    """

    provider: str
    delivered: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    message_id: str | None = None
    offline: bool = False


class Notifier(Protocol):
    """Sends messages by one channel. Used on one event loop only."""

    @property
    def provider(self) -> str:
        """The name that its deliveries carry."""
        ...

    async def send(self, notification: Notification) -> Delivery:
        """Hand over one message. Several may be under way at once; cancelling one gives it up at once.

        Raises:
            ProviderError: it was not taken over; another attempt may help.
            PermanentError: no other attempt would help, or it may have been taken over and must not go twice.
            MissingExtraError: its library is not installed.
        """
        ...

    async def check(self) -> None:
        """Find out whether it could send now, without sending anything.

        Raises:
            AsyncProcessorError: as ``send`` would.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...
