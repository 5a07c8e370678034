"""A notification as a mail: headers and parts by the standard library, which lets no line break into a header."""

from __future__ import annotations

import hashlib
import mimetypes
from datetime import datetime
from email.headerregistry import Address, Group
from email.message import EmailMessage
from email.policy import SMTP

from .notifier import Notification
from .recipients import Mailbox

# Seven bits: every server takes them, and no relay has to encode anything anew.
_POLICY = SMTP.clone(cte_type="7bit")


def message_id(key: str, sender: Mailbox) -> str:
    """The Message-ID of a task's mail: the same at every attempt, and telling nothing of the key."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"<{digest}@{sender.address.rpartition('@')[2]}>"


def compose(notification: Notification, sender: Mailbox, to: tuple[Mailbox, ...], now: datetime) -> EmailMessage:
    """The mail for a notification.

    Several recipients do not get to see each other: their addresses are told to the server only.

    Args:
        notification: what to say.
        sender: whom it is from.
        to: whom to; one at least.
        now: its date, with a time zone.
    """
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _address(sender)
    mail["To"] = _address(to[0]) if len(to) == 1 else Group("undisclosed-recipients", ())
    mail["Subject"] = notification.subject
    mail["Date"] = now
    mail["Message-ID"] = message_id(notification.key, sender)
    # Asks automatic responders (holiday notes) to keep quiet (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(notification.message)
    if notification.html:
        mail.add_alternative(notification.html, subtype="html")
    for attachment in notification.attachments:
        kind = mimetypes.guess_type(attachment.name)[0] or "application/octet-stream"
        main, _, sub = kind.partition("/")
        mail.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.name)
    return mail


def _address(mailbox: Mailbox) -> Address:
    return Address(display_name=mailbox.name, addr_spec=mailbox.address)
