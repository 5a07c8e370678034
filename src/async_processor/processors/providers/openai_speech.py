"""Speech from OpenAI, or from any server that speaks its ``/v1/audio/speech``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import SpeechConfig
from ...errors import ProviderError
from ..synthesis import Spoken
from ..wav_sound import WavError, read_wav
from .bounded_http import OpenedLater, fetch
from .failures import Call
from .openai_client import openai_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NAME = "openai"


class OpenAISpeech:
    """A ``SpeechSynthesizer`` over the speech protocol.

    Args:
        config: model, voice and bounds.
        api_key: the key.
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
        return self._config.synthesizer_model

    async def speak(self, text: str) -> Spoken | None:
        client = await self._opened.get()
        content = await fetch(
            lambda: client.audio.speech.with_raw_response.create(
                input=text,
                model=self._config.synthesizer_model or "",
                voice=self._config.synthesizer_voice or "",
                # The one format whose length and loudness can be told without a decoder.
                response_format="wav",
            ),
            self._call(),
            self._config.synthesizer_timeout_s,
        )
        return Spoken(wav=read_answer(content), voice=self._config.synthesizer_voice)

    async def check(self) -> None:
        client = await self._opened.get()
        await fetch(client.models.with_raw_response.list, self._call(), self._config.synthesizer_timeout_s)

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _call(self) -> Call:
        return Call(
            provider=self.provider,
            model=self.model,
            secret=self._key,
            where_to_name="SpeechConfig.synthesizer_model (ASYNC_PROCESSOR_SPEECH_SYNTHESIZER_MODEL)",
        )

    def _make(self) -> AsyncOpenAI:
        return openai_client(
            self._key,
            self._base_url,
            needed_for="speech with synthesizer 'openai'",
            timeout_s=self._config.synthesizer_timeout_s,
            max_bytes=self._config.max_speech_bytes,
            limit="SpeechConfig.max_speech_bytes",
        )


def read_answer(content: bytes) -> bytes:
    """The file in an answer; its header has the true sizes, which servers that stream do not know.

    Raises:
        ProviderError: it is none.
    """
    try:
        return read_wav(content).file()
    except WavError as error:
        problem = f"{NAME} answered with {error}"
    raise ProviderError(problem)
