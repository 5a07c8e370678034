"""Replies from OpenAI, or from any server that speaks its chat completions (Ollama, llama.cpp, vLLM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...config import AIConfig
from ..chat import ChatReply, ChatRequest, FinishReason
from . import answers
from .bounded_http import OpenedLater, fetch
from .failures import Call
from .openai_client import make_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FINISH: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


class OpenAIChat:
    """A ``ChatModel`` over the chat completions protocol.

    Args:
        settings: bounds and the name of the limit.
        api_key: the key; any text for a server that wants none.
        base_url: address of the server, usually ending in ``/v1``; None for OpenAI's own.
    """

    provider = "openai"

    def __init__(self, settings: AIConfig, *, api_key: str, base_url: str | None) -> None:
        self._settings = settings
        self._key = api_key
        self._base_url = base_url
        self._opened: OpenedLater[AsyncOpenAI] = OpenedLater(self._make)

    async def reply(self, request: ChatRequest) -> ChatReply:
        client = await self._opened.get()
        # Under one name only: a server that knows just one of them refuses the other.
        limit: dict[str, Any] = {self._settings.max_tokens_parameter: request.max_tokens}
        content = await fetch(
            lambda: client.chat.completions.with_raw_response.create(
                model=request.model or "",
                messages=[
                    {"role": "system", "content": request.system},
                    {"role": "user", "content": request.message},
                ],
                **limit,
            ),
            self._call(request.model),
            self._settings.request_timeout_s,
        )
        return read_reply(content, request.model)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(client.models.with_raw_response.list, self._call(None), self._settings.request_timeout_s)

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self, model: str | None) -> Call:
        return Call(provider=self.provider, model=model, secret=self._key)

    def _make(self) -> AsyncOpenAI:
        return make_client(
            api_key=self._key,
            base_url=self._base_url,
            timeout_s=self._settings.request_timeout_s,
            max_response_bytes=self._settings.max_response_bytes,
            needed_for="AI_RESPONSE with provider 'openai'",
        )


def read_reply(content: bytes, asked: str | None) -> ChatReply:
    """The reply in a chat completion. Calls of tools are not looked at: none was offered."""
    body = answers.json_object(content, OpenAIChat.provider)
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    if not isinstance(first, Mapping) or not isinstance(message, Mapping):
        raise answers.unusable(OpenAIChat.provider)
    reason = answers.finish(first.get("finish_reason"), _FINISH)
    text, refusal = message.get("content"), message.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        text, reason = refusal, "refusal"
    return answers.reply(
        provider=OpenAIChat.provider,
        text=text if isinstance(text, str) else "",
        finish_reason=reason,
        asked=asked,
        model=body.get("model"),
        tokens=_tokens(body.get("usage")),
    )


def _tokens(usage: object) -> int | None:
    total = answers.token_count(usage, "total_tokens")
    return total if total is not None else answers.token_count(usage, "prompt_tokens", "completion_tokens")
