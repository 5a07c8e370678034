"""Pictures from a server with the API of Stable Diffusion web UI (AUTOMATIC1111, Forge and others)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...config import ImageConfig, ImageGenerationConfig
from ..extras import needs_extra
from ..picture_request import MAX_SEED, SETTINGS, WHERE_TO_NAME, GeneratedPicture, PictureRequest, PictureSource
from . import answers
from .bounded_http import OpenedLater, bounded_client, request
from .failures import Call
from .picture_answers import only_an_address, picture

if TYPE_CHECKING:
    import httpx2

_GENERATE, _MODELS = "/sdapi/v1/txt2img", "/sdapi/v1/sd-models"


class A1111Images:
    """An ``ImageGenerator`` over ``/sdapi/v1/txt2img``.

    A request that is cancelled closes its connection; the server may finish the picture all the same, for its
    interruption would stop whatever it is at, another's picture too.

    Args:
        source: address, and user and password as the key if the server wants them.
        settings: bounds of the request.
        images: bounds of the picture that comes back.
    """

    provider = "a1111"
    takes = frozenset({"negative_prompt", "seed", "steps", "guidance_scale"})

    def __init__(self, source: PictureSource, settings: ImageGenerationConfig, images: ImageConfig) -> None:
        self._source = source
        self._settings = settings
        self._images = images
        self._opened: OpenedLater[httpx2.AsyncClient] = OpenedLater(self._make, lambda client: client.aclose())

    async def generate(self, wanted: PictureRequest) -> GeneratedPicture:
        content = await self._request("POST", _GENERATE, wanted.model, _body(wanted))
        answer = answers.json_object(content, self.provider)
        images = answer.get("images")
        first = images[0] if isinstance(images, list) and images else None
        if isinstance(first, str) and first.startswith(("http:", "https:")):
            raise only_an_address(self.provider)
        seed = _seed_used(answer.get("info"), wanted.seed)
        return picture(first, self.provider, self._images, model=wanted.model, seed=seed)

    async def check(self) -> None:
        await self._request("GET", _MODELS, None)

    async def aclose(self) -> None:
        await self._opened.aclose()

    async def _request(self, method: str, path: str, model: str | None, body: object = None) -> bytes:
        client = await self._opened.get()
        key = self._source.api_key
        call = Call(provider=self.provider, model=model, secret=key, where_to_name=WHERE_TO_NAME)
        url = (self._source.base_url or "").rstrip("/") + path
        return await request(client, method, url, call, self._settings.request_timeout_s, body)

    def _make(self) -> httpx2.AsyncClient:
        user, colon, password = self._source.api_key.partition(":")
        with needs_extra("ai", needed_for="IMAGE_GENERATION with provider 'a1111'"):
            return bounded_client(
                timeout_s=self._settings.request_timeout_s,
                max_bytes=self._settings.max_response_bytes,
                limit=f"{SETTINGS}.max_response_bytes",
                auth=(user, password) if colon else None,
            )


def _body(wanted: PictureRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt,
        "width": wanted.width,
        "height": wanted.height,
        "seed": wanted.seed,
        "steps": wanted.steps,
        "cfg_scale": wanted.guidance_scale,
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
    }
    if wanted.model is not None:
        body["override_settings"] = {"sd_model_checkpoint": wanted.model}
    return {name: value for name, value in body.items() if value is not None}


def _seed_used(info: object, wished: int | None) -> int | None:
    """The seed that the server says it took; it tells so in JSON within its JSON."""
    try:
        told = json.loads(info) if isinstance(info, str) else info
    except (ValueError, RecursionError):
        return wished
    seed = told.get("seed") if isinstance(told, Mapping) else None
    return seed if type(seed) is int and 0 <= seed <= MAX_SEED else wished
