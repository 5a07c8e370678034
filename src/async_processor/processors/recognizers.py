"""Who recognises speech: from the settings to a recogniser."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date

from ..config import SpeechConfig
from ..errors import ConfigurationError, PermanentError
from .addresses import NO_KEY, checked_key, checked_url
from .chat_providers import Endpoint
from .model_names import ending_model
from .provider_registry import BUILT_IN, ProviderKind, registry
from .recognition import HostedRecognizer, LocalRecognizer

logger = logging.getLogger("async_processor.providers")

RUN_HERE = ("pocketsphinx", "whisper")
"""Recognisers that run in a worker process; all others are asked on the event loop."""

_HOSTED_SETTINGS = ("model", "base_url", "api_key")
_LIMITS = ("request_timeout_s", "max_upload_bytes", "max_response_bytes")


def chosen(config: SpeechConfig) -> str:
    """Whom the settings choose: one of ``RUN_HERE``, "openai", or the name of what another package brings.

    The environment has no say: a key that lies there is no consent to send a recording.

    Raises:
        ConfigurationError: settings are missing, or contradict each other.
    """
    provider = config.provider
    if config.whisper_threads == 0:
        raise ConfigurationError("SpeechConfig.whisper_threads must be above 0")
    if provider == "auto":
        given = next((name for name in _HOSTED_SETTINGS if getattr(config, name)), None)
        if given is not None:
            raise ConfigurationError(
                f"SpeechConfig.{given} is set, but nothing says that recordings may be sent anywhere: set "
                "SpeechConfig.provider to 'openai', or leave it out"
            )
        return "pocketsphinx" if config.whisper_model_dir is None else "whisper"
    if provider == "whisper" and not config.whisper_model_dir:
        raise ConfigurationError("provider 'whisper' needs the folder of a model: set SpeechConfig.whisper_model_dir")
    if provider not in RUN_HERE:
        _check_hosted(config)
    return provider


def _check_hosted(config: SpeechConfig) -> None:
    if config.provider == "openai" and not config.model:
        raise ConfigurationError("provider 'openai' needs the name of a model: set SpeechConfig.model")
    for name in _LIMITS:
        if getattr(config, name) == 0:
            raise ConfigurationError(f"SpeechConfig.{name} must be above 0")


def open_local(config: SpeechConfig) -> LocalRecognizer:
    """The recogniser that runs here. Loads nothing before its first use."""
    # Imported here and only the one that is needed.
    if chosen(config) == "whisper":
        from .providers.faster_whisper_stt import FasterWhisper

        return FasterWhisper(config.whisper_model_dir or "", config.whisper_threads)
    from .providers.pocketsphinx_stt import PocketSphinx

    return PocketSphinx()


def open_hosted(config: SpeechConfig, environ: Mapping[str, str], today: date) -> HostedRecognizer:
    """The recogniser that is asked on the event loop. Opens no connection before its first request.

    A model that its vendor will switch off is named in the log.

    Raises:
        ConfigurationError: the key is missing, or key or address cannot be used; or another package is to bring the
            recogniser, and none does.
        PermanentError: the vendor has switched the model off.
    """
    if config.provider not in BUILT_IN[ProviderKind.SPEECH_TO_TEXT]:
        brought: HostedRecognizer = registry.make(ProviderKind.SPEECH_TO_TEXT, config.provider, config)
        return brought
    key = config.api_key or environ.get("OPENAI_API_KEY")
    base_url = config.base_url or environ.get("OPENAI_BASE_URL") or None
    if not key and base_url is None:
        raise ConfigurationError(
            "provider 'openai' needs a key: set OPENAI_API_KEY or SpeechConfig.api_key, or SpeechConfig.base_url for a "
            "server of your own that wants none"
        )
    endpoint = Endpoint(
        provider="openai", base_url=checked_url(base_url, "SpeechConfig"), api_key=checked_key(key or NO_KEY)
    )
    ending = ending_model(config.model or "")
    if ending is not None and endpoint.at_vendor:
        notice = f"{ending.notice(today)}, in SpeechConfig.model"
        if ending.has_ended(today):
            raise PermanentError(notice)
        logger.warning("%s", notice)
    from .providers.openai_transcription import OpenAITranscription

    return OpenAITranscription(config, api_key=endpoint.api_key, base_url=endpoint.base_url)
