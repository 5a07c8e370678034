"""What a payload asks for: read without any library that sends, and refused with what to send instead."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.config import NotifyConfig
from async_processor.errors import InvalidPayloadError
from async_processor.processors.notification import read_request
from async_processor.processors.notifier import Attachment

SETTINGS = NotifyConfig(
    channels={
        "mail": "smtp://mail.example?from=bear@example.org",
        "sms": "twilio://AC0:0@+15005550006",
        "push": "ntfys://topic",
        "hook": "jsons://hook.example/x",
        "plugin": "carrier-pigeon://loft",
    },
    max_message_chars=1_000,
    max_recipients=3,
    max_attachments=2,
    max_attachment_bytes=100,
)
MAIL: dict[str, Any] = {"channel": "mail", "recipient": "mama@example.org", "message": "Hello"}
SMS: dict[str, Any] = {"channel": "sms", "recipient": "+4915112345678", "message": "Hello"}


def test_a_mail_may_have_everything():
    payload = MAIL | {
        "subject": "Wörds 🧸",
        "html": "<p>Hello</p>",
        "attachments": [{"name": "bär.png", "content": b"\x89PNG"}],
        "child_id": "the caller's own",
    }

    request = read_request(payload, SETTINGS)

    assert (request.channel, request.subject, request.message) == ("mail", "Wörds 🧸", "Hello")
    assert request.attachments == (Attachment(name="bär.png", content=b"\x89PNG"),)


def test_a_channel_is_found_in_any_case_and_a_title_is_a_subject():
    request = read_request({"channel": "PUSH", "message": "Hello", "title": "Bear"}, SETTINGS)

    assert (request.channel, request.subject, request.recipients) == ("push", "Bear", ())


def test_the_only_channel_need_not_be_named():
    only = NotifyConfig(channels={"hook": "jsons://hook.example/x"})

    assert read_request({"message": "Hello"}, only).channel == "hook"


def test_numbers_become_what_vendors_take():
    assert read_request(SMS | {"recipient": "+49 (151) 1234-5678"}, SETTINGS).recipients == ("+4915112345678",)


def test_the_recipients_of_another_package_s_channel_are_its_own_matter():
    payload = {"channel": "plugin", "recipients": ["loft 7"], "message": "Hello", "html": "<p>Hello</p>"}

    assert read_request(payload, SETTINGS).recipients == ("loft 7",)


def test_without_channels_a_payload_is_checked_as_far_as_it_can_be():
    assert read_request(MAIL, NotifyConfig()).channel is None
    with pytest.raises(InvalidPayloadError, match="message"):
        read_request({}, NotifyConfig())


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "message"),
        (MAIL | {"message": " \n"}, "message"),
        (MAIL | {"message": b"Hello"}, "message"),
        (MAIL | {"message": "x" * 1_001}, "message"),
        (MAIL | {"message": "half a pair \ud83d"}, "message"),
        (MAIL | {"channel": None}, "channel"),
        (MAIL | {"channel": "post"}, "channel"),
        (MAIL | {"channel": "smtp://other.example?from=a@example.org"}, "channel"),
        (MAIL | {"channel": 3}, "channel"),
        (MAIL | {"recipient": None}, "recipients"),
        (MAIL | {"recipient": "+4915112345678"}, "recipients"),
        (SMS | {"recipient": "mama@example.org"}, "recipients"),
        (SMS | {"recipient": None}, "recipients"),
        (MAIL | {"recipients": ["a@example.org"] * 4}, "recipients"),
        ({"channel": "push", "message": "Hello", "recipient": "somebody"}, "recipients"),
        ({"channel": "hook", "message": "Hello", "recipients": ["https://other.example/"]}, "recipients"),
        (MAIL | {"subject": 7}, "subject"),
        (MAIL | {"subject": "x" * 501}, "subject"),
        (MAIL | {"html": b"<p>"}, "html"),
        (SMS | {"html": "<p>Hello</p>"}, "html"),
        (SMS | {"attachments": [{"name": "a", "content": b""}]}, "attachments"),
        (MAIL | {"attachments": {"name": "a", "content": b""}}, "attachments"),
        (MAIL | {"attachments": ["/etc/passwd"]}, "attachments"),
        (MAIL | {"attachments": [{"name": "a"}]}, "attachments"),
        (MAIL | {"attachments": [{"name": "a", "content": "text"}]}, "attachments"),
        (MAIL | {"attachments": [{"name": "a", "content": b""}] * 3}, "attachments"),
        (MAIL | {"attachments": [{"name": "a", "content": b"x" * 60}, {"name": "b", "content": b"x" * 60}]},
         "attachments"),
        *[
            (MAIL | {"attachments": [{"name": name, "content": b""}]}, "attachments")
            for name in ("", " ", "../a", "a\\b", "a\r\nX: y", "x" * 201, "exe\u202egpj.", "\ud800")
        ],
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_with_what_to_send(payload: dict[str, Any], field: str):
    with pytest.raises(InvalidPayloadError, match=r"must be|send") as caught:
        read_request(payload, SETTINGS)

    assert caught.value.field == field


@pytest.mark.parametrize("key", ["subject", "title"])
@pytest.mark.parametrize(
    "text", ["Hi\r\nBcc: b@example.org", "Hi\nX: y", "Hi\rX: y", "Hi\x0bX", "Hi\x85X", "Hi\u2028X", "Hi\x00", "\n"]
)
def test_a_line_break_in_the_subject_is_refused(key: str, text: str):  # B16
    with pytest.raises(InvalidPayloadError, match=rf"payload\['{key}'\] holds line breaks.*send one line"):
        read_request(MAIL | {key: text}, SETTINGS)


@given(
    st.dictionaries(
        st.sampled_from(["channel", "recipient", "recipients", "subject", "title", "message", "html", "attachments"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just("mail"),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_no_payload_whatever_it_holds_does_more_than_be_refused(payload: dict[str, Any]):
    for settings in (SETTINGS, NotifyConfig()):
        with contextlib.suppress(InvalidPayloadError):
            request = read_request({"message": "Hello", **payload}, settings)
            assert "\n" not in request.subject
