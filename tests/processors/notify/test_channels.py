"""Addresses of channels: what they mean, and that what is not safe is refused without being shown."""

from __future__ import annotations

import pytest

from async_processor.config import NotifyConfig, ProcessorConfig
from async_processor.errors import ConfigurationError
from async_processor.processors.channels import (
    Kind,
    MailServer,
    Webhook,
    kind_of,
    read_mail_server,
    read_webhook,
)
from async_processor.processors.notifiers import open_channel
from async_processor.processors.recipients import Mailbox

FROM = Mailbox(address="bear@example.org")


def test_a_mail_server_far_away_is_spoken_to_with_tls():
    server = read_mail_server("m", "smtp://bear:s%40cret@mail.example.org?from=bear@example.org&name=Teddy%20Bear")

    assert server == MailServer(
        host="mail.example.org",
        port=587,
        sender=Mailbox(address="bear@example.org", name="Teddy Bear"),
        tls="starttls",
        user="bear",
        password="s@cret",
    )


@pytest.mark.parametrize(
    ("url", "tls", "port"),
    [
        ("smtps://mail.example.org?from=bear@example.org", "implicit", 465),
        ("smtps://localhost?from=bear@example.org", "implicit", 465),
        ("smtp://mail.example.org?from=bear@example.org&tls=none", "none", 587),
        ("smtp://localhost?from=bear@example.org", "none", 25),
        ("smtp://127.0.0.1:2525?from=bear@example.org", "none", 2525),
        ("smtp://[::1]:2525?from=bear@example.org", "none", 2525),
        ("smtp://localhost?from=bear@example.org&tls=starttls", "starttls", 25),
        ("SMTP://Mail.Example.ORG?from=bear@example.org", "starttls", 587),
    ],
)
def test_how_a_mail_server_is_spoken_to(url: str, tls: str, port: int):
    server = read_mail_server("m", url)

    assert (server.tls, server.port, server.sender) == (tls, port, FROM)


def test_a_webhook_is_an_address_of_the_web():
    assert read_webhook("h", "jsons://u:p@bücher.example/hook?token=t") == Webhook(
        secure=True, host="xn--bcher-kva.example", port=443, path="/hook?token=t", user="u", password="p"
    )
    assert read_webhook("h", "json://192.0.2.1:8080") == Webhook(secure=False, host="192.0.2.1", port=8080, path="/")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("smtp://mail.example.org", "must say whom mail is from"),
        ("smtp://?from=bear@example.org", "names no host"),
        ("smtp://mail.example.org:99999?from=bear@example.org", "port"),
        ("smtp://mail.example.org:0?from=bear@example.org", "port"),
        ("smtp://mail.example.org:x?from=bear@example.org", "port"),
        ("smtp://mail.example.org?from=bear", "'from' that is no mail address"),
        ("smtp://mail.example.org?from=bear@example.org%0d%0aBcc:x@example.org", "'from' that"),
        ("smtp://mail.example.org?from=bear@example.org&name=B%0d%0aBcc:x", "'name' with control characters"),
        ("smtp://mail.example.org?from=bear@example.org&tls=maybe", "tls=starttls or tls=none"),
        ("smtps://mail.example.org?from=bear@example.org&tls=none", "tls=starttls or tls=none"),
        ("smtp://u:hunter2@mail.example.org?from=bear@example.org&tls=none", "would send its password in clear"),
        ("smtp://mail.example.org?from=bear@example.org&verify=no", "an option that mail does not know"),
        ("smtp://[mail.example.org?from=bear@example.org", "is no address"),
        ("smtp://mail.example.org /?from=bear@example.org", "is no address"),
        ("json://", "names no host"),
        ("jsons://hook.example:port/", "port"),
        ("jsons://hоok.example/", "mixes letters of several scripts"),
        ("file:///etc/passwd", "there is no notifier 'file'"),
        ("gopher://example.org/", "there is no notifier 'gopher'"),
        ("https://example.org/", "there is no notifier 'https'"),
        ("mailto://u:p@example.org", "there is no notifier 'mailto'"),
        ("syslog://", "there is no notifier 'syslog'"),
        ("nonsense", "there is no notifier ''"),
        ("", "there is no notifier ''"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_shown(url: str, problem: str):  # B15
    with pytest.raises(ConfigurationError, match=problem) as caught:
        open_channel("parents", url, NotifyConfig())

    assert "'parents'" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("smtp://x", Kind.MAIL),
        ("SMTPS://x", Kind.MAIL),
        ("twilio://x", Kind.SMS),
        ("ntfy://x", Kind.FIXED),
        ("jsons://x", Kind.FIXED),
        ("pigeon://x", Kind.OTHER),
        ("nonsense", Kind.OTHER),
    ],
)
def test_the_scheme_says_what_recipients_are(url: str, kind: Kind):
    assert kind_of(url) is kind


def test_passwords_are_in_no_representation():
    url = "smtps://bear:hunter2@mail.example.org?from=bear@example.org"
    config = ProcessorConfig(notify=NotifyConfig(channels={"parents": url}))

    shown = f"{config!r} {config.notify!r} {read_mail_server('m', url)!r} {read_webhook('h', 'json://u:hunter2@h/hunter2')!r}"

    assert "hunter2" not in shown
