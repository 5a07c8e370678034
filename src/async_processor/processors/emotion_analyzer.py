"""What an emotion analyser of another package is asked with, and what it answers. See docs/providers.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..results.emotion_analysis import EmotionAnalysisResult
from .circumplex import NEUTRAL, WORDS
from .mood_words import NAMED_FEELINGS

VOCABULARY = tuple(dict.fromkeys((*WORDS, *NAMED_FEELINGS)))
"""The words for emotions, the same as of the offline analysis. No other gets into a result's ``primary_emotion``."""

Kind = TypeVar("Kind", bound=EmotionAnalysisResult)

MAX_SECONDARY = 10
MAX_NAME_CHARS = 60
MAX_REASON_CHARS = 500


@dataclass(slots=True, frozen=True, kw_only=True)
class EmotionRequest:
    """Something said, to be judged: its words, its recording, or both.

    Attributes:
        text: the words, at most 5,000 characters; None without any.
        heard: whether a recogniser heard the words, rather than somebody typed them.
        recording: the bytes of a sound file, as they came: not checked but for their number; None without one.
        file_name: a name for it, whose ending tells the format; None without a recording.
    """

    text: str | None = field(default=None, repr=False)
    heard: bool = False
    recording: bytes | None = field(default=None, repr=False)
    file_name: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class SecondaryEmotion:
    """Another emotion that fits: a name of the analyser's own, and how well (0 to 1), where that is known."""

    name: str
    score: float | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class EmotionFinding:
    """What an analyser found.

    Attributes:
        primary_emotion: one of ``VOCABULARY``; "neutral" where nothing was found.
        confidence: 0 to 1; None where it was never measured.
        arousal: -1 (calm, tired) to 1 (excited, upset); None where it cannot tell.
        valence: -1 (unpleasant) to 1 (pleasant); None where it cannot tell.
        secondary_emotions: up to ``MAX_SECONDARY`` others, the best first.
        basis: what was judged of what was given: "audio", "text", both, or nothing.
        reason: why nothing could be judged; only where ``basis`` is empty.
    """

    primary_emotion: str
    confidence: float | None = None
    arousal: float | None = None
    valence: float | None = None
    secondary_emotions: tuple[SecondaryEmotion, ...] = ()
    basis: tuple[str, ...]
    reason: str | None = None


class EmotionAnalyzer(Protocol):
    """Whoever judges emotions on the event loop. Errors are those of ``ChatModel``."""

    @property
    def provider(self) -> str:
        """Its name, which results carry."""
        ...

    @property
    def model(self) -> str | None:
        """The ``model`` of its results."""
        ...

    @property
    def offline(self) -> bool:
        """Whether words and recordings stay on this machine."""
        ...

    async def analyse(self, request: EmotionRequest) -> EmotionFinding:
        """Judge what was said."""
        ...

    async def check(self) -> None:
        """Find out whether it could judge now, at the cost of at most one small request."""
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...


def nothing_said(kind: type[Kind], warnings: Sequence[str], **more: Any) -> Kind:
    """The result where there are no words to judge, and so nobody was asked; ``more`` is what the class adds."""
    return kind(
        primary_emotion=NEUTRAL,
        confidence=0.0,
        secondary_emotions=(),
        arousal=None,
        valence=None,
        analysis_method="none",
        basis=(),
        reason="no words were found",
        provider="none",
        model=None,
        offline=True,
        warnings=tuple(warnings),
        **more,
    )


def fault_in(finding: EmotionFinding, request: EmotionRequest) -> str | None:
    """What keeps a finding out of a result: a field of another type, beyond its bounds, or without ground."""
    given = [name for name, part in (("audio", request.recording), ("text", request.text)) if part is not None]
    # Whoever wrote the analyser need not have kept to the types.
    primary: object = finding.primary_emotion
    others: object = finding.secondary_emotions
    basis: object = finding.basis
    rules = {
        f"primary_emotion must be one of {', '.join(VOCABULARY)}": (isinstance(primary, str) and primary in VOCABULARY),
        "confidence must be a number from 0 to 1, or None": _is_within(finding.confidence, 0.0),
        "arousal must be a number from -1 to 1, or None": _is_within(finding.arousal, -1.0),
        "valence must be a number from -1 to 1, or None": _is_within(finding.valence, -1.0),
        f"secondary_emotions must be a tuple of at most {MAX_SECONDARY} SecondaryEmotion, each with a name of at most "
        f"{MAX_NAME_CHARS} characters and a score from 0 to 1, or None": (
            isinstance(others, tuple) and len(others) <= MAX_SECONDARY and all(map(_is_emotion, others))
        ),
        f"basis must be a tuple of what was given ({', '.join(given)}), each once": (
            isinstance(basis, tuple) and all(name in given for name in basis) and len(basis) == len(set(basis))
        ),
        f"reason must be a text of at most {MAX_REASON_CHARS} characters where basis is empty, and else None": (
            _is_text(finding.reason, MAX_REASON_CHARS) if basis == () else finding.reason is None
        ),
    }
    return next((rule for rule, holds in rules.items() if not holds), None)


def _is_emotion(value: object) -> bool:
    return isinstance(value, SecondaryEmotion) and _is_text(value.name, MAX_NAME_CHARS) and _is_within(value.score, 0.0)


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def _is_within(value: object, least: float) -> bool:
    # Exact types: True is no 1, and a library's own numbers do not get into results. NaN is within no bounds.
    return value is None or (type(value) in (int, float) and least <= value <= 1)  # type: ignore[operator]
