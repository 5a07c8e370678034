"""Who judges what is fit for a child: from the settings and the environment to a moderator."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import AIConfig
from ..errors import ConfigurationError
from .addresses import NO_KEY, checked_key, checked_url
from .chat_providers import Endpoint
from .moderation import Moderator, Stage, Verdict
from .provider_registry import BUILT_IN, ProviderKind, registry


class LetsAllPass:
    """The ``Moderator`` of those who want none."""

    provider = "off"
    offline = True

    async def judge(self, _text: str, _stage: Stage) -> Verdict:
        return Verdict(allowed=True)

    async def check(self) -> None:
        """It can always judge."""

    async def aclose(self) -> None:
        """It holds nothing open."""


def open_moderator(settings: AIConfig, endpoint: Endpoint, environ: Mapping[str, str]) -> Moderator:
    """The moderator of these settings. Opens no connection and loads no library.

    Args:
        endpoint: who answers: OpenAI's own key is good for both.

    Raises:
        ConfigurationError: the hosted one has no key, or key or address cannot be used; or it is to be brought by
            another package, and none does.
    """
    if settings.moderation == "off":
        return LetsAllPass()
    if settings.moderation == "offline":
        from .providers.word_moderation import WordModerator

        return WordModerator()
    if settings.moderation not in BUILT_IN[ProviderKind.MODERATOR]:
        brought: Moderator = registry.make(ProviderKind.MODERATOR, settings.moderation, settings)
        return brought
    from .providers.openai_moderation import VENDOR_URL, OpenAIModerator

    key, url = settings.moderation_api_key, checked_url(settings.moderation_base_url, "AIConfig", prefix="moderation_")
    # OpenAI's key is for OpenAI alone, and that of another server for that server.
    if not key:
        key = NO_KEY if url is not None else environ.get("OPENAI_API_KEY") or _vendors_key(endpoint)
    return OpenAIModerator(settings, api_key=checked_key(key), base_url=url or VENDOR_URL)


def _vendors_key(endpoint: Endpoint) -> str:
    if endpoint.provider == "openai" and endpoint.at_vendor:
        return endpoint.api_key
    raise ConfigurationError(
        "AIConfig.moderation is 'openai', but there is no key for it: set OPENAI_API_KEY or "
        "AIConfig.moderation_api_key (ASYNC_PROCESSOR_AI_MODERATION_API_KEY)"
    )
