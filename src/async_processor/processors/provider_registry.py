"""Providers that other code brings: registered with a decorator, or by an installed package. See docs/providers.md.

A provider is known by its kind and its name. What is registered is a factory: called with the settings of its kind, it
gives an object that keeps that kind's protocol. An installed package names its factories as entry points of the group
``async_processor.providers``, each called ``KIND.NAME``; so a name can be found, and listed, without importing the
package. Nothing is read or imported before a name is looked up that did not come with the library.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AsyncProcessorError, ConfigurationError, PermanentError
from .channels import known_schemes

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "async_processor.providers"

Factory = Callable[..., Any]
Made = TypeVar("Made", bound=Factory)
Result = TypeVar("Result")


class ProviderKind(enum.StrEnum):
    """What a provider does."""

    SPEECH_TO_TEXT = "speech_to_text"
    TEXT_TO_SPEECH = "text_to_speech"
    CHAT_MODEL = "chat_model"
    EMOTION_ANALYZER = "emotion_analyzer"
    IMAGE_GENERATOR = "image_generator"
    NOTIFIER = "notifier"
    MODERATOR = "moderator"


# Names that are the library's own, so that no package can put itself in the place of a vendor or a scheme.
BUILT_IN: Mapping[ProviderKind, tuple[str, ...]] = {
    ProviderKind.CHAT_MODEL: ("auto", "anthropic", "openai", "scripted"),
    ProviderKind.NOTIFIER: tuple(known_schemes()),
    ProviderKind.SPEECH_TO_TEXT: ("auto", "openai", "pocketsphinx", "whisper"),
    ProviderKind.TEXT_TO_SPEECH: ("auto", "espeak-ng", "flite", "openai"),
    ProviderKind.EMOTION_ANALYZER: ("chat", "hume", "offline"),
    ProviderKind.MODERATOR: ("offline", "openai", "off"),
    ProviderKind.IMAGE_GENERATOR: ("auto", "openai", "a1111", "diffusers", "procedural"),
}
# Coroutine functions that every provider has, and that those of a kind have besides.
_EVERY = ("check", "aclose")
_METHODS: Mapping[ProviderKind, tuple[str, ...]] = {
    ProviderKind.CHAT_MODEL: ("reply",),
    ProviderKind.NOTIFIER: ("send",),
    ProviderKind.SPEECH_TO_TEXT: ("recognise",),
    ProviderKind.TEXT_TO_SPEECH: ("speak",),
    ProviderKind.EMOTION_ANALYZER: ("analyse",),
    ProviderKind.MODERATOR: ("judge",),
    ProviderKind.IMAGE_GENERATOR: ("generate",),
}
# What those of a kind have to say of themselves besides their name.
_ATTRIBUTES: Mapping[ProviderKind, Mapping[str, type]] = {
    ProviderKind.MODERATOR: {"offline": bool},
    ProviderKind.IMAGE_GENERATOR: {"takes": Collection},
}
# Kinds whose results do not tell where they come from: their providers do, with ``offline`` and ``model``.
_LABELLED = (ProviderKind.SPEECH_TO_TEXT, ProviderKind.TEXT_TO_SPEECH, ProviderKind.EMOTION_ANALYZER)
_SHOWN_CHARS = 40
# What a scheme may be made of (RFC 3986), for the name of a notifier is one.
_NAME = re.compile(r"[a-z][a-z0-9+.-]{0,62}|[a-z][a-z0-9_]{0,62}")


class ProviderRegistry:
    """Factories by kind and name. Those of installed packages are looked up anew each time: at first use only."""

    def __init__(self) -> None:
        self._factories: dict[tuple[ProviderKind, str], Factory] = {}

    def provider(self, kind: ProviderKind | str, name: str) -> Callable[[Made], Made]:
        """Register what is decorated, a class or a function, as the factory of a provider.

        Raises:
            ConfigurationError: there is no such kind, the name cannot be one, is the library's own or is taken.
        """
        found = _kind(kind)
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"a provider's name begins with a letter and has small letters, digits and a few signs, not {name!r}"
            )
        if name in BUILT_IN.get(found, ()):
            raise ConfigurationError(f"{found.value} {name!r} comes with the library; give yours another name")

        def register(factory: Made) -> Made:
            earlier = self._factories.get((found, name))
            # A module that is imported again brings the same factory anew.
            if earlier is not None and _path(earlier) != _path(factory):
                raise ConfigurationError(
                    f"{found.value} {name!r} is taken by {_path(earlier)}; give yours another name"
                )
            self._factories[found, name] = factory
            return factory

        return register

    def find(self, kind: ProviderKind | str, name: str) -> Factory:
        """The factory of a provider that did not come with the library. Imports the package that brings it.

        Raises:
            ConfigurationError: nobody brings one of that name (the message lists those there are), two packages do, or
                the one that does cannot be imported.
        """
        found = _kind(kind)
        factory = self._factories.get((found, name))
        if factory is not None:
            return factory
        points = [point for point in _entry_points(found) if _own_name(point) == name]
        if not points:
            others = ", ".join(self.names(found)) or "none"
            raise ConfigurationError(f"there is no {found.value} {name[:_SHOWN_CHARS]!a}; there are: {others}")
        if len({point.value for point in points}) > 1:
            packages = ", ".join(sorted(_package(point) for point in points))
            raise ConfigurationError(
                f"several packages bring the {found.value} {name!r}: {packages}; uninstall all but one"
            )
        return _load(points[0])

    def names(self, kind: ProviderKind | str) -> list[str]:
        """All names of a kind, those that came with the library first."""
        found = _kind(kind)
        others = {name for registered, name in self._factories if registered is found}
        others |= {_own_name(point) for point in _entry_points(found)}
        return [*BUILT_IN.get(found, ()), *sorted(others - {*BUILT_IN.get(found, ())})]

    def make(self, kind: ProviderKind | str, name: str, *settings: Any) -> Any:
        """Find a factory, call it with the settings of its kind, and see that what it gives can be used.

        Raises:
            ConfigurationError: as ``find``; or the factory fails, or gives something without the kind's methods
                and attributes.
        """
        found = _kind(kind)
        factory = self.find(found, name)
        try:
            made = factory(*settings)
        except AsyncProcessorError:
            raise
        except Exception as error:  # foreign code: whatever it raises, there is no provider
            raise ConfigurationError(f"{found.value} {name!r} could not be made: {type(error).__name__}") from error
        methods = (*_METHODS.get(found, ()), *_EVERY)
        lacking = [f"{method}()" for method in methods if not callable(getattr(made, method, None))]
        attributes: dict[str, type] = {"provider": str, **_ATTRIBUTES.get(found, {})}
        lacking += [
            f"{attribute!r} ({wanted.__name__})"
            for attribute, wanted in attributes.items()
            if not isinstance(getattr(made, attribute, None), wanted)
        ]
        if lacking:
            raise ConfigurationError(
                f"{found.value} {name!r} lacks {', '.join(lacking)}; see docs/providers.md for what it must have"
            )
        if found in _LABELLED and not is_labelled(made):
            raise ConfigurationError(
                f"{found.value} {name!r} lacks 'offline' (a bool) or 'model' (a text or None); see docs/providers.md"
            )
        return made


def checked(result: object, wanted: type[Result], provider: str) -> Result:
    """What a provider gave back, if it is of the type that its kind gives.

    Raises:
        PermanentError: it is not.
    """
    if not isinstance(result, wanted):
        raise PermanentError(f"provider {provider!r} gave back {type(result).__name__} in place of {wanted.__name__}")
    return result


def is_labelled(made: object) -> bool:
    """Whether a provider says if it is offline, and which model it has, if any."""
    model = getattr(made, "model", "")
    return isinstance(getattr(made, "offline", None), bool) and (
        model is None or (isinstance(model, str) and model != "")
    )


registry = ProviderRegistry()
"""Of this process: what is installed, and what its code registers, is a fact of the process, not of one processor."""

provider = registry.provider


def _kind(kind: ProviderKind | str) -> ProviderKind:
    try:
        return ProviderKind(kind)
    except ValueError:
        raise ConfigurationError(f"a provider's kind is one of {', '.join(ProviderKind)}, not {kind!r}") from None


def _entry_points(kind: ProviderKind) -> list[EntryPoint]:
    # Costs more to import than all that this module does, and is needed only where a plug-in is named.
    from importlib.metadata import entry_points

    return [point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name.partition(".")[0] == kind.value]


def _own_name(point: EntryPoint) -> str:
    return point.name.partition(".")[2]


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


def _load(point: EntryPoint) -> Factory:
    try:
        factory = point.load()
    except AsyncProcessorError:
        raise
    except Exception as error:  # importing a package runs its code, which may raise anything
        raise ConfigurationError(
            f"provider {point.name!r} of package {_package(point)!r} cannot be imported: {type(error).__name__}"
        ) from error
    if not callable(factory):
        raise ConfigurationError(f"provider {point.name!r} of package {_package(point)!r} is not callable")
    found: Factory = factory
    return found


def _path(factory: Factory) -> str:
    return f"{getattr(factory, '__module__', '?')}.{getattr(factory, '__qualname__', repr(factory))}"
