"""The result of NOTIFICATION."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Record, Result


@dataclass(slots=True, frozen=True, kw_only=True)
class Refusal(Record):
    """A recipient whom the message did not go to, and why."""

    recipient: str
    reason: str


@dataclass(slots=True, frozen=True, kw_only=True)
class NotificationResult(Result):
    """What became of a message.

    Attributes:
        channel: the channel that was used.
        delivered: the recipients whom it was taken over for; the channel's name where that names them.
        refused: those it was not, each with the reason.
        message_id: under which it is known on its way; None where nobody gave it one.
        accepted_at: when it was taken over, ISO 8601 in UTC.
        provider: who took it over.
        offline: whether nothing left the machine.
    """

    channel: str
    delivered: tuple[str, ...]
    refused: tuple[Refusal, ...]
    message_id: str | None
    accepted_at: str
    provider: str
    offline: bool
