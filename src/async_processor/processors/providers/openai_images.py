"""Pictures from OpenAI, or from any server that speaks its image generations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...config import ImageConfig, ImageGenerationConfig
from ..picture_request import SETTINGS, WHERE_TO_NAME, GeneratedPicture, PictureRequest, PictureSource
from . import answers
from .bounded_http import OpenedLater, fetch
from .failures import Call
from .openai_client import openai_client
from .picture_answers import only_an_address, picture

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAIImages:
    """An ``ImageGenerator`` over the image generations protocol.

    Args:
        source: address and key.
        settings: bounds of the request.
        images: bounds of the picture that comes back.
    """

    provider = "openai"
    takes = frozenset({"quality"})

    def __init__(self, source: PictureSource, settings: ImageGenerationConfig, images: ImageConfig) -> None:
        self._source = source
        self._settings = settings
        self._images = images
        self._opened: OpenedLater[AsyncOpenAI] = OpenedLater(self._make)

    async def generate(self, request: PictureRequest) -> GeneratedPicture:
        client = await self._opened.get()
        options: dict[str, Any] = {"model": request.model or "", "prompt": request.prompt, "n": 1}
        if request.width is not None:
            options["size"] = f"{request.width}x{request.height}"
        if request.quality is not None:
            options["quality"] = request.quality
        # No response_format: current models refuse it, and answer in base64 anyway.
        content = await fetch(
            lambda: client.images.with_raw_response.generate(**options),
            self._call(request.model),
            self._settings.request_timeout_s,
        )
        return self._read(content, request.model)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(client.models.with_raw_response.list, self._call(None), self._settings.request_timeout_s)

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self, model: str | None) -> Call:
        return Call(provider=self.provider, model=model, secret=self._source.api_key, where_to_name=WHERE_TO_NAME)

    def _make(self) -> AsyncOpenAI:
        return openai_client(
            self._source.api_key,
            self._source.base_url,
            needed_for="IMAGE_GENERATION with provider 'openai'",
            timeout_s=self._settings.request_timeout_s,
            max_bytes=self._settings.max_response_bytes,
            limit=f"{SETTINGS}.max_response_bytes",
        )

    def _read(self, content: bytes, model: str | None) -> GeneratedPicture:
        data = answers.json_object(content, self.provider).get("data")
        first = data[0] if isinstance(data, list) and data else None
        if not isinstance(first, Mapping):
            raise answers.unusable(self.provider)
        if first.get("b64_json") is None and first.get("url") is not None:
            raise only_an_address(self.provider)
        return picture(first.get("b64_json"), self.provider, self._images, model=model)
