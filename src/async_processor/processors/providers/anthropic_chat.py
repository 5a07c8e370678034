"""Replies from Anthropic's messages API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...config import AIConfig
from ..chat import ChatReply, ChatRequest, FinishReason
from ..extras import needs_extra
from . import answers
from .bounded_http import OpenedLater, bounded_client, fetch, fetch_stream
from .event_stream import FirstToken
from .failures import Call

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class AnthropicChat:
    """A ``ChatModel`` over the messages protocol.

    Args:
        settings: bounds.
        api_key: the key.
        base_url: address of the server; None for Anthropic's own.
    """

    provider = "anthropic"

    def __init__(self, settings: AIConfig, *, api_key: str, base_url: str | None) -> None:
        self._settings = settings
        self._key = api_key
        self._base_url = base_url
        self._opened: OpenedLater[AsyncAnthropic] = OpenedLater(self._make)

    async def reply(self, request: ChatRequest) -> ChatReply:
        client = await self._opened.get()
        form: dict[str, Any] = {}
        if request.schema is not None:
            form = {"output_config": {"format": {"type": "json_schema", "schema": request.schema}}}
        call = self._call(request.model)
        streamed = StreamedMessage(call)
        content = await fetch_stream(
            lambda: client.messages.with_streaming_response.create(
                model=request.model or "",
                system=request.system,
                messages=[{"role": "user", "content": request.message}],
                max_tokens=request.max_tokens,
                timeout=self._settings.request_timeout_s,
                stream=True,
                **form,
            ),
            streamed,
            call,
            self._settings.request_timeout_s,
        )
        body = streamed.message() if content is None else answers.json_object(content, self.provider)
        return replace(read_reply(body, request.model), time_to_first_token_s=streamed.watch.first_s)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(
            lambda: client.models.with_raw_response.list(limit=1), self._call(None), self._settings.request_timeout_s
        )

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self, model: str | None) -> Call:
        return Call(provider=self.provider, model=model, secret=self._key)

    def _make(self) -> AsyncAnthropic:
        with needs_extra("ai", needed_for="a chat model of provider 'anthropic'"):
            from anthropic import AsyncAnthropic
        settings = self._settings
        return AsyncAnthropic(
            api_key=self._key,
            base_url=self._base_url,
            timeout=settings.request_timeout_s,
            max_retries=0,  # the processor's own retries know the deadline, the jitter and the other tasks
            open_telemetry=False,  # a switch in the environment would put the child's words into traces
            http_client=bounded_client(timeout_s=settings.request_timeout_s, max_bytes=settings.max_response_bytes),
        )


class StreamedMessage:
    """A ``Collector`` of the events of a message."""

    def __init__(self, call: Call) -> None:
        self.watch = FirstToken()
        self._call = call
        self._texts: list[str] = []
        self._finish: object = None
        self._model: object = None
        self._usage: dict[str, object] = {}

    def add(self, data: bytes) -> bool:
        event = answers.json_object(data, AnthropicChat.provider)
        kind = event.get("type")
        if kind == "error":
            raise self._call.streamed_failure(event)
        message, delta = _mapping(event.get("message")), _mapping(event.get("delta"))
        if kind == "message_start":
            self._model = message.get("model")
            self._usage.update(_mapping(message.get("usage")))
        elif kind == "content_block_delta" and delta.get("type") == "text_delta":
            self._take(delta.get("text"))
        elif kind == "message_delta":
            self._finish = delta.get("stop_reason")
            self._usage.update(_mapping(event.get("usage")))
        return kind == "message_stop"

    def _take(self, text: object) -> None:
        if isinstance(text, str) and text:
            self.watch.seen()
            self._texts.append(text)

    def message(self) -> Mapping[str, Any]:
        """The same reply, as a server sends it that does not stream."""
        content = [{"type": "text", "text": "".join(self._texts)}]
        return {"content": content, "stop_reason": self._finish, "model": self._model, "usage": self._usage}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_reply(body: Mapping[str, Any], asked: str | None) -> ChatReply:
    """The reply in a message. Blocks that are not text are not looked at: no tool was offered."""
    blocks = body.get("content")
    if not isinstance(blocks, list):
        raise answers.unusable(AnthropicChat.provider)
    texts = [block.get("text") for block in blocks if isinstance(block, Mapping) and block.get("type") == "text"]
    return answers.reply(
        provider=AnthropicChat.provider,
        text="".join(text for text in texts if isinstance(text, str)),
        finish_reason=answers.finish(body.get("stop_reason"), _FINISH),
        asked=asked,
        model=body.get("model"),
        tokens=answers.token_count(body.get("usage"), "input_tokens", "output_tokens"),
    )
