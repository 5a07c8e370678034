"""Replies from OpenAI, or from any server that speaks its chat completions (Ollama, llama.cpp, vLLM)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...config import AIConfig
from ..chat import ChatReply, ChatRequest, FinishReason
from . import answers
from .bounded_http import OpenedLater, fetch, fetch_stream
from .event_stream import FirstToken
from .failures import Call
from .openai_client import openai_client

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
        if request.schema is not None:
            form = {"name": "answer", "strict": True, "schema": request.schema}
            limit["response_format"] = {"type": "json_schema", "json_schema": form}
        call = self._call(request.model)
        streamed = StreamedCompletion(call)
        content = await fetch_stream(
            lambda: client.chat.completions.with_streaming_response.create(
                model=request.model or "",
                messages=[
                    {"role": "system", "content": request.system},
                    {"role": "user", "content": request.message},
                ],
                stream=True,
                stream_options={"include_usage": True},
                **limit,
            ),
            streamed,
            call,
            self._settings.request_timeout_s,
        )
        body = streamed.completion() if content is None else answers.json_object(content, self.provider)
        return replace(read_reply(body, request.model), time_to_first_token_s=streamed.watch.first_s)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(client.models.with_raw_response.list, self._call(None), self._settings.request_timeout_s)

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self, model: str | None) -> Call:
        return Call(provider=self.provider, model=model, secret=self._key)

    def _make(self) -> AsyncOpenAI:
        settings = self._settings
        return openai_client(
            self._key,
            self._base_url,
            needed_for="a chat model of provider 'openai'",
            timeout_s=settings.request_timeout_s,
            max_bytes=settings.max_response_bytes,
        )


class StreamedCompletion:
    """A ``Collector`` of the chunks of a chat completion."""

    def __init__(self, call: Call) -> None:
        self.watch = FirstToken()
        self._call = call
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._finish: object = None
        self._model: object = None
        self._usage: object = None

    def add(self, data: bytes) -> bool:
        if data.strip() == b"[DONE]":
            return True
        chunk = answers.json_object(data, OpenAIChat.provider)
        if chunk.get("error"):
            raise self._call.streamed_failure(chunk)
        self._model = chunk.get("model") or self._model
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(first, Mapping):
            self._finish = first.get("finish_reason") or self._finish
            self._take(first.get("delta"))
        return False

    def _take(self, delta: object) -> None:
        for name, kept in (("content", self._texts), ("refusal", self._refusals)):
            text = delta.get(name) if isinstance(delta, Mapping) else None
            if isinstance(text, str) and text:
                self.watch.seen()
                kept.append(text)

    def completion(self) -> Mapping[str, Any]:
        """The same reply, as a server sends it that does not stream."""
        message = {"content": "".join(self._texts), "refusal": "".join(self._refusals)}
        choice = {"message": message, "finish_reason": self._finish}
        return {"choices": [choice], "model": self._model, "usage": self._usage}


def read_reply(body: Mapping[str, Any], asked: str | None) -> ChatReply:
    """The reply in a chat completion. Calls of tools are not looked at: none was offered."""
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
