"""Who answers: from the settings and the environment to a chat model.

1. ``AIConfig.provider``, where it is not "auto"; one that another package brings can be named here only.
2. A server that the settings name (``base_url``): OpenAI's protocol.
3. ``OPENAI_API_KEY`` or ``OPENAI_BASE_URL``; then ``ANTHROPIC_API_KEY``.
4. Nobody: the scripted companion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config import AIConfig
from ..errors import ConfigurationError
from .addresses import NO_KEY, checked_key, checked_url, is_at_vendor
from .chat import ChatModel
from .per_loop import PerLoop
from .provider_registry import BUILT_IN, ProviderKind, registry


@dataclass(slots=True, frozen=True, kw_only=True)
class Endpoint:
    """Who answers, and how to get there.

    Attributes:
        provider: "openai", "anthropic", "scripted", or the name of one that another package brings.
        base_url: address of the server; None for the vendor's own.
        api_key: the key. Never shown.
        for_want_of_another: whether it was not chosen, but is what is left where nothing is configured.
    """

    provider: str
    base_url: str | None = None
    api_key: str = field(default="", repr=False)
    for_want_of_another: bool = False

    @property
    def brought(self) -> bool:
        """Whether another package brings it: then it knows its own keys, addresses and models."""
        return self.provider not in BUILT_IN[ProviderKind.CHAT_MODEL]

    @property
    def at_vendor(self) -> bool:
        """Whether the vendor itself answers, so that what it switched off cannot."""
        return self.provider != "scripted" and not self.brought and is_at_vendor(self.base_url)


def choose(settings: AIConfig, environ: Mapping[str, str]) -> Endpoint:
    """Who answers under these settings in this environment.

    Raises:
        ConfigurationError: a key is missing, or key or address cannot be used; says what to set.
    """
    provider = _provider(settings, environ)
    if provider == "scripted":
        return Endpoint(provider=provider, for_want_of_another=settings.provider == "auto")
    if provider not in BUILT_IN[ProviderKind.CHAT_MODEL]:
        return Endpoint(provider=provider)
    if provider == "anthropic":
        key = settings.api_key or environ.get("ANTHROPIC_API_KEY")
        base_url = settings.base_url or environ.get("ANTHROPIC_BASE_URL") or None
        if not key:
            raise _key_missing(provider, "ANTHROPIC_API_KEY")
    else:
        key = settings.api_key or environ.get("OPENAI_API_KEY")
        base_url = settings.base_url or environ.get("OPENAI_BASE_URL") or None
        if not key and base_url is None:
            raise _key_missing(provider, "OPENAI_API_KEY")
    return Endpoint(provider=provider, base_url=checked_url(base_url, "AIConfig"), api_key=checked_key(key or NO_KEY))


def open_model(endpoint: Endpoint, settings: AIConfig) -> ChatModel:
    """A chat model. Opens no connection and loads no library before its first request.

    Raises:
        ConfigurationError: it is to be brought by another package, and none does; lists those there are.
    """
    # Imported here and only the one that is needed: whoever imports the package should not wait for all of them.
    if endpoint.provider == "openai":
        from .providers.openai_chat import OpenAIChat

        return OpenAIChat(settings, api_key=endpoint.api_key, base_url=endpoint.base_url)
    if endpoint.provider == "anthropic":
        from .providers.anthropic_chat import AnthropicChat

        return AnthropicChat(settings, api_key=endpoint.api_key, base_url=endpoint.base_url)
    if endpoint.brought:
        brought: ChatModel = registry.make(ProviderKind.CHAT_MODEL, endpoint.provider, settings)
        return brought
    from .providers.scripted_chat import ScriptedChat

    return ScriptedChat()


class ChatModels(PerLoop[tuple[Endpoint, ChatModel]]):
    """The chat model of some settings: one, and so one pool of connections, per event loop.

    ``get`` raises ``ConfigurationError`` where ``choose`` or ``open_model`` does.

    Args:
        settings: provider, address and bounds.
        environ: where keys and addresses are looked up that the settings do not give.
    """

    __slots__ = ()

    def __init__(self, settings: AIConfig, environ: Mapping[str, str]) -> None:
        def make() -> tuple[Endpoint, ChatModel]:
            endpoint = choose(settings, environ)
            return endpoint, open_model(endpoint, settings)

        super().__init__(make, lambda opened: opened[1].aclose())


def _provider(settings: AIConfig, environ: Mapping[str, str]) -> str:
    if settings.provider != "auto":
        return settings.provider
    if settings.base_url or environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL"):
        return "openai"
    if environ.get("ANTHROPIC_API_KEY"):
        return "anthropic"
    if settings.api_key:
        raise ConfigurationError(
            "AIConfig.api_key is set, but not whose key it is: set AIConfig.provider to 'openai' or 'anthropic'"
        )
    return "scripted"


def _key_missing(provider: str, variable: str) -> ConfigurationError:
    return ConfigurationError(
        f"provider {provider!r} needs a key: set {variable} or AIConfig.api_key; "
        "AI_RESPONSE can also do without a model, with AIConfig.provider set to 'scripted'"
    )
