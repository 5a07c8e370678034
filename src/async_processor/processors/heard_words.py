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


def transcript_or_reply(dependencies: DependencyResults) -> tuple[str, ProcessingType] | None:
    """What was heard, or else the first reply; with the type of task that it is from."""
    for task_type in _WORDS_IN:
        words = _words(dependencies, task_type)
        if words is not None:
            return words, task_type
    return None


def _words(dependencies: DependencyResults, task_type: ProcessingType) -> str | None:
    result = dependencies.first(task_type)
    words = result.get(_WORDS_IN[task_type]) if isinstance(result, Mapping) else None
    return words if isinstance(words, str) else None
