"""Whom a notification may go to: mail addresses and telephone numbers, checked before anything is sent.

A mail address is ``local@domain``, or ``Name <local@domain>``.

- The local part is ASCII: servers that take others are few, and a look-alike letter there is another mailbox.
- A domain may be in any script and becomes punycode (IDNA), which is also what the result shows. A label that mixes
  scripts is refused, because that is how one passes itself off as another (a Cyrillic "а" in "paypal"). A label all in
  one script passes: it is in plain sight as ``xn--...`` in the result.
- Four characters are refused because the standards of 2003 and 2008 make different domains of them (ß, ς, two joiners).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import payload as read

FIELD, FIELD_ONE = "recipients", "recipient"
MAX_ADDRESS_CHARS, MAX_NAME_CHARS = 254, 100

_MAIL = "a mail address such as 'name@example.org' or 'Name <name@example.org>'"
_PHONE = "a telephone number in its international form such as '+4915112345678'"

_NAMED = re.compile(r"([^<>]*)<([^<>]*)>")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_NUMBER_SPACING = str.maketrans("", "", " -()")
_AMBIGUOUS = frozenset("ßς\u200c\u200d")
# Scripts that are written together in one word.
_TOGETHER = (
    {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    {"CJK", "HANGUL"},
    {"CJK", "BOPOMOFO"},
)


@dataclass(slots=True, frozen=True, kw_only=True)
class Mailbox:
    """One mail address.

    Attributes:
        address: ``local@domain``, ASCII only.
        name: to be shown beside it; may be empty.
    """

    address: str
    name: str = ""


def listed(payload: Mapping[str, Any], max_recipients: int) -> list[str]:
    """The payload's recipients, as given, each once.

    Raises:
        InvalidPayloadError: not a text or a list of texts, too many, or one with control characters.
    """
    if payload.get(FIELD) is None:
        one = read.text(payload, FIELD_ONE, "", max_chars=MAX_ADDRESS_CHARS + MAX_NAME_CHARS, wanted="one recipient")
        given: list[Any] = [one] if one else []
    else:
        many = read.required(payload, FIELD, (str, list, tuple), "a list of recipients")
        given = [many] if isinstance(many, str) else list(many)
    if len(given) > max_recipients:
        raise read.invalid(
            FIELD, f"names {len(given)} recipients; send at most {max_recipients} (NotifyConfig.max_recipients)"
        )
    for position, item in enumerate(given):
        if not isinstance(item, str):
            raise read.invalid(FIELD, f"must be a list of texts, but number {position} is {type(item).__name__}")
        if not item.isprintable() or len(item) > MAX_ADDRESS_CHARS + MAX_NAME_CHARS:
            raise _unusable(position, "is too long, or holds line breaks or other control characters", "one line")
    return list(dict.fromkeys(given))


def mailboxes(given: Sequence[str]) -> tuple[Mailbox, ...]:
    """Recipients as mail addresses; the same address twice counts once.

    Raises:
        InvalidPayloadError: there is none, or one is no address that can be used; says which by its position.
    """
    found = _all(
        given, lambda item, position: mailbox(item, lambda problem: _unusable(position, problem, _MAIL)), _MAIL
    )
    return tuple({item.address: item for item in found}.values())


def phone_numbers(given: Sequence[str]) -> tuple[str, ...]:
    """Recipients as telephone numbers (E.164): a plus sign and 7 to 15 digits; spaces, dashes and brackets go.

    Raises:
        InvalidPayloadError: there is none, or one is no such number.
    """

    def number(item: str, position: int) -> str:
        bare = item.translate(_NUMBER_SPACING)
        if not _NUMBER.fullmatch(bare):
            raise _unusable(position, "is no such number", _PHONE)
        return bare

    return tuple(dict.fromkeys(_all(given, number, _PHONE)))


def mailbox(text: str, refusal: Callable[[str], Exception]) -> Mailbox:
    """One mail address.

    Args:
        text: ``local@domain`` or ``Name <local@domain>``.
        refusal: makes the error to raise, given what is wrong with it.
    """
    named = _NAMED.fullmatch(text.strip())
    name, address = (named[1].strip(), named[2]) if named else ("", text.strip())
    local, at, domain = address.rpartition("@")
    if not at or not text.isprintable():
        raise refusal("is no mail address")
    if len(name) > MAX_NAME_CHARS:
        raise refusal(f"has a name of more than {MAX_NAME_CHARS} characters")
    if len(local) > 64 or not _LOCAL.fullmatch(local):
        raise refusal(
            "has characters before the @ that are not taken (ASCII letters, digits, dots and a few signs are)"
        )
    whole = f"{local}@{ascii_domain(domain, refusal)}"
    if len(whole) > MAX_ADDRESS_CHARS:
        raise refusal(f"has more than {MAX_ADDRESS_CHARS} characters")
    return Mailbox(address=whole, name=name.strip('" '))


def ascii_domain(domain: str, refusal: Callable[[str], Exception]) -> str:
    """A domain in lower case and punycode."""
    labels = domain.split(".")
    if any(_mixes_scripts(label) for label in labels):
        raise refusal("has a domain that mixes letters of several scripts, as imitations of other domains do")
    if _AMBIGUOUS & set(domain):
        raise refusal("has a domain with a character that not all read alike; write the domain in punycode (xn--...)")
    try:
        encoded = domain.encode("idna").decode().lower()
    except UnicodeError:
        raise refusal("has a domain that cannot be one") from None
    found = encoded.split(".")
    if len(found) < 2 or found[-1].isdecimal() or not all(_LABEL.fullmatch(label) for label in found):
        raise refusal("has a domain that cannot be one")
    return encoded


def _mixes_scripts(label: str) -> bool:
    scripts = {unicodedata.name(char, "?").partition(" ")[0] for char in label if char.isalpha()}
    return len(scripts) > 1 and not any(scripts <= group for group in _TOGETHER)


def _all(given: Sequence[str], check: Callable[[str, int], Any], wanted: str) -> list[Any]:
    if not given:
        raise read.invalid(FIELD, f"is missing; send {wanted}, or a list of such")
    return [check(item, position) for position, item in enumerate(given)]


def _unusable(position: int, problem: str, wanted: str) -> Exception:
    # By its position: an address is personal data, and messages are logged.
    return read.invalid(FIELD, f"number {position} {problem}; send {wanted}")
