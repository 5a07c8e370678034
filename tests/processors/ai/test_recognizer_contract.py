"""Our hosted recogniser keeps the contract of one."""

from __future__ import annotations

import pytest
from tests.processors.ai import server as act

from async_processor.config import SpeechConfig
from async_processor.processors.providers.openai_transcription import OpenAITranscription
from async_processor.testing.provider_contracts import recognizer_checks

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there


def make(url: str) -> OpenAITranscription:
    return OpenAITranscription(SpeechConfig(model="test-model"), api_key="k-1", base_url=f"{url}/v1")


@pytest.mark.parametrize("name", [check.name for check in recognizer_checks(lambda: make(NOWHERE))])
async def test_openai_s_transcription_keeps_the_contract(server: act.LoopbackServer, name: str):
    server.behaviour = act.answers(200, {"text": " Hello. ", "language": "english"})
    checks = recognizer_checks(lambda: make(server.base_url), broken=lambda: make(NOWHERE))

    await {check.name: check for check in checks}[name]()
