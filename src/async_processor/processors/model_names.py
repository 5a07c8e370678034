"""Model names that their vendors switch off, and when.

Dates are the vendors' own announcements, as their client libraries (openai 3.54, anthropic 2.12) and their pages on
deprecations gave them in November 2026. The table only warns and explains: a server of one's own may give a model
any name. No name stands anywhere in the package as a default.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from ..errors import PermanentError

_ENDS: dict[str, dict[date, str]] = {
    "chat": {
        date(2024, 9, 13): "gpt-3.5-turbo-16k gpt-3.5-turbo-0301 gpt-3.5-turbo-0613 gpt-3.5-turbo-16k-0613",
        date(2024, 11, 6): "claude-1.3 claude-instant-1.1 claude-instant-1.2",
        date(2025, 6, 6): "gpt-4-32k gpt-4-32k-0314 gpt-4-32k-0613",
        date(2025, 7, 21): "claude-2.0 claude-2.1 claude-3-sonnet-20240229",
        date(2025, 7, 28): "o1-preview o1-preview-2024-09-12",
        date(2025, 10, 27): "o1-mini o1-mini-2024-09-12",
        date(2026, 1, 5): "claude-3-opus-20240229",
        date(2026, 2, 17): "chatgpt-4o-latest",
        date(2026, 2, 19): (
            "claude-3-7-sonnet-latest claude-3-7-sonnet-20250219 claude-3-5-haiku-latest claude-3-5-haiku-20241022"
        ),
        date(2026, 3, 26): "gpt-4-0314 gpt-4-0125-preview gpt-4-turbo-preview",
        date(2026, 6, 15): ("claude-opus-4-0 claude-opus-4-20250514 claude-sonnet-4-0 claude-sonnet-4-20250514"),
        date(2026, 7, 23): "gpt-5-chat-latest gpt-5.1-chat-latest",
        date(2026, 8, 10): "gpt-5.2-chat-latest gpt-5.3-chat-latest",
        date(2026, 9, 28): "gpt-3.5-turbo-1106",
        date(2026, 10, 23): (
            "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4-1106-preview "
            "gpt-4o-2024-05-13 gpt-4.1-nano gpt-4.1-nano-2025-04-14 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31 "
            "o4-mini o4-mini-2025-04-16"
        ),
        date(2026, 11, 30): "claude-sonnet-4-5 claude-sonnet-4-5-20250929",
        date(2026, 12, 11): (
            "gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07 o3 o3-2025-04-16"
        ),
        date(2027, 1, 14): (
            "gpt-4.1 gpt-4.1-2025-04-14 gpt-4.1-mini gpt-4.1-mini-2025-04-14 gpt-4o gpt-4o-2024-08-06 "
            "gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18"
        ),
        date(2027, 4, 1): "gpt-5.1 gpt-5.1-2025-11-13 gpt-5.4-nano gpt-5.4-nano-2026-03-17",
    },
    "image": {
        date(2026, 5, 12): "dall-e-2 dall-e-3",
        date(2026, 10, 23): "gpt-image-1",
    },
    "transcription": {date(2027, 2, 26): "whisper-1 gpt-4o-transcribe gpt-4o-mini-transcribe"},
    "speech": {date(2027, 1, 6): "tts-1 tts-1-hd gpt-4o-mini-tts"},
}


@dataclass(slots=True, frozen=True)
class EndingModel:
    """A model with an end.

    Attributes:
        name: its name.
        ends: the day from which the vendor's own service refuses it.
        kind: "chat", "image", "transcription" or "speech": what its successor must be, too.
    """

    name: str
    ends: date
    kind: str

    def has_ended(self, today: date) -> bool:
        """Whether the vendor's service refuses it by now."""
        return today >= self.ends

    def notice(self, today: date) -> str:
        """A sentence for people."""
        happened = "was switched off by its vendor" if self.has_ended(today) else "will be switched off by its vendor"
        return f"model {self.name!r} {happened} on {self.ends.isoformat()}; name a current {self.kind} model"


_BY_NAME = {
    name: EndingModel(name, ends, kind)
    for kind, by_date in _ENDS.items()
    for ends, names in by_date.items()
    for name in names.split()
}


def ending_model(name: str) -> EndingModel | None:
    """What is known about the end of a model, or None. Upper case and surrounding space make no difference."""
    return _BY_NAME.get(name.strip().lower())


def first_current(names: Iterable[str | None], today: date) -> str | None:
    """The first of these that is a name, and not of a model that was switched off."""
    return next((name for name in names if name is not None and not _has_ended(name, today)), None)


def hosted_model(
    wished: str | None, configured: str | None, today: date, *, at_vendor: bool, remedy: str
) -> tuple[str | None, tuple[str, ...]]:
    """Which model to ask a server for, and what to warn of; None where neither name is given.

    Args:
        wished: the name in a payload; goes first.
        configured: the name in the settings; takes the place of one that was switched off.
        at_vendor: whether the server is the vendor's own; others may call their model by any name.
        remedy: what to do, for the message.

    Raises:
        PermanentError: the vendor has switched off what is asked for, and there is no other name.
    """
    name = wished or configured
    ending = None if name is None else ending_model(name)
    if ending is None:
        return name, ()
    if not ending.has_ended(today):
        return name, (ending.notice(today),) if at_vendor else ()
    if configured is not None and not _has_ended(configured, today):
        return configured, (f"{ending.notice(today)}: used {configured!r} from the configuration instead",)
    if at_vendor:
        raise PermanentError(f"{ending.notice(today)}: {remedy}")
    return name, ()


def _has_ended(name: str, today: date) -> bool:
    ending = ending_model(name)
    return ending is not None and ending.has_ended(today)
