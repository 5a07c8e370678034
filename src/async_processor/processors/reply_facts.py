"""What is known about the moment a reply is for: from the payload's ``context`` and from the dependencies.

Only the few facts named here go on, to a hosted model or a scripted one. Everything else that a payload may hold
(``child_id``, ``session_id``, names) stays where it is.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..context import DependencyResults
from ..model import ProcessingType
from . import payload as read
from .chat import Feeling

MAX_CONTEXT_DEPTH = 8
MAX_CONTEXT_ITEMS = 1_000
MAX_AGE_YEARS = 120
MAX_NAME_CHARS = 64
MAX_TOPIC_CHARS = 500
_USED = ("child_age", "emotion", "language", "topic")
# Expected beside them, and left out without a word; any other key is left out with a warning.
_PRIVATE = frozenset({"session_id", "child_id", "user_id", "child_name", "device_id"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(slots=True, frozen=True, kw_only=True)
class Facts:
    """What whoever answers may be told.

    Attributes:
        words: what the child said; "" if it was not understood, None if nothing was listened to.
        feeling: how the child seems to feel.
        age: years.
        language: a language tag such as "en".
        topic: what the talk is about.
        warnings: what of context and dependencies could not be used.
    """

    words: str | None = None
    feeling: Feeling = field(default_factory=Feeling)
    age: float | None = None
    language: str | None = None
    topic: str | None = None
    warnings: tuple[str, ...] = ()

    def known(self) -> dict[str, Any]:
        """The facts that are known, as plain data."""
        pairs = {
            "child_said": self.words,
            "seems_to_feel": self.feeling.name,
            "valence": _short(self.feeling.valence),
            "arousal": _short(self.feeling.arousal),
            "child_age": _short(self.age),
            "language": self.language,
            "topic": self.topic,
        }
        return {name: value for name, value in pairs.items() if value is not None}


def read_context(payload: Mapping[str, Any], max_chars: int) -> tuple[Facts, int]:
    """Read the payload's ``context``.

    Returns:
        the facts in it, and how many characters of text it holds in all.

    Raises:
        InvalidPayloadError: it is too deep or too large, or a fact in it has the wrong type.
    """
    context = read.mapping(payload, "context")
    size = _measured(context, max_chars)
    # Flat and with the full name, so that a message says where the fault is.
    given = {f"context.{name}": context[name] for name in _USED if context.get(name) is not None}
    facts = Facts(
        feeling=_context_feeling(given),
        age=read.number(given, "context.child_age", None, 0, MAX_AGE_YEARS) if "context.child_age" in given else None,
        language=read.text(given, "context.language", "", max_chars=MAX_NAME_CHARS) or None,
        topic=read.text(given, "context.topic", "", max_chars=MAX_TOPIC_CHARS) or None,
        warnings=_unused(context),
    )
    return facts, size


def add_dependencies(facts: Facts, results: DependencyResults, max_words: int) -> Facts:
    """Add what a transcription heard and an emotion analysis found; what the payload says itself comes first.

    A dependency that did not complete counts as nothing understood, and as no feeling known.

    Args:
        max_words: characters of a transcript that are used; the rest is cut, with a warning.
    """
    warnings = list(facts.warnings)
    words = facts.words
    if words is None and results.by_type(ProcessingType.AUDIO_TRANSCRIPTION):
        words = _heard(results, max_words, warnings)
    feeling = facts.feeling
    if feeling == Feeling():
        feeling = feeling_of(results.first(ProcessingType.EMOTION_ANALYSIS))
    return replace(facts, words=words, feeling=feeling, warnings=tuple(warnings))


def feeling_of(value: object) -> Feeling:
    """A feeling from a word or from the result of an emotion analysis; empty where nothing in it can be used."""
    if isinstance(value, str):
        return Feeling(name=clean(value[:MAX_NAME_CHARS]) or None)
    if not isinstance(value, Mapping):
        return Feeling()
    name = value.get("primary_emotion")
    return Feeling(
        name=clean(name[:MAX_NAME_CHARS]) or None if isinstance(name, str) else None,
        valence=_within(value.get("valence")),
        arousal=_within(value.get("arousal")),
    )


def clean(text: str) -> str:
    """One line of text that can be written as UTF-8."""
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8")).strip()


def _heard(results: DependencyResults, max_words: int, warnings: list[str]) -> str:
    result = results.first(ProcessingType.AUDIO_TRANSCRIPTION)
    if result is None:
        warnings.append("the transcription did not complete: the reply does not know what was said")
        return ""
    text = result.get("transcription") if isinstance(result, Mapping) else result
    if not isinstance(text, str):
        warnings.append("the transcription's result holds no 'transcription': the reply does not know what was said")
        return ""
    if len(text) > max_words:
        warnings.append(f"the transcript has {len(text)} characters; only the first {max_words} were used")
    return clean(text[:max_words])


def _context_feeling(given: Mapping[str, Any]) -> Feeling:
    emotion = given.get("context.emotion")
    if emotion is None or isinstance(emotion, Mapping):
        return feeling_of(emotion)
    wanted = "a word such as 'happy', or the result of an emotion analysis"
    return feeling_of(read.text(given, "context.emotion", max_chars=MAX_NAME_CHARS, wanted=wanted))


def _unused(context: Mapping[str, Any]) -> tuple[str, ...]:
    names = [ascii(name[:MAX_NAME_CHARS]) for name in context if name not in _USED and name.lower() not in _PRIVATE]
    if not names:
        return ()
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (f"not used from the context: {', '.join(names[:5])}{more}; it may hold {', '.join(_USED)}",)


def _measured(context: Mapping[str, Any], max_chars: int) -> int:
    """Characters of text in a nested value. Walks with a stack: depth is an attacker's choice."""
    chars = items = 0
    left: list[tuple[object, int]] = [(context, 1)]
    while left:
        value, depth = left.pop()
        items += 1
        if isinstance(value, str | bytes | bytearray):
            chars += len(value)
        inner = _inner(value)
        if inner and depth > MAX_CONTEXT_DEPTH:
            raise read.invalid("context", f"is nested deeper than {MAX_CONTEXT_DEPTH} levels; send flat facts")
        if chars > max_chars or items + len(left) + len(inner) > MAX_CONTEXT_ITEMS:
            raise read.invalid(
                "context", f"is too large; send at most {max_chars} characters in {MAX_CONTEXT_ITEMS} values"
            )
        left.extend((item, depth + 1) for item in inner)
    return chars


def _inner(value: object) -> list[object]:
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = (*value.keys(), *value.values()) if len(value) <= MAX_CONTEXT_ITEMS else range(MAX_CONTEXT_ITEMS + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value if len(value) <= MAX_CONTEXT_ITEMS else range(MAX_CONTEXT_ITEMS + 1)
    return list(parts)


def _within(value: object) -> float | None:
    """A measure from -1 to 1, or None."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return None if math.isnan(number) else min(1.0, max(-1.0, number))


def _short(value: float | None) -> float | int | None:
    if value is None:
        return None
    rounded = round(value, 2)
    return int(rounded) if rounded.is_integer() else rounded
