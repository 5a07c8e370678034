"""Who does EMOTION_ANALYSIS, and what is said about whether they could."""

from __future__ import annotations

import functools
import sys

import pytest
from tests.processors.ai import server as act

from async_processor import AdvancedAsyncProcessor, TaskStatus
from async_processor.config import AIConfig, EmotionConfig, ProcessorConfig
from async_processor.errors import ConfigurationError
from async_processor.model import LaneName, ProcessingType, create_task
from async_processor.processors import emotion_analysis, emotion_hume
from async_processor.processors.builtin import builtin_registry
from async_processor.processors.emotion_chat import ChatAnalyser
from async_processor.processors.emotion_providers import emotion_readiness, processor_spec

KEY = "sk-Canary0123456789abcdef"
# Whatever lies in the environment for other purposes.
EVERY_KEY = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HUME_API_KEY", "OPENAI_BASE_URL"), KEY)


def emotion(provider: str, **given) -> ProcessorConfig:
    return ProcessorConfig(emotion=EmotionConfig(provider=provider, **given))


@pytest.mark.parametrize("config", [ProcessorConfig(), ProcessorConfig(ai=AIConfig(provider="openai", api_key=KEY))])
def test_no_key_alone_sends_voice_or_words_anywhere(config):
    chosen = processor_spec(config, EVERY_KEY)

    assert isinstance(chosen.func, functools.partial)
    assert chosen.func.func is emotion_analysis.analyse


def test_the_operator_chooses_by_a_setting_or_a_variable():
    for provider, function in (("offline", emotion_analysis.analyse), ("hume", emotion_hume.analyse)):
        config = ProcessorConfig.from_env({"ASYNC_PROCESSOR_EMOTION_PROVIDER": provider})
        assert processor_spec(config, {}).func.func is function
    assert isinstance(processor_spec(emotion("chat"), {}).func, ChatAnalyser)


async def test_a_provider_that_nobody_brings_is_told_with_those_there_are():
    found = await emotion_readiness(emotion("mind_reading"), EVERY_KEY)

    assert found.problem == "there is no emotion_analyzer 'mind_reading'; there are: chat, hume, offline"


def test_the_offline_spec_is_the_one_there_was_but_for_readiness_and_example():
    config = ProcessorConfig()

    spec, before = processor_spec(config), emotion_analysis.processor_spec(config)

    assert (spec.func.func, spec.func.keywords) == (before.func.func, before.func.keywords)
    assert (spec.lane, spec.is_async, spec.wants_context) == (LaneName.PROCESS, False, True)


async def test_a_chat_model_is_asked_on_the_event_loop_and_closed_with_the_processor():
    spec = processor_spec(emotion("chat"), {})

    assert (spec.lane, spec.is_async, spec.wants_context) == (LaneName.ASYNC, True, True)
    await spec.aclose()


def test_no_key_is_shown_by_a_spec():
    for provider in ("offline", "chat", "hume"):
        spec = processor_spec(emotion(provider, api_key=KEY, base_url="http://127.0.0.1:1"), EVERY_KEY)
        assert KEY not in repr(spec)


@pytest.mark.parametrize("provider", ["chat", "hume"])
@pytest.mark.parametrize("name", ["request_timeout_s", "max_tokens", "max_response_bytes"])
def test_a_bound_of_zero_is_refused_at_once(provider, name):
    with pytest.raises(ConfigurationError, match=rf"EmotionConfig\.{name}"):
        builtin_registry(emotion(provider, **{name: 0}))


# Whether it could be done


async def test_offline_it_is_ready_and_says_in_which_language():
    spec = processor_spec(ProcessorConfig(), EVERY_KEY)

    found = await spec.readiness()

    assert (found.provider, found.offline, found.problem) == ("swift-f0+vader", True, None)
    assert "English" in found.remarks[0]


async def test_the_example_needs_no_key_and_no_network():
    spec = processor_spec(ProcessorConfig(), {})
    async with AdvancedAsyncProcessor(1, 1, 1, config=ProcessorConfig()) as processor:
        task = create_task(ProcessingType.EMOTION_ANALYSIS, spec.example())
        await processor.submit_task(task)
        result = await processor.wait_for_task(task.id, timeout=50)

    assert result.status is TaskStatus.COMPLETED
    assert result.result["primary_emotion"] == "happy"


def test_a_hosted_provider_has_no_example():
    assert [processor_spec(emotion(name), {}).example for name in ("chat", "hume")] == [None, None]


@pytest.mark.parametrize(("provider", "library"), [("offline", "vaderSentiment"), ("hume", "soundfile")])
async def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch, provider, library):
    monkeypatch.setitem(sys.modules, library, None)

    found = await emotion_readiness(emotion(provider, api_key=KEY), {})

    assert "pip install 'advanced-async-processor[voice]'" in found.problem


def hosted(provider: str, url: str, **given) -> ProcessorConfig:
    base_url = f"{url}/v1" if provider == "chat" else url
    return emotion(provider, **{"base_url": base_url, "api_key": KEY, "model": "m", **given})


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("provider", ["chat", "hume"])
async def test_a_hosted_provider_is_asked_one_question_that_holds_nothing(server, provider):
    found = await emotion_readiness(hosted(provider, server.base_url), {})

    assert (found.provider, found.offline, found.problem) == (provider, False, None)
    assert "only, and sends them away" in found.remarks[0]
    (sent,) = server.received
    assert (sent.method, sent.body) == ("GET", b"")


@pytest.mark.parametrize("provider", ["chat", "hume"])
@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (act.refuses(401, "invalid_api_key"), "check the key"),
        (act.refuses(503, "busy"), "503"),
        (act.resets, "gave no"),
    ],
)
async def test_what_a_task_would_meet_is_told_without_the_key(server, provider, behaviour, says):
    server.behaviour = behaviour

    found = await emotion_readiness(hosted(provider, server.base_url), {})

    assert says in found.problem
    assert "None" not in found.problem
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (emotion("hume"), "HUME_API_KEY"),
        (emotion("hume", api_key="k", request_timeout_s=0), "request_timeout_s"),
        (emotion("chat"), "EmotionConfig.protocol"),
        (emotion("chat", protocol="openai"), "OPENAI_API_KEY"),
        (emotion("chat", api_key=KEY), "EmotionConfig.protocol"),
        (emotion("chat", base_url="http://127.0.0.1:1"), "EmotionConfig.model"),
        (emotion("chat", base_url="ftp://x", model="m"), "base_url"),
    ],
)
async def test_a_setting_that_is_missing_is_named(config, says):
    found = await emotion_readiness(config, {})

    assert says in found.problem


async def test_the_keys_of_the_environment_serve_the_provider_that_was_chosen(server):
    await emotion_readiness(emotion("hume", base_url=server.base_url), {"HUME_API_KEY": KEY})
    address = f"{server.base_url}/v1"
    await emotion_readiness(emotion("chat", model="m"), {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": address})

    assert [KEY in f"{item.headers}" for item in server.received] == [True, True]
