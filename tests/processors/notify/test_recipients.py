"""Mail addresses and telephone numbers: what is taken, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.errors import InvalidPayloadError
from async_processor.processors import recipients
from async_processor.processors.recipients import Mailbox

GOOD = {
    "a@example.org": ("a@example.org", ""),
    "First.Last+tag@Example.ORG": ("First.Last+tag@example.org", ""),
    "Mama Bear <mama@example.org>": ("mama@example.org", "Mama Bear"),
    '"Bear, Mama" <mama@example.org>': ("mama@example.org", "Bear, Mama"),
    "Müller <m@münchen.example>": ("m@xn--mnchen-3ya.example", "Müller"),
    "x@xn--mnchen-3ya.example": ("x@xn--mnchen-3ya.example", ""),
    "x@пример.рф": ("x@xn--e1afmkfd.xn--p1ai", ""),
    "x@例え.テスト": ("x@xn--r8jz45g.xn--zckzah", ""),
    "x@한국.한국": ("x@xn--3e0b707e.xn--3e0b707e", ""),
}
BAD = {
    "no address": ["", " ", "nobody", "@example.org", "a@", "a@@example.org", "a b@example.org", "a@b@example.org"],
    "no domain that mail goes to": ["a@localhost", "a@example", "a@1.2.3.4", "a@[127.0.0.1]", "a@-x.org", "a@x..org"],
    "no local part": [
        ".a@example.org",
        "a..b@example.org",
        "a.@example.org",
        "x" * 65 + "@example.org",
        "ä@example.org",
    ],
    "two in one": ["a@example.org, b@example.org", "a@example.org;b@example.org", "A <a@x.org> <b@x.org>"],
    "brackets": ["<a@example.org", "a@example.org>", "A <a@example.org> B", "<>"],
    "too long": ["a@" + "x" * 64 + ".org", "a@" + ".".join(["x" * 60] * 5) + ".org", "N" * 101 + " <a@example.org>"],
    "another header or command": [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nBcc: b@example.org",
        "a@example.org\rDATA",
        "A\r\nBcc: b@example.org <a@example.org>",
        "a@example.org\x00",
        "a@example.org\u2028Bcc: b",
        "a@example.org\x85Bcc: b",
        "a@example.org> SIZE=1<",
    ],
    "letters of several scripts": ["a@pаypal.example", "a@gооgle.com", "a@αpple.org", "a@раураl.com"],
    "characters that standards disagree on": ["a@straße.de", "a@φως.gr".replace("ω", "ος"), "a@نام\u200cه.ir"],
    "direction of writing": ["a@example\u202egro.elpmaxe"],
}


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_taken_with_its_domain_in_ascii(text: str):
    address, name = GOOD[text]

    assert recipients.mailboxes([text]) == (Mailbox(address=address, name=name),)


@pytest.mark.parametrize("text", [item for group in BAD.values() for item in group])
def test_what_is_no_address_or_passes_for_another_is_refused(text: str):  # B16
    payload = {"recipients": ["good@example.org", text]}

    with pytest.raises(InvalidPayloadError, match=r"payload\['recipients'\] number 1 .*; send") as caught:
        recipients.mailboxes(recipients.listed(payload, 10))

    problem, _, _example = caught.value.message.partition("; send")
    assert len(text) < 3 or text not in problem, "an address is personal data"


def test_a_domain_all_in_one_foreign_script_is_taken_and_shown_as_what_it_is():
    (found,) = recipients.mailboxes(["a@раура.com"])  # all Cyrillic

    assert found.address == "a@xn--80aa0cbo.com"


def test_the_same_address_counts_once():
    found = recipients.mailboxes(["a@example.org", "A <a@EXAMPLE.org>", "b@example.org"])

    assert [item.address for item in found] == ["a@example.org", "b@example.org"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, []),
        ({"recipient": None, "recipients": None}, []),
        ({"recipient": ""}, []),
        ({"recipient": "a"}, ["a"]),
        ({"recipients": "a"}, ["a"]),
        ({"recipients": ["a", "b", "a"]}, ["a", "b"]),
        ({"recipients": ("a",), "recipient": "b"}, ["a"]),
        ({"recipients": []}, []),
    ],
)
def test_recipients_are_one_text_or_a_list(payload: dict[str, Any], expected: list[str]):
    assert recipients.listed(payload, 10) == expected


@pytest.mark.parametrize(
    "payload",
    [
        {"recipient": 3},
        {"recipient": b"a@example.org"},
        {"recipients": 3},
        {"recipients": {"a@example.org": 1}},
        {"recipients": ["a@example.org", None]},
        {"recipients": ["x" * 400]},
        {"recipients": ["a\ud800@example.org"]},
    ],
)
def test_other_recipients_are_refused(payload: dict[str, Any]):
    with pytest.raises(InvalidPayloadError, match="recipient"):
        recipients.listed(payload, 10)


def test_ten_thousand_recipients_are_refused_by_their_number():  # B16
    many = [f"child{number}@example.org" for number in range(10_000)]

    with pytest.raises(InvalidPayloadError, match="names 10000 recipients; send at most 50"):
        recipients.listed({"recipients": many}, 50)


@pytest.mark.parametrize(
    ("text", "number"), [("+4915112345678", "+4915112345678"), ("+1 (415) 555-2671", "+14155552671")]
)
def test_a_number_is_taken_without_its_spacing(text: str, number: str):
    assert recipients.phone_numbers([text, number]) == (number,)


@pytest.mark.parametrize(
    "text",
    ["015112345678", "+0123456789", "+123456", "+1234567890123456", "w:+4915112345678", "+49151/12345678",
     "+٤٩١٥١١٢٣٤٥٦٧٨",
     "+4915112345678\r\n", "+4915112345678,+4915112345679", "tel:+4915112345678", "+49\u200b15112345678", ""],
)  # fmt: skip
def test_what_is_no_international_number_is_refused(text: str):  # B16
    with pytest.raises(InvalidPayloadError, match=r"number 0 .*; send (a telephone number|one line)"):
        recipients.phone_numbers(recipients.listed({"recipients": [text]}, 10))


@pytest.mark.parametrize("check", [recipients.mailboxes, recipients.phone_numbers])
def test_nobody_is_not_enough(check: Any):
    with pytest.raises(InvalidPayloadError, match="is missing; send a"):
        check([])


@given(st.text(max_size=60).map(lambda text: f"{text}@example.org") | st.text(max_size=60) | st.emails())
def test_whatever_is_taken_can_neither_end_a_line_nor_an_address(text: str):
    try:
        (found,) = recipients.mailboxes(recipients.listed({"recipients": [text]}, 1))
    except InvalidPayloadError:
        return

    assert found.address.isascii()
    assert found.address.isprintable()
    assert not set(found.address) & set(' <>,;:"\\()[]')
    assert found.name.isprintable()
    assert found.address.count("@") == 1
