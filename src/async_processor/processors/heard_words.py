"""Words that a task's dependencies bring: what a recording was heard to say, or what was answered."""

from __future__ import annotations

from collections.abc import Mapping

from ..context import DependencyResults
from ..model import ProcessingType

# Where each result holds its words. What was said goes before what was answered.
_WORDS_IN = {ProcessingType.AUDIO_TRANSCRIPTION: "transcription", ProcessingType.AI_RESPONSE: "response"}


def transcript(dependencies: DependencyResults) -> str | None:
    """What the first transcription heard; None where there is none that completed and holds a text."""
    return _words(dependencies, ProcessingType.AUDIO_TRANSCRIPTION)


def reply(dependencies: DependencyResults) -> str | None:
    """The first reply, in characters that can be sent; None where there is none that completed and holds a text."""
    words = _words(dependencies, ProcessingType.AI_RESPONSE)
    return None if words is None else _sendable(words)


def transcript_or_reply(dependencies: DependencyResults) -> tuple[str, ProcessingType] | None:
    """What was heard, or else the first reply, in characters that can be sent; with the type of task it is from."""
    for task_type in _WORDS_IN:
        words = _words(dependencies, task_type)
        if words is not None:
            return _sendable(words), task_type
    return None


def _words(dependencies: DependencyResults, task_type: ProcessingType) -> str | None:
    result = dependencies.first(task_type)
    words = result.get(_WORDS_IN[task_type]) if isinstance(result, Mapping) else None
    return words if isinstance(words, str) else None


def _sendable(words: str) -> str:
    # Of a function of one's own they may be anything, and half a surrogate pair cannot be sent to anybody.
    return words.encode("utf-8", "replace").decode()
