"""The result of AUDIO_TRANSCRIPTION."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Record, Result


@dataclass(slots=True, frozen=True, kw_only=True)
class Word(Record):
    """One word that was recognised.

    Attributes:
        text: the word.
        start, end: seconds from the beginning of the recording.
        score: the recogniser's own posterior probability, 0 to 1; no confidence.
    """

    text: str
    start: float
    end: float
    score: float


@dataclass(slots=True, frozen=True, kw_only=True)
class Segment(Record):
    """One utterance.

    Attributes:
        text: what is said in it.
        start, end: seconds from the beginning of the recording.
        words: its words in their order.
    """

    text: str
    start: float
    end: float
    words: tuple[Word, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class AudioTranscriptionResult(Result):
    """What is said in a recording.

    Attributes:
        transcription: the words; "" if nobody speaks.
        confidence: None: none was measured.
        score: mean of the words' scores, 0 to 1; None without words, or where the recogniser tells none.
        language: as asked for, else as found; None if nobody spoke, or the recogniser did not tell.
        duration: seconds of the recording; None where it was sent away undecoded.
        speech_duration: seconds of speech in it; None likewise.
        segments: utterances in their order; empty without words, or where the recogniser tells the text alone.
        reason: why there are no words; None otherwise.
        sample_rate: of the recording, in Hz; None where it was sent away undecoded.
        provider: who recognised.
        model: by which model; None where it has no name.
        offline: whether the recording stayed on this machine.
    """

    transcription: str
    confidence: float | None
    score: float | None
    language: str | None
    duration: float | None
    speech_duration: float | None
    segments: tuple[Segment, ...]
    reason: str | None
    sample_rate: int | None
    provider: str
    model: str | None
    offline: bool
