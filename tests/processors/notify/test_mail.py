"""Mail, by the real client library to a real server: what arrives, and what is made of everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from tests.processors.notify.mail_server import PASSWORD, USER, MailServerKit

from async_processor.config import NotifyConfig
from async_processor.errors import (
    AsyncProcessorError,
    AuthenticationError,
    ConfigurationError,
    PermanentError,
    ProviderError,
)
from async_processor.processors.channels import read_mail_server
from async_processor.processors.notifier import Attachment, Delivery, Notification, Refusal
from async_processor.processors.providers.smtp_mail import SmtpMail

MAMA, PAPA = "mama@example.org", "papa@example.org"
# aiosmtpd warns of its own use of its own name.
pytestmark = pytest.mark.filterwarnings("ignore:Session.login_data is deprecated")

HELLO = Notification(key="task-1", message="Hello", subject="A bear", recipients=(MAMA,))


def channel(
    port: int, options: str = "", *, host: str = "127.0.0.1", scheme: str = "smtp", **settings: Any
) -> SmtpMail:
    url = f"{scheme}://{host}:{port}?from=bear@example.org&name=Teddy{options}"
    return SmtpMail(read_mail_server("parents", url), NotifyConfig(**{"timeout_s": 10.0, **settings}))


async def failure(notifier: SmtpMail, notification: Notification = HELLO) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await notifier.send(notification)
    shown = "".join(traceback.format_exception(caught.value))
    for secret in (MAMA, "Hello", "A bear", PASSWORD):
        assert secret not in shown
    return caught.value


async def test_a_mail_arrives_as_it_was_meant(mail_server: MailServerKit):
    await channel(mail_server.port).send(
        Notification(
            key="task-1",
            message="Hällo\n.\nFrom here on",
            subject="Grüße 🧸",
            recipients=("Mäma <mama@example.org>",),
            html="<p>Hällo</p>",
            attachments=(Attachment(name="bär.png", content=b"\x89PNG\r\n\x00"),),
        )
    )

    (mail,) = mail_server.mails
    message = mail.parsed
    assert (mail.sender, mail.recipients) == ("bear@example.org", [MAMA])
    assert (message["from"], message["to"], message["subject"]) == (
        "Teddy <bear@example.org>",
        "Mäma <mama@example.org>",
        "Grüße 🧸",
    )
    assert abs(datetime.now(UTC) - message["date"].datetime) < timedelta(minutes=1)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == ["Hällo", ".", "From here on"]
    assert html.get_content().strip() == "<p>Hällo</p>"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == ("bär.png", "image/png")
    assert attachment.get_content() == b"\x89PNG\r\n\x00"
    assert mail.content.isascii(), "every server takes seven bits"


async def test_the_delivery_says_who_has_it(mail_server: MailServerKit):
    delivery = await channel(mail_server.port).send(HELLO)

    message_id = mail_server.mails[0].parsed["message-id"]
    assert delivery == Delivery(provider="smtp", delivered=(MAMA,), message_id=message_id, offline=False)
    assert message_id.endswith("@example.org>")


async def test_several_recipients_do_not_see_each_other(mail_server: MailServerKit):
    await channel(mail_server.port).send(Notification(key="t", message="Hello", recipients=(f"M <{MAMA}>", PAPA, MAMA)))

    (mail,) = mail_server.mails
    assert mail.recipients == [MAMA, PAPA]
    assert mail.parsed["to"] == "undisclosed-recipients:;"
    assert b"mama" not in mail.content


async def test_an_international_domain_is_written_in_ascii(mail_server: MailServerKit):
    delivery = await channel(mail_server.port).send(
        Notification(key="t", message="Hello", recipients=("a@münchen.example",))
    )

    assert mail_server.mails[0].recipients == ["a@xn--mnchen-3ya.example"]
    assert delivery.delivered == ("a@xn--mnchen-3ya.example",)


@pytest.mark.parametrize("text", ["A\r\nBcc: b@example.org", "A\nX: y", "A\rB", "x" * 2_000 + " B"])
async def test_no_header_gets_in_by_way_of_another_even_past_the_first_check(
    mail_server: MailServerKit, text: str
):  # B16
    """What checks payloads refuses these already; here they come straight to the sender."""
    notification = Notification(key="t", message="Hello", subject=text, recipients=(MAMA,))

    try:
        await channel(mail_server.port).send(notification)
    except ValueError:
        assert mail_server.mails == []
    else:
        assert sorted(mail_server.mails[0].parsed.keys()) == [
            "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "MIME-Version",
            "Message-ID", "Subject", "To",
        ]  # fmt: skip


async def test_every_attempt_of_a_task_sends_the_same_message_id_and_no_other_task_does(
    mail_server: MailServerKit,
):  # B17
    notifier = channel(mail_server.port)

    for key in ("task-1", "task-1", "task-2", "\ud800 any id"):
        await notifier.send(Notification(key=key, message="Hello", recipients=(MAMA,)))

    ids = [mail.parsed["message-id"] for mail in mail_server.mails]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert not any("task" in item for item in ids)


# ---- refusals


async def test_who_is_refused_is_told_beside_who_is_not(mail_server: MailServerKit):
    mail_server.replies = {PAPA: "550 5.1.1 <papa@example.org> nobody of\x07 that name"}

    delivery = await channel(mail_server.port).send(Notification(key="t", message="Hello", recipients=(MAMA, PAPA)))

    assert delivery.delivered == (MAMA,)
    assert delivery.refused == (
        Refusal(recipient=PAPA, reason="550 5.1.1 <papa@example.org> nobody of\\x07 that name"),
    )
    assert mail_server.mails[0].recipients == [MAMA]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("550 5.1.1 nobody of that name", PermanentError),
        ("554 5.7.1 spam", PermanentError),
        ("450 4.2.1 greylisted", ProviderError),
        ("421 4.7.0 go away", ProviderError),
        ("530 5.7.0 log in first", AuthenticationError),
    ],
)
async def test_when_all_are_refused_the_code_decides_whether_to_try_again(
    mail_server: MailServerKit, reply: str, kind: type[AsyncProcessorError]
):
    mail_server.replies = {MAMA: reply}

    error = await failure(channel(mail_server.port))

    assert type(error) is kind
    assert reply[:3] in str(error)
    assert mail_server.mails == []


async def test_one_temporary_refusal_among_final_ones_is_worth_another_attempt(mail_server: MailServerKit):
    mail_server.replies = {MAMA: "550 5.1.1 no", PAPA: "451 4.3.0 later"}

    error = await failure(channel(mail_server.port), Notification(key="t", message="Hi", recipients=(MAMA, PAPA)))

    assert type(error) is ProviderError


@pytest.mark.parametrize(
    ("reply", "kind"), [("554 5.6.0 spam", PermanentError), ("452 4.3.1 disk full", ProviderError)]
)
async def test_a_mail_that_is_refused_at_its_end_was_not_delivered(
    mail_server: MailServerKit, reply: str, kind: type[AsyncProcessorError]
):
    async def refuse(_server: SMTP) -> str:
        return reply

    mail_server.on_mail = refuse

    error = await failure(channel(mail_server.port))

    assert type(error) is kind
    assert reply[:9] in str(error).replace(", ", " ")


# ---- nobody knows


async def hang_up(server: SMTP) -> str:
    assert server.transport is not None
    server.transport.abort()
    return "250 taken"


def be_slow(release: asyncio.Event) -> Any:
    async def wait(_server: SMTP) -> str:
        await release.wait()
        return "250 taken"

    return wait


async def test_a_mail_whose_answer_is_lost_is_not_sent_again_unless_settings_say_so(mail_server: MailServerKit):  # B17
    mail_server.on_mail = hang_up

    error = await failure(channel(mail_server.port))
    asked_for = await failure(channel(mail_server.port, retry_unknown=True))

    assert type(error) is PermanentError
    assert "may have been delivered" in str(error)
    assert "retry_unknown" in str(error)
    assert type(asked_for) is ProviderError
    assert len({mail.parsed["message-id"] for mail in mail_server.mails}) == 1


async def test_a_server_that_takes_too_long_over_a_mail_may_have_it(mail_server: MailServerKit):  # B17
    release = asyncio.Event()
    mail_server.on_mail = be_slow(release)

    error = await failure(channel(mail_server.port, timeout_s=0.3))
    release.set()

    assert type(error) is PermanentError
    assert "may have been delivered" in str(error)


async def test_a_goodbye_that_fails_does_not_undo_a_delivery(mail_server: MailServerKit):
    async def then_hang_up(server: SMTP) -> str:
        assert server.transport is not None
        server.transport.write(b"250 taken\r\n")
        asyncio.get_running_loop().call_soon(server.transport.abort)
        return "250 taken"

    mail_server.on_mail = then_hang_up

    assert (await channel(mail_server.port).send(HELLO)).delivered == (MAMA,)


async def test_a_cancelled_mail_is_given_up_at_once_and_its_connection_closed(
    mail_server: MailServerKit, no_leaks: None
):
    release = asyncio.Event()
    mail_server.on_mail = be_slow(release)
    sending = asyncio.ensure_future(channel(mail_server.port).send(HELLO))
    await mail_server.arrived.wait()

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    release.set()


# ---- no mail server, or none that can be trusted


async def test_a_port_where_nobody_listens_is_worth_another_attempt(mail_server: MailServerKit):
    port = mail_server.port
    await mail_server.aclose()

    error = await failure(channel(port))

    await mail_server.start()
    assert type(error) is ProviderError


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"", ProviderError),
        (b"421 4.3.2 too busy\r\n", ProviderError),
        (b"554 5.7.1 you are on a list\r\n", PermanentError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", PermanentError),
        (b"220 " + b"x" * 100_000, PermanentError),
        (b"\xff\xfe\x00\r\n", PermanentError),
    ],
)
async def test_whoever_is_no_mail_server_is_told_apart_from_one_that_is_busy(
    greeting: bytes, kind: type[AsyncProcessorError]
):
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    async with listening(greet) as port:
        error = await failure(channel(port))

    assert type(error) is kind
    assert (kind is ProviderError) or "554" in str(error) or "no mail server" in str(error)


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_set():
    async def keep_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(keep_silent) as port:
        error = await failure(channel(port, timeout_s=0.2))

    assert type(error) is ProviderError


@contextlib.asynccontextmanager
async def listening(
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """The port of a server that does one thing with a connection and closes it."""
    done = asyncio.Event()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    await done.wait()
    server.close()
    await server.wait_closed()


async def test_login_over_starttls(mail_server: MailServerKit, server_tls: Any, certificate: Path):
    await mail_server.restart(tls=server_tls, login=True)
    options = f"&tls=starttls&ca={certificate / 'certificate.pem'}"

    await channel(mail_server.port, options, host=f"{USER}:{PASSWORD}@localhost").send(HELLO)

    assert [(mail.tls, mail.user) for mail in mail_server.mails] == [(True, USER)]


async def test_tls_from_the_first_byte(mail_server: MailServerKit, server_tls: Any, certificate: Path):
    await mail_server.restart(tls=server_tls, implicit=True)

    await channel(mail_server.port, f"&ca={certificate / 'certificate.pem'}", host="localhost", scheme="smtps").send(
        HELLO
    )

    assert len(mail_server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    mail_server: MailServerKit, server_tls: Any, scheme: str
):
    await mail_server.restart(tls=server_tls, implicit=scheme == "smtps")
    options = "&tls=starttls" if scheme == "smtp" else ""

    error = await failure(channel(mail_server.port, options, host="localhost", scheme=scheme))

    assert type(error) is PermanentError
    assert "certificate" in str(error)
    assert mail_server.mails == []


async def test_a_file_of_certificates_that_is_not_there_is_a_matter_of_configuration(mail_server: MailServerKit):
    error = await failure(channel(mail_server.port, "&tls=starttls&ca=/no/such/file.pem"))

    assert type(error) is ConfigurationError
    assert mail_server.connections == 0


async def test_a_certificate_of_another_host_is_refused(mail_server: MailServerKit, server_tls: Any, certificate: Path):
    await mail_server.restart(tls=server_tls)

    error = await failure(channel(mail_server.port, f"&tls=starttls&ca={certificate / 'certificate.pem'}"))

    assert type(error) is PermanentError
    assert mail_server.mails == []


async def test_without_starttls_nothing_is_sent_where_it_is_demanded(mail_server: MailServerKit):
    error = await failure(channel(mail_server.port, "&tls=starttls", host=f"{USER}:{PASSWORD}@localhost"))

    assert type(error) is PermanentError
    assert "STARTTLS" in str(error)
    assert mail_server.mails == []


async def test_a_wrong_password_is_permanent(mail_server: MailServerKit, server_tls: Any, certificate: Path):
    await mail_server.restart(tls=server_tls, login=True)
    options = f"&tls=starttls&ca={certificate / 'certificate.pem'}"

    error = await failure(channel(mail_server.port, options, host=f"{USER}:wrong@localhost"))

    assert type(error) is AuthenticationError


async def test_check_connects_and_logs_in_and_sends_nothing(mail_server: MailServerKit):
    await channel(mail_server.port).check()

    assert mail_server.connections == 1
    assert mail_server.mails == []
    await mail_server.aclose()
    with pytest.raises(ProviderError):
        await channel(mail_server.port).check()
    await mail_server.start()


async def test_nothing_of_a_mail_is_logged(mail_server: MailServerKit, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    mail_server.replies = {PAPA: "550 no"}

    await channel(mail_server.port).send(Notification(key="t", message="Hello", recipients=(MAMA, PAPA)))

    own = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]
    assert not any("mama" in line or "Hello" in line for line in own)
