"""The mail for a notification: whatever the words, they arrive, and nothing else gets into it."""

from __future__ import annotations

import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_processor.processors.mail import compose
from async_processor.processors.notifier import Attachment, Notification
from async_processor.processors.recipients import Mailbox

BEAR, MAMA = Mailbox(address="bear@example.org", name="Teddy"), Mailbox(address="mama@example.org", name="Mäma")
NOW = datetime(2026, 11, 24, 20, 15, tzinfo=UTC)
HEADERS = {
    "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
    "content-transfer-encoding",
}  # fmt: skip

# What payloads may hold: any text that is valid Unicode; in a subject, no characters that end a line or control one.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
one_line = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
file_name = st.text(st.characters(categories=["L", "N", "P"], exclude_characters='/\\"'), min_size=1, max_size=40)


def parsed(content: bytes) -> EmailMessage:
    message = BytesParser(policy=email.policy.default).parsebytes(content)
    assert isinstance(message, EmailMessage)
    return message


def lines(text: str) -> list[str]:
    """A mail has one kind of line end, and one at its end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def any_words_arrive(message: str, subject: str, html: str, name: str, content: bytes) -> None:
    notification = Notification(
        key="t",
        message=message,
        subject=subject,
        html=html,
        attachments=(Attachment(name=name, content=content),),
    )

    raw = compose(notification, BEAR, (MAMA,), NOW).as_bytes()

    mail = parsed(raw)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "the longest line that SMTP takes"
    assert {header.lower() for header in mail} <= HEADERS
    assert str(mail["from"]) == "Teddy <bear@example.org>"
    assert [item.addr_spec for item in mail["to"].addresses] == [MAMA.address]
    assert mail["subject"].split() == subject.split()
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert lines(plain.get_content()) == lines(message)
    (attachment,) = mail.iter_attachments()
    assert attachment.get_payload(decode=True) == content


@settings(max_examples=60)
@given(words, one_line, words, file_name, st.binary(max_size=300))
def test_any_words_arrive_and_nothing_else_gets_in(
    message: str, subject: str, html: str, name: str, content: bytes
):  # B16
    any_words_arrive(message, subject, html, name, content)


@pytest.mark.nightly
@settings(max_examples=20_000)
@given(words, one_line, words, file_name, st.binary(max_size=300))
def test_any_words_arrive_and_nothing_else_gets_in_all_night(
    message: str, subject: str, html: str, name: str, content: bytes
):  # B16
    any_words_arrive(message, subject, html, name, content)


@pytest.mark.parametrize(
    "message", ["x" * 5_000, "From here\n.\n..\n\nend", "ä" * 5_000, "a\r\nb\rc\nd", "\x00\x07\x7f"]
)
def test_words_that_are_awkward_for_mail_arrive(message: str):
    any_words_arrive(message, "s" * 500, "", "ä" * 150 + ".txt", b"")
