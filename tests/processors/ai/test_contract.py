"""Every provider keeps the contract of a chat model."""

from __future__ import annotations

import pytest
from tests.processors.ai.contract import CONTRACT

from async_processor.config import AIConfig
from async_processor.processors.providers.anthropic_chat import AnthropicChat
from async_processor.processors.providers.openai_chat import OpenAIChat
from async_processor.processors.providers.scripted_chat import ScriptedChat

MAKERS = {
    "scripted": lambda _: ScriptedChat(),
    "openai": lambda url: OpenAIChat(AIConfig(), api_key="k-1", base_url=f"{url}/v1"),
    "anthropic": lambda url: AnthropicChat(AIConfig(), api_key="k-1", base_url=url),
}


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_a_provider_keeps_the_contract(server, provider, check):
    model = MAKERS[provider](server.base_url)
    try:
        await check(model)
    finally:
        await model.aclose()
