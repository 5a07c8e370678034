"""Every provider keeps the contract of a chat model."""

from __future__ import annotations

import pytest

from async_processor.config import AIConfig
from async_processor.processors.providers.anthropic_chat import AnthropicChat
from async_processor.processors.providers.openai_chat import OpenAIChat
from async_processor.processors.providers.scripted_chat import ScriptedChat
from async_processor.testing.provider_contracts import chat_model_checks

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there
MAKERS = {
    "scripted": lambda _: ScriptedChat(),
    "openai": lambda url: OpenAIChat(AIConfig(), api_key="k-1", base_url=f"{url}/v1"),
    "anthropic": lambda url: AnthropicChat(AIConfig(), api_key="k-1", base_url=url),
}
NAMES = [check.name for check in chat_model_checks(ScriptedChat)]


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize("name", NAMES)
async def test_a_provider_keeps_the_contract(server, provider, name):
    make = MAKERS[provider]
    broken = None if provider == "scripted" else lambda: make(NOWHERE)
    checks = {check.name: check for check in chat_model_checks(lambda: make(server.base_url), broken=broken)}

    await checks[name]()
