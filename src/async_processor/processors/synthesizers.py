"""Who speaks: from the settings to a synthesiser."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date

from ..config import SpeechConfig
from ..errors import ConfigurationError, PermanentError
from .addresses import NO_KEY, checked_key, checked_url, is_at_vendor
from .model_names import ending_model
from .provider_registry import BUILT_IN, ProviderKind, registry
from .speech_programs import PROGRAMS, InstalledProgram
from .synthesis import SpeechSynthesizer

logger = logging.getLogger("async_processor.providers")

_HOSTED_SETTINGS = ("synthesizer_model", "synthesizer_base_url", "synthesizer_api_key")
_NEEDED = {"synthesizer_model": "the name of a model", "synthesizer_voice": "the name of a voice"}
_LIMITS = ("synthesizer_timeout_s", "max_speech_bytes")


def check_settings(config: SpeechConfig) -> None:
    """See that the settings name what their synthesiser needs.

    The environment has no say: a key that lies there is no consent to send a text.

    Raises:
        ConfigurationError: settings are missing, or contradict each other.
    """
    chosen = config.synthesizer
    if chosen == "auto" or chosen in _program_names():
        given = next((name for name in _HOSTED_SETTINGS if getattr(config, name)), None)
        if given is not None:
            raise ConfigurationError(
                f"SpeechConfig.{given} is set, but nothing says that text may be sent anywhere: set "
                "SpeechConfig.synthesizer to 'openai', or leave it out"
            )
        _program(config)
        return
    for name, what in _NEEDED.items():
        if chosen == "openai" and not getattr(config, name):
            raise ConfigurationError(f"synthesizer 'openai' needs {what}: set SpeechConfig.{name}")
    for name in _LIMITS:
        if getattr(config, name) == 0:
            raise ConfigurationError(f"SpeechConfig.{name} must be above 0")


def open_synthesizer(config: SpeechConfig, environ: Mapping[str, str], today: date) -> SpeechSynthesizer:
    """The synthesiser of these settings. Opens no connection before its first request.

    A model that its vendor will switch off is named in the log.

    Raises:
        ConfigurationError: settings or key are missing, or key or address cannot be used; or another package is to
            bring the synthesiser, and none does.
        PermanentError: the vendor has switched the model off.
    """
    check_settings(config)
    if config.synthesizer == "openai":
        return _open_hosted(config, environ, today)
    if config.synthesizer in BUILT_IN[ProviderKind.TEXT_TO_SPEECH]:
        return _program(config)
    brought: SpeechSynthesizer = registry.make(ProviderKind.TEXT_TO_SPEECH, config.synthesizer, config)
    return brought


def _program_names() -> list[str]:
    return [item.name for item in PROGRAMS]


def _program(config: SpeechConfig) -> InstalledProgram:
    programs = [item for item in PROGRAMS if config.synthesizer in ("auto", item.name)]
    return InstalledProgram(programs, config.synthesizer_voice)


def _open_hosted(config: SpeechConfig, environ: Mapping[str, str], today: date) -> SpeechSynthesizer:
    key, base_url = config.synthesizer_api_key, config.synthesizer_base_url
    if base_url is None:
        # What the environment has belongs together; a server that the settings name gets no key but theirs.
        key, base_url = key or environ.get("OPENAI_API_KEY"), environ.get("OPENAI_BASE_URL") or None
        if not key and base_url is None:
            raise ConfigurationError(
                "synthesizer 'openai' needs a key: set OPENAI_API_KEY or SpeechConfig.synthesizer_api_key, or "
                "SpeechConfig.synthesizer_base_url for a server of your own that wants none"
            )
    url, key = checked_url(base_url, "SpeechConfig", prefix="synthesizer_"), checked_key(key or NO_KEY)
    ending = ending_model(config.synthesizer_model or "")
    if ending is not None and is_at_vendor(url):
        notice = f"{ending.notice(today)}, in SpeechConfig.synthesizer_model"
        if ending.has_ended(today):
            raise PermanentError(notice)
        logger.warning("%s", notice)
    # Imported here and only where it is needed.
    from .providers.openai_speech import OpenAISpeech

    return OpenAISpeech(config, api_key=key, base_url=url)
