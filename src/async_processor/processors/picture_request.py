"""What a picture is asked for with and answered with, whoever makes it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..config import ImageGenerationConfig
from . import payload as read
from .payload import invalid
from .provider_registry import BUILT_IN, ProviderKind

# How errors name the settings.
SETTINGS = "ImageGenerationConfig"
VARIABLES = "ASYNC_PROCESSOR_IMAGE_GENERATION_"
WHERE_TO_NAME = f"payload['model'] or {SETTINGS}.model ({VARIABLES}MODEL)"

PROMPT, SIZE = "prompt", "size"
MIN_SIDE, MAX_SIDE = 16, 8_192
MAX_SEED = 2**32 - 1
QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max")
OPTIONAL = ("negative_prompt", "seed", "steps", "guidance_scale", "quality")
"""The wishes that not everybody takes."""
_SIZE_CHARS = 100
_SIZE = re.compile(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", re.ASCII)


@dataclass(slots=True, frozen=True, kw_only=True)
class PictureRequest:
    """One picture wanted. What is None is left to whoever makes it.

    Attributes:
        prompt: what is to be seen.
        negative_prompt: what is not.
        width, height: in pixels; both or neither.
        model: name of the model.
        seed: the same seed gives the same picture, where the provider keeps to it.
        steps: rounds of a diffusion model.
        guidance_scale: how closely such a model keeps to the prompt.
        quality: one of ``QUALITIES``, at OpenAI.
    """

    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    quality: str | None = None

    def unused(self, taken: Collection[str], provider: str) -> list[str]:
        """A sentence for each wish that the provider does not take."""
        return [
            f"provider {provider!r} takes no {name!r}: it was left out"
            for name in OPTIONAL
            if name not in taken and getattr(self, name) is not None
        ]


@dataclass(slots=True, frozen=True, kw_only=True)
class PictureSource:
    """Who makes pictures, and how to get there.

    Attributes:
        provider: "openai", "a1111", "diffusers", "procedural", or the name of one that another package brings.
        base_url: address of the server; None for the vendor's own.
        api_key: the key; "" where none is needed. Never shown.
        directory: of the local model.
        for_want_of_another: whether it was not chosen, but is what is left where nothing is configured.
    """

    provider: str
    base_url: str | None = None
    api_key: str = field(default="", repr=False)
    directory: str = ""
    for_want_of_another: bool = False

    @property
    def brought(self) -> bool:
        """Whether another package brings it: then it knows its own keys, addresses and models."""
        return self.provider not in BUILT_IN[ProviderKind.IMAGE_GENERATOR]


@dataclass(slots=True, frozen=True, kw_only=True)
class GeneratedPicture:
    """One picture.

    Attributes:
        data: the file; of a server's only the header was looked at.
        format, width, height: what that says.
        provider: who made it.
        offline: whether it was made on this machine, without any request.
        generated: whether an image model made it.
        model: the model that made it, as far as is known.
        seed: the seed it was made with, where there is one.
    """

    data: bytes
    format: str
    width: int
    height: int
    provider: str
    offline: bool
    generated: bool = True
    model: str | None = None
    seed: int | None = None


class ImageGenerator(Protocol):
    """A server, or what another package brings, that makes pictures. Used on one event loop only."""

    @property
    def provider(self) -> str:
        """The name that its pictures carry."""
        ...

    @property
    def takes(self) -> Collection[str]:
        """Which of ``OPTIONAL`` it heeds."""
        ...

    async def generate(self, request: PictureRequest) -> GeneratedPicture:
        """Make one picture. Several may be under way at once; cancelling one closes its connection at once.

        Raises:
            ProviderError: it did not answer, or not usefully; another attempt may help.
            PermanentError: no other attempt would help. ``AuthenticationError`` when it refused the key.
            MissingExtraError: its library is not installed.
        """
        ...

    async def check(self) -> None:
        """Find out whether it would take a request now, at the cost of at most one small request.

        Raises:
            AsyncProcessorError: as ``generate`` would.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...


def read_request(payload: Mapping[str, Any], settings: ImageGenerationConfig) -> PictureRequest:
    """A payload as a request.

    Raises:
        InvalidPayloadError: the payload cannot be used; ``field`` names the key.
    """
    prompt = read.text(payload, PROMPT, max_chars=settings.max_prompt_chars, wanted="what is to be seen, in words")
    if not prompt.strip():
        raise invalid(PROMPT, "is empty; send what is to be seen, in words")
    width, height = _size(payload, settings)
    return PictureRequest(
        prompt=prompt.strip(),
        negative_prompt=_optional_text(payload, "negative_prompt", settings.max_prompt_chars),
        width=width,
        height=height,
        model=_optional_text(payload, "model", 200),
        seed=_optional_whole(payload, "seed", 0, MAX_SEED),
        steps=_optional_whole(payload, "steps", 1, settings.max_steps),
        guidance_scale=_optional_number(payload, "guidance_scale", 0, 50),
        quality=None if payload.get("quality") is None else read.choice(payload, "quality", None, QUALITIES),
    )


def _size(payload: Mapping[str, Any], settings: ImageGenerationConfig) -> tuple[int | None, int | None]:
    wanted = "a size in pixels such as '512x512'"
    text = None if payload.get(SIZE) is None else read.text(payload, SIZE, max_chars=_SIZE_CHARS, wanted=wanted)
    width = _optional_whole(payload, "width", MIN_SIDE, MAX_SIDE)
    height = _optional_whole(payload, "height", MIN_SIDE, MAX_SIDE)
    if text is not None:
        if width is not None or height is not None:
            raise invalid(SIZE, "is given, and so is a width or height; send one of the two")
        found = _SIZE.fullmatch(text.strip())
        if found is None or not all(MIN_SIDE <= int(side) <= MAX_SIDE for side in found.groups()):
            raise invalid(SIZE, f"must be {wanted}, with {MIN_SIDE} to {MAX_SIDE} a side")
        width, height = int(found[1]), int(found[2])
    if (width is None) is not (height is None):
        missing = "width" if width is None else "height"
        raise invalid(missing, "is missing; send both width and height, or neither")
    if width is not None and height is not None and width * height > settings.max_pixels:
        raise invalid(
            SIZE if text is not None else "width",
            f"asks for {width} x {height} pixels; send at most {settings.max_pixels} pixels "
            "(ImageGenerationConfig.max_pixels)",
        )
    return width, height


def _optional_text(payload: Mapping[str, Any], key: str, max_chars: int) -> str | None:
    return read.text(payload, key, "", max_chars=max_chars).strip() or None


def _optional_whole(payload: Mapping[str, Any], key: str, minimum: int, maximum: int) -> int | None:
    return None if payload.get(key) is None else read.whole(payload, key, None, minimum, maximum)


def _optional_number(payload: Mapping[str, Any], key: str, minimum: float, maximum: float) -> float | None:
    return None if payload.get(key) is None else read.number(payload, key, None, minimum, maximum)
