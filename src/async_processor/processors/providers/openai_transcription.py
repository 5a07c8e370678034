"""Transcriptions from OpenAI, or from any server that speaks its ``/v1/audio/transcriptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...config import SpeechConfig
from ..recognition import HostedText
from . import answers
from .bounded_http import OpenedLater, fetch
from .failures import Call
from .openai_client import openai_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NAME = "openai"
_MAX_LANGUAGE_CHARS = 35


class OpenAITranscription:
    """A ``HostedRecognizer``.

    Args:
        config: model and bounds.
        api_key: the key; any text for a server that wants none.
        base_url: address of the server, usually ending in ``/v1``; None for OpenAI's own.
    """

    provider = NAME
    offline = False

    def __init__(self, config: SpeechConfig, *, api_key: str, base_url: str | None) -> None:
        self._config = config
        self._key = api_key
        self._base_url = base_url
        self._opened: OpenedLater[AsyncOpenAI] = OpenedLater(self._make)

    @property
    def model(self) -> str | None:
        return self._config.model

    async def recognise(self, file_name: str, recording: bytes, language: str | None) -> HostedText:
        client = await self._opened.get()
        # Servers know languages, not regions.
        wish: dict[str, Any] = {} if language is None else {"language": language.partition("-")[0].lower()}
        content = await fetch(
            lambda: client.audio.transcriptions.with_raw_response.create(
                file=(file_name, recording),
                model=self._config.model or "",
                # The one format that every model and server has.
                response_format="json",
                **wish,
            ),
            self._call(),
            self._config.request_timeout_s,
        )
        return read_answer(content)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(client.models.with_raw_response.list, self._call(), self._config.request_timeout_s)

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self) -> Call:
        return Call(
            provider=self.provider,
            model=self.model,
            secret=self._key,
            where_to_name="SpeechConfig.model (ASYNC_PROCESSOR_SPEECH_MODEL)",
        )

    def _make(self) -> AsyncOpenAI:
        return openai_client(
            self._key,
            self._base_url,
            needed_for="AUDIO_TRANSCRIPTION with provider 'openai'",
            timeout_s=self._config.request_timeout_s,
            max_bytes=self._config.max_response_bytes,
            limit="SpeechConfig.max_response_bytes",
        )


def read_answer(content: bytes) -> HostedText:
    """The text in an answer, which may be empty."""
    body = answers.json_object(content, NAME)
    text, language = body.get("text"), body.get("language")
    if not isinstance(text, str):
        raise answers.unusable(NAME)
    told = isinstance(language, str) and 0 < len(language) <= _MAX_LANGUAGE_CHARS and language.isprintable()
    return HostedText(answers.clean(text), str(language) if told else None)
