"""EMOTION_ANALYSIS by an analyser that another package brings: it gets words and recording as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config import EmotionConfig, ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, PermanentError
from ..model import ProcessingTask
from ..results.emotion_analysis import EmotionAnalysisResult, EmotionScore
from . import payload as read
from .audio import FIELD as AUDIO
from .emotion_analysis import ANALYSIS_TYPES, COMPREHENSIVE, check_given, check_words, find_words
from .emotion_analysis import WORDS as TEXT_ONLY
from .emotion_analyzer import EmotionAnalyzer, EmotionFinding, EmotionRequest, fault_in, nothing_said
from .hosted_transcription import UploadRequest, check_recording, read_upload
from .mood_words import MAX_CHARS
from .per_loop import PerLoop
from .provider_registry import BUILT_IN, ProviderKind, checked, registry
from .recognition import LANGUAGE
from .registry import Readiness

_BASELINE = "baseline"


def is_brought(settings: EmotionConfig) -> bool:
    """Whether another package is to bring the analyser."""
    return settings.provider not in BUILT_IN[ProviderKind.EMOTION_ANALYZER]


def check_payload(payload: Mapping[str, Any], config: SpeechConfig, *, alone: bool) -> None:
    """Refuse what cannot be judged, whatever the dependencies give.

    Args:
        alone: whether there are none, so that nobody brings words but the payload.

    Raises:
        InvalidPayloadError: a field cannot be used, or there is nothing to judge.
    """
    analysis_type = read.choice(payload, "analysis_type", COMPREHENSIVE, ANALYSIS_TYPES)
    check_words(payload, analysis_type, alone=alone)
    if analysis_type != TEXT_ONLY and payload.get(AUDIO) is not None:
        check_recording(payload, config)


class BroughtAnalyser:
    """The processor function. Keeps one analyser per event loop.

    Args:
        config: names the analyser, and bounds recordings.
    """

    def __init__(self, config: ProcessorConfig) -> None:
        self._settings, self._speech = config.emotion, config.speech
        self._opened: PerLoop[EmotionAnalyzer] = PerLoop(self._open, lambda analyser: analyser.aclose())

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Have the words and the recording of one task judged.

        Raises:
            InvalidPayloadError: before the analyser gets anything.
            ConfigurationError: nobody brings an analyser of that name, or it cannot be used.
            PermanentError: what it gave back cannot be used.
        """
        request, warnings = self._read(task.payload, context)
        if request.text is None and request.recording is None:
            return nothing_said(EmotionAnalysisResult, warnings).as_dict()
        analyser = self._opened.get()
        finding = checked(await analyser.analyse(request), EmotionFinding, analyser.provider)
        fault = fault_in(finding, request)
        if fault is not None:
            raise PermanentError(f"provider {analyser.provider!r} gave back what cannot be used: {fault}")
        return _result(finding, analyser, warnings).as_dict()

    async def readiness(self) -> Readiness:
        """Whether it could be done; asks the analyser, and closes it again."""
        problem, offline = None, False
        try:
            offline = self._opened.get().offline
            await self._opened.get().check()
        except AsyncProcessorError as error:
            problem = error.message
        finally:
            await self.aclose()
        name = self._settings.provider
        remarks = () if offline else (f"provider {name!r} may send words and recordings away",)
        return Readiness(provider=name, offline=offline, problem=problem, remarks=remarks)

    async def aclose(self) -> None:
        """Close what this event loop opened. A later call opens it anew."""
        await self._opened.aclose()

    def _open(self) -> EmotionAnalyzer:
        analyser: EmotionAnalyzer = registry.make(
            ProviderKind.EMOTION_ANALYZER, self._settings.provider, self._settings
        )
        return analyser

    def _read(self, payload: Mapping[str, Any], context: TaskContext) -> tuple[EmotionRequest, list[str]]:
        """What is to be judged, and what was given and does not count."""
        analysis_type = read.choice(payload, "analysis_type", COMPREHENSIVE, ANALYSIS_TYPES)
        words = find_words(payload, context) if analysis_type in (COMPREHENSIVE, TEXT_ONLY) else None
        check_given(payload, words, analysis_type)
        upload: UploadRequest | None = None
        if analysis_type != TEXT_ONLY and payload.get(AUDIO) is not None:
            # The analysis has no language to ask for: what stands there is the caller's own.
            upload = read_upload({**payload, LANGUAGE: None}, self._speech)
        text = "" if words is None else words.text.strip()
        warnings = []
        if len(text) > MAX_CHARS:
            warnings.append(f"the transcript has {len(text)} characters; only the first {MAX_CHARS} were used")
        if payload.get(_BASELINE) is not None:
            warnings.append(f"not used, because only the offline analysis does: payload[{_BASELINE!r}]")
        request = EmotionRequest(
            text=text[:MAX_CHARS] or None,
            heard=bool(text) and words is not None and words.heard,
            recording=None if upload is None else upload.recording,
            file_name=None if upload is None else upload.file_name,
        )
        return request, warnings


def _result(finding: EmotionFinding, analyser: EmotionAnalyzer, warnings: list[str]) -> EmotionAnalysisResult:
    return EmotionAnalysisResult(
        primary_emotion=finding.primary_emotion,
        confidence=finding.confidence,
        secondary_emotions=tuple(
            EmotionScore(emotion=item.name, score=item.score) for item in finding.secondary_emotions
        ),
        arousal=finding.arousal,
        valence=finding.valence,
        analysis_method="+".join(finding.basis) or "none",
        basis=finding.basis,
        reason=finding.reason,
        provider=analyser.provider,
        model=analyser.model,
        offline=analyser.offline,
        warnings=tuple(warnings),
    )
