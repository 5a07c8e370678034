"""What recognisers of speech have in common, whoever recognises."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import payload as read

if TYPE_CHECKING:
    from .samples import Samples

LANGUAGE = "language"
# As in BCP 47, of which recognisers know no more than "en" or "en-US".
_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
_TAG_WANTED = "a language tag such as 'en' or 'de'"


@dataclass(slots=True, frozen=True)
class HeardWord:
    """One word: its text, seconds from the start of the utterance, and the recogniser's posterior (not calibrated)."""

    text: str
    start: float
    end: float
    score: float


@dataclass(slots=True, frozen=True)
class Heard:
    """What was heard in one utterance; ``words`` may be empty where the recogniser does not tell them apart."""

    text: str
    words: tuple[HeardWord, ...]
    language: str


class SpeechRecognizer(Protocol):
    """Whoever recognises speech."""

    @property
    def provider(self) -> str:
        """Its name, which results carry."""
        ...

    @property
    def model(self) -> str | None:
        """The ``model`` of its results."""
        ...


class LocalRecognizer(SpeechRecognizer, Protocol):
    """One that runs in the worker process, loads its model at first use and keeps it.

    Each method may raise ``MissingExtraError`` (its library is not installed) and ``ProcessorNotAvailableError`` (its
    model is missing or broken). ``languages`` may load the model.
    """

    @property
    def languages(self) -> Sequence[str]:
        """What can be asked for as ``language``."""
        ...

    @property
    def default_language(self) -> str | None:
        """What it hears where no language is asked for; None if it finds out."""
        ...

    def check(self) -> None:
        """Look, without loading anything, whether all is there."""
        ...

    def recognise(self, samples: Samples, language: str | None) -> Heard:
        """What is said in one utterance of 16 kHz samples; None to find out the language."""
        ...


class HostedRecognizer(SpeechRecognizer, Protocol):
    """One that is asked on the event loop and takes whole recordings: a server, or what another package brings.

    Errors are those of ``ChatModel``.
    """

    @property
    def offline(self) -> bool:
        """Whether recordings stay on this machine."""
        ...

    async def check(self) -> None:
        """Find out whether it could hear now, at the cost of at most one small request."""
        ...

    async def recognise(self, file_name: str, recording: bytes, language: str | None) -> HostedText:
        """What is said in a whole recording; the name's ending tells its format. None to find out the language."""
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...


@dataclass(slots=True, frozen=True)
class HostedText:
    """What was heard in a whole recording: "" where nobody speaks; ``language`` is None where it was not told."""

    text: str
    language: str | None


def read_language(payload: Mapping[str, Any], languages: Sequence[str] | None) -> str | None:
    """The language asked for, as the recogniser spells it; None where none is.

    A region goes unheeded (de-AT is heard as de) unless the recogniser tells regions apart itself.

    Args:
        payload: the task's payload.
        languages: what the recogniser knows; None if that is not known here: then any tag will do.

    Raises:
        InvalidPayloadError: it is no language, or one that the recogniser does not know.
    """
    tag = payload.get(LANGUAGE)
    if tag is None:
        return None
    if languages is None:
        text = read.text(payload, LANGUAGE, wanted=_TAG_WANTED)
        if not _TAG.fullmatch(text):
            raise read.invalid(LANGUAGE, f"must be {_TAG_WANTED}")
        return text
    if isinstance(tag, str) and not any("-" in language for language in languages):
        tag = tag.partition("-")[0]
    return read.choice({LANGUAGE: tag}, LANGUAGE, None, languages)
