"""The hosted moderator: OpenAI's moderation service, or a server that speaks its protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...config import AIConfig
from ...errors import ProviderError
from ..moderation import Stage, Verdict
from . import answers
from .bounded_http import OpenedLater, fetch
from .failures import Call
from .openai_client import openai_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

VENDOR_URL = "https://api.openai.com/v1"
_CATEGORY = re.compile(r"[a-z][a-z_/-]{0,39}")
_MAX_CATEGORIES = 30


class OpenAIModerator:
    """A ``Moderator`` over the moderations protocol. The vendor chooses the model: its service has one at a time.

    Args:
        settings: bounds.
        api_key: the key; any text for a server that wants none.
        base_url: address of the server, ending in ``/v1``.
    """

    provider = "openai"
    offline = False

    def __init__(self, settings: AIConfig, *, api_key: str, base_url: str) -> None:
        self._settings = settings
        self._key = api_key
        self._base_url = base_url
        self._opened: OpenedLater[AsyncOpenAI] = OpenedLater(self._make)

    async def judge(self, text: str, stage: Stage) -> Verdict:  # noqa: ARG002 - the service judges all texts alike
        client = await self._opened.get()
        content = await fetch(
            lambda: client.moderations.with_raw_response.create(input=text),
            Call(provider=self.provider, secret=self._key),
            self._settings.moderation_timeout_s,
        )
        return read_verdict(content)

    async def check(self) -> None:
        await self.judge("hello", "input")

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _make(self) -> AsyncOpenAI:
        settings = self._settings
        return openai_client(
            self._key,
            self._base_url,
            needed_for="moderation by OpenAI",
            timeout_s=settings.moderation_timeout_s,
            max_bytes=settings.max_response_bytes,
        )


def read_verdict(content: bytes) -> Verdict:
    """The verdict in an answer. Whatever is not plainly "nothing flagged" is no leave to pass.

    Raises:
        ProviderError: the answer holds no verdict.
    """
    results = answers.json_object(content, OpenAIModerator.provider).get("results")
    if not isinstance(results, list) or not results or not all(isinstance(item, Mapping) for item in results):
        raise ProviderError(f"{OpenAIModerator.provider} answered with JSON that holds no verdict")
    named: set[str] = set()
    for item in results:
        categories = item.get("categories")
        if isinstance(categories, Mapping):
            named.update(name for name, flagged in categories.items() if flagged is True and _CATEGORY.fullmatch(name))
    allowed = not named and all(item.get("flagged") is False for item in results)
    return Verdict(allowed=allowed, categories=tuple(sorted(named)[:_MAX_CATEGORIES]))
