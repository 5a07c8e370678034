"""NOTIFICATION: a message by mail, SMS, push service or webhook. Described in docs/notification.md."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..config import NotifyConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, ConfigurationError
from ..model import LaneName, ProcessingTask
from ..results.notification import NotificationResult
from . import payload as read
from . import recipients
from .channels import Kind, kind_of
from .notifier import Attachment, Delivery, Notification, Notifier
from .notifiers import open_channel
from .per_loop import PerLoop
from .provider_registry import checked
from .registry import ProcessorSpec, Readiness

MAX_SUBJECT_CHARS = 500
MAX_FILE_NAME_CHARS = 200

_NO_CHANNEL = (
    "no channel is configured to send notifications by: name one in NotifyConfig.channels, or as a JSON object in "
    'ASYNC_PROCESSOR_NOTIFY_CHANNELS, such as {"parents": "smtps://user:password@mail.example.org?from=bear@example.org"}'
)


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How NOTIFICATION runs: on the event loop, for all it does is wait for servers.

    Without a channel nothing can be sent, so there is no example: a channel's messages reach people.
    """
    sender = Sender(config.notify)
    return ProcessorSpec(
        func=sender,
        is_async=True,
        wants_context=True,
        lane=LaneName.ASYNC,
        check=lambda task: read_request(task.payload, config.notify),
        aclose=sender.aclose,
        readiness=sender.readiness,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class NotificationRequest:
    """What a payload asks for.

    Attributes:
        channel: the channel's name; None where none is configured.
        subject: one line; may be empty.
        message: the words.
        html: the same for mail programs, or "".
        recipients: addresses or numbers in the form that the channel takes; empty where it names them itself.
        attachments: files, mail only.
    """

    channel: str | None
    subject: str = field(repr=False)
    message: str = field(repr=False)
    html: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)
    attachments: tuple[Attachment, ...] = ()


def read_request(payload: Mapping[str, Any], settings: NotifyConfig) -> NotificationRequest:
    """What a payload asks for, checked. Needs none of the libraries that send.

    Raises:
        InvalidPayloadError: it cannot be sent; names the field and says what to send instead.
    """
    message = read.text(payload, "message", max_chars=settings.max_message_chars, wanted="the words to send, as text")
    if not message.strip():
        raise read.invalid("message", "is empty; send the words to be read")
    channel = _channel(payload, settings)
    kind = Kind.OTHER if channel is None else kind_of(settings.channels[channel])
    return NotificationRequest(
        channel=channel,
        subject=_subject(payload),
        message=message,
        html=_html(payload, kind, settings),
        recipients=_recipients(payload, kind, settings),
        attachments=_attachments(payload, kind, settings),
    )


def _channel(payload: Mapping[str, Any], settings: NotifyConfig) -> str | None:
    names = list(settings.channels)
    if not names:
        return None
    return read.choice(payload, "channel", names[0] if len(names) == 1 else None, names)


def _subject(payload: Mapping[str, Any]) -> str:
    key = "title" if payload.get("subject") is None else "subject"
    subject = read.text(payload, key, "", max_chars=MAX_SUBJECT_CHARS, wanted="one line of text")
    if not _one_line(subject):
        raise read.invalid(key, "holds line breaks or other control characters; send one line of text")
    return subject


def _html(payload: Mapping[str, Any], kind: Kind, settings: NotifyConfig) -> str:
    html = read.text(payload, "html", "", max_chars=settings.max_message_chars, wanted="the message as HTML")
    if html and kind not in (Kind.MAIL, Kind.OTHER):
        raise read.invalid("html", "is only for mail; send payload['message'] alone by this channel")
    return html


def _recipients(payload: Mapping[str, Any], kind: Kind, settings: NotifyConfig) -> tuple[str, ...]:
    given = recipients.listed(payload, settings.max_recipients)
    if kind is Kind.FIXED and given:
        raise read.invalid(recipients.FIELD, "are named by the channel itself; send none by this one")
    if kind is Kind.MAIL:
        recipients.mailboxes(given)
    if kind is Kind.SMS:
        return recipients.phone_numbers(given)
    return tuple(given)


def _attachments(payload: Mapping[str, Any], kind: Kind, settings: NotifyConfig) -> tuple[Attachment, ...]:
    wanted = "a list of files, each {'name': text, 'content': bytes}"
    given: Sequence[Any] = read.optional(payload, "attachments", (list, tuple), wanted) or ()
    if given and kind not in (Kind.MAIL, Kind.OTHER):
        raise read.invalid("attachments", "are only for mail; send none by this channel")
    if len(given) > settings.max_attachments:
        raise read.invalid(
            "attachments",
            f"holds {len(given)} files; send at most {settings.max_attachments} (NotifyConfig.max_attachments)",
        )
    found = [_attachment(item, wanted) for item in given]
    size = sum(len(content) for _, content in found)
    if size > settings.max_attachment_bytes:
        raise read.invalid(
            "attachments",
            f"holds {size} bytes; send at most {settings.max_attachment_bytes} (NotifyConfig.max_attachment_bytes)",
        )
    return tuple(Attachment(name=name, content=bytes(content)) for name, content in found)


def _attachment(item: object, wanted: str) -> tuple[str, bytes | bytearray]:
    if not isinstance(item, Mapping):
        raise read.invalid("attachments", f"must be {wanted}, but holds {type(item).__name__}")
    name, content = item.get("name"), item.get("content")
    if not isinstance(name, str) or not isinstance(content, bytes | bytearray):
        raise read.invalid("attachments", f"must be {wanted}, but one has no such name or content")
    # Printable in the strict sense: marks that turn the direction of writing hide what a file's name ends in.
    if not name.strip() or len(name) > MAX_FILE_NAME_CHARS or not name.isprintable() or {"/", "\\"} & set(name):
        raise read.invalid(
            "attachments",
            f"has a file name that cannot be used; send 1 to {MAX_FILE_NAME_CHARS} characters on one line, no path",
        )
    return name, content


def _one_line(text: str) -> bool:
    """Whether no character of it ends a line or controls anything. Joiners, as in many emoji, may stay."""
    return all(unicodedata.category(char) not in ("Cc", "Zl", "Zp") for char in text)


async def _close_all(notifiers: dict[str, Notifier]) -> None:
    for notifier in notifiers.values():
        await notifier.aclose()


class Sender:
    """The processor function. Keeps one notifier per channel and event loop."""

    def __init__(self, settings: NotifyConfig) -> None:
        if settings.timeout_s == 0:
            raise ConfigurationError("NotifyConfig.timeout_s must be above 0")
        self._settings = settings
        self._opened: PerLoop[dict[str, Notifier]] = PerLoop(dict, _close_all)

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Send one task's message.

        Raises:
            InvalidPayloadError: before anything is sent.
            ConfigurationError: no channel is configured, or its address cannot be used.
            ProviderError: it was not taken over; another attempt may help.
            PermanentError: no other attempt would help, or the message may have been taken over.
        """
        request = read_request(task.payload, self._settings)
        if request.channel is None:
            raise ConfigurationError(_NO_CHANNEL)
        notifier = self._notifier(request.channel)
        answer = await notifier.send(
            Notification(
                key=context.idempotency_key,
                message=request.message,
                subject=request.subject,
                recipients=request.recipients,
                html=request.html,
                attachments=request.attachments,
            )
        )
        delivery = checked(answer, Delivery, notifier.provider)
        if delivery.refused:
            context.logger.warning("the message was refused for %d recipients: see the result", len(delivery.refused))
        return _result(request.channel, delivery).as_dict()

    async def readiness(self) -> Readiness:
        """Whether every channel could send, as far as that can be found out without sending."""
        if not self._settings.channels:
            return Readiness(provider="none", offline=True, problem=_NO_CHANNEL)
        # At once: one that cannot be reached takes its time.
        answers = await asyncio.gather(*map(self._problem, self._settings.channels))
        problems = [problem for problem in answers if problem is not None]
        working = len(self._settings.channels) - len(problems)
        return Readiness(
            provider=", ".join(self._settings.channels),
            offline=False,
            problem="; ".join(problems) if not working else None,
            remarks=tuple(problems) if working else (),
        )

    async def _problem(self, channel: str) -> str | None:
        try:
            await self._notifier(channel).check()
        except AsyncProcessorError as error:
            return f"channel {channel!r}: {error}"
        return None

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._opened.aclose()

    def _notifier(self, channel: str) -> Notifier:
        opened = self._opened.get()
        if channel not in opened:
            opened[channel] = open_channel(channel, self._settings.channels[channel], self._settings)
        return opened[channel]


def _result(channel: str, delivery: Delivery) -> NotificationResult:
    return NotificationResult(
        channel=channel,
        # A plug-in may have given lists.
        delivered=tuple(delivery.delivered) or (channel,),
        refused=tuple(delivery.refused),
        message_id=delivery.message_id,
        accepted_at=datetime.now(UTC).isoformat(),
        provider=delivery.provider,
        offline=delivery.offline,
    )
