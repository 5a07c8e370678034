"""Who makes pictures: from the settings and the environment to a generator.

1. ``ImageGenerationConfig.provider``, where it is not "auto"; one that another package brings can be named here only.
2. A local model (``model_directory``).
3. A server that the settings name (``base_url``): OpenAI's protocol.
4. ``OPENAI_API_KEY``.
5. Nobody: a drawing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from ..config import ImageConfig, ImageGenerationConfig
from ..errors import ConfigurationError
from .addresses import NO_KEY, checked_key, checked_url, is_at_vendor
from .model_names import ending_model, first_current, hosted_model
from .picture_request import SETTINGS, VARIABLES, ImageGenerator, PictureSource
from .provider_registry import BUILT_IN, ProviderKind, registry

_NAME_ONE = f"name one in payload['model'], {SETTINGS}.model or {VARIABLES}MODEL"
_CONFIGURE = f"set OPENAI_API_KEY, {SETTINGS}.model_directory or {SETTINGS}.base_url"


def choose(settings: ImageGenerationConfig, environ: Mapping[str, str]) -> PictureSource:
    """Who makes pictures under these settings in this environment.

    Raises:
        ConfigurationError: a key, an address or a directory is missing or cannot be used; says what to set.
    """
    provider = _provider(settings, environ)
    if provider == "procedural":
        return PictureSource(provider=provider, for_want_of_another=settings.provider == "auto")
    if provider == "diffusers":
        if not settings.model_directory:
            raise ConfigurationError(f"provider 'diffusers' needs a model: set {SETTINGS}.model_directory")
        return PictureSource(provider=provider, directory=settings.model_directory)
    if provider not in BUILT_IN[ProviderKind.IMAGE_GENERATOR]:
        return PictureSource(provider=provider)
    key, base_url = settings.api_key, settings.base_url
    if provider == "openai":
        key, base_url = key or environ.get("OPENAI_API_KEY"), base_url or environ.get("OPENAI_BASE_URL") or None
        if not key and base_url is None:
            raise ConfigurationError(
                f"provider 'openai' needs a key: set OPENAI_API_KEY or {SETTINGS}.api_key; "
                f"or set {SETTINGS}.provider to 'procedural' to do without a model"
            )
        key = key or NO_KEY
    elif base_url is None:
        raise ConfigurationError(f"provider 'a1111' needs a server: set {SETTINGS}.base_url")
    elif key and ":" not in key:
        raise ConfigurationError(
            f"provider 'a1111' takes a user and a password: set {SETTINGS}.api_key to user:password"
        )
    return PictureSource(
        provider=provider, base_url=checked_url(base_url, SETTINGS), api_key=checked_key(key) if key else ""
    )


def _provider(settings: ImageGenerationConfig, environ: Mapping[str, str]) -> str:
    if settings.provider != "auto":
        return settings.provider
    if settings.model_directory:
        return "diffusers"
    # An address alone in the environment is often that of a server that only chats.
    if settings.base_url or settings.api_key or environ.get("OPENAI_API_KEY"):
        return "openai"
    return "procedural"


def open_generator(source: PictureSource, settings: ImageGenerationConfig, images: ImageConfig) -> ImageGenerator:
    """A server's generator, or a brought one. Opens no connection and loads no library before its first request.

    Raises:
        ConfigurationError: it is to be brought by another package, and none does; lists those there are.
    """
    if source.brought:
        brought: ImageGenerator = registry.make(ProviderKind.IMAGE_GENERATOR, source.provider, settings, images)
        return brought
    # Imported here and only the one that is needed, as for replies.
    if source.provider == "a1111":
        from .providers.a1111_images import A1111Images

        return A1111Images(source, settings, images)
    from .providers.openai_images import OpenAIImages

    return OpenAIImages(source, settings, images)


def choose_model(
    wished: str | None, settings: ImageGenerationConfig, source: PictureSource, today: date
) -> tuple[str | None, tuple[str, ...]]:
    """Which model to ask, and what to warn of; the rules are those of replies.

    A drawing takes the place of a named model only where it was chosen, or where nobody has that model any more.
    A provider that another package brings knows its own models.

    Raises:
        ConfigurationError: a model is asked for, and there is nobody who might have it; or none is named.
        PermanentError: the one that is named was switched off.
    """
    if source.provider == "procedural":
        return None, _drawn(wished, settings.model, source, today)
    if source.provider == "diffusers":
        return _local_model(wished, settings, source, today)
    if source.brought:
        return wished or settings.model, ()
    model, warnings = hosted_model(
        wished, settings.model, today, at_vendor=is_at_vendor(source.base_url), remedy=_NAME_ONE
    )
    if model is None and source.provider == "openai":
        raise ConfigurationError(f"provider 'openai' needs the name of a model: {_NAME_ONE}")
    return model, warnings


def _drawn(wished: str | None, configured: str | None, source: PictureSource, today: date) -> tuple[str, ...]:
    current = first_current((wished, configured), today)
    if current is not None and source.for_want_of_another:
        raise ConfigurationError(
            f"model {current!r} was asked for, but no provider is configured: {_CONFIGURE}; "
            f"or set {SETTINGS}.provider to 'procedural' to do without a model"
        )
    name = wished or configured
    if name is None:
        return ()
    drawn = f"model {name!r} was asked for, but no provider that has models: this is a drawing; {_CONFIGURE}"
    ending = ending_model(name)
    return (drawn,) if ending is None else (drawn, ending.notice(today))


def _local_model(
    wished: str | None, settings: ImageGenerationConfig, source: PictureSource, today: date
) -> tuple[str, tuple[str, ...]]:
    name = settings.model or Path(source.directory).name
    if wished is None or wished == name:
        return name, ()
    if first_current((wished,), today) is not None:
        raise ConfigurationError(
            f"model {wished!r} was asked for, but {SETTINGS}.model_directory holds {name!r}; leave payload['model'] out"
        )
    ending = ending_model(wished)
    notice = "" if ending is None else ending.notice(today)
    return name, (f"{notice}: used the local {name!r} instead",)
