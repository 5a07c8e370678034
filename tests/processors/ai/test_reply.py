"""AI_RESPONSE as a whole: a task in, a result out."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import random
from datetime import UTC, datetime

import pytest
from tests.processors.ai import server as act
from tests.processors.ai.test_prompting import after, felt, heard
from tests.results.kit import typed

from async_processor.config import AIConfig, ProcessorConfig
from async_processor.context import DependencyResults, TaskContext
from async_processor.errors import (
    AsyncProcessorError,
    AuthenticationError,
    ConfigurationError,
    InvalidPayloadError,
    PermanentError,
    ProviderError,
)
from async_processor.model import LaneName, ProcessingType, create_task
from async_processor.processors.ai_response import Responder, processor_spec
from async_processor.processors.registry import inspect_function

KEYS = [
    "response", "provider", "model", "tokens_used", "generated", "offline", "finish_reason", "time_to_first_token_s",
    "moderation", "warnings",
]  # fmt: skip
KEY = "sk-Canary0123456789abcdef"


class Noon:
    """A clock that stands at noon of one day."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> datetime:
        return datetime(2026, 11, 24, 12, tzinfo=UTC)


async def reply_to(payload, *results, responder=None, **settings):
    """The result of one task. Without settings and environment, the scripted companion answers."""
    responder = responder or Responder(AIConfig(**settings), environ={}, clock=Noon())
    task = create_task(ProcessingType.AI_RESPONSE, payload)
    dependencies = after(*results) if results else DependencyResults()
    context = TaskContext(task_id=task.id, task_type=task.task_type, dependencies=dependencies)
    return typed(task.task_type, await responder(task, context))


@pytest.fixture
async def hosted(server):
    """Ask through a provider at the local server."""
    responders = []

    async def ask(payload, *results, provider="openai", **settings):
        url = f"{server.base_url}/v1" if provider == "openai" else server.base_url
        config = {"provider": provider, "base_url": url, "api_key": KEY, "model": "configured", **settings}
        responders.append(Responder(AIConfig(**config), environ={}, clock=Noon()))
        return await reply_to(payload, *results, responder=responders[-1])

    yield ask
    for responder in responders:
        await responder.aclose()


# The guide's own tasks, without key or network

GUIDE = {
    "quick start": {"prompt": "Hello, how are you?", "model": "gpt-3.5-turbo"},
    "dependencies": {"prompt": "Generate response based on emotion"},
    "AI response": {
        "prompt": 'Child said: "I am happy today!"',
        "context": {"child_age": 5, "emotion": "happy", "session_id": "session_123"},
        "model": "gpt-3.5-turbo",
        "max_tokens": 150,
    },
    "integration test": {"prompt": "Generate response"},
    "teddy bear": {"child_id": "child-7", "prompt_template": "child_interaction"},
}


@pytest.mark.parametrize("name", GUIDE)
async def test_the_guides_own_tasks_are_answered_by_the_script_and_say_so(name):
    result = await reply_to(GUIDE[name], heard("I miss my mum"), felt(primary_emotion="sad", valence=-0.6, arousal=0.2))

    assert list(result) == KEYS
    assert result["response"]
    assert (result["provider"], result["model"], result["tokens_used"]) == ("scripted", None, None)
    assert (result["generated"], result["offline"], result["finish_reason"]) == (False, True, "stop")
    assert result["time_to_first_token_s"] is None
    named = "gpt-3.5-turbo" in GUIDE[name].values()
    assert any("gpt-3.5-turbo" in warning for warning in result["warnings"]) is named


def lines_of_the_package(caplog):
    """All but asyncio's own, which complains of a machine that stalls."""
    return [record for record in caplog.records if record.name.startswith("async_processor")]


async def test_a_model_asked_for_in_vain_is_logged_without_a_word_of_the_payload(caplog):
    caplog.set_level(logging.INFO)

    payload = {"prompt": "CANARY words", "model": "CANARY-model", "context": {"emotion": "CANARY"}}
    await reply_to(payload, provider="scripted")

    (line,) = lines_of_the_package(caplog)
    assert line.levelno == logging.WARNING
    assert "CANARY" not in caplog.text


async def test_a_model_that_nobody_here_has_is_not_replaced_by_the_script():
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        await reply_to({"prompt": "Hello", "model": "some-model"})


async def test_nothing_is_logged_where_there_is_nothing_to_warn_of(caplog):
    caplog.set_level(logging.INFO)

    await reply_to({"prompt": "CANARY words"})

    assert lines_of_the_package(caplog) == []


# Hosted


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_hosted_reply_has_the_same_keys(hosted, server, provider):
    result = await hosted(GUIDE["teddy bear"], heard("hello"), provider=provider)

    assert list(result) == KEYS
    assert 0 < result.pop("time_to_first_token_s") < 20
    assert result == {
        "response": act.REPLY,
        "provider": provider,
        "model": "test-model",
        "tokens_used": 17,
        "generated": True,
        "offline": False,
        "finish_reason": "stop",
        "moderation": {"provider": "words", "stage": None, "categories": [], "error": None},
        "warnings": [],
    }
    assert server.received[0].json["model"] == "configured"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_no_id_and_no_name_leaves_the_house(hosted, server, provider):
    private = {"child_id": "CANARY1", "session_id": "CANARY2", "child_name": "CANARY3", "school": "CANARY4"}
    payload = {"prompt": "Hi", "context": {"child_age": 5, **private}, **private}

    await hosted(payload, heard("hello"), felt(primary_emotion="happy", child_id="CANARY5"), provider=provider)

    (sent,) = server.received
    assert "CANARY" not in str(sent)
    assert "child_age" in sent.body.decode()


async def test_a_retired_model_gives_way_to_the_configured_one_and_the_result_says_so(hosted, server):
    result = await hosted(GUIDE["quick start"])

    assert server.received[0].json["model"] == "configured"
    assert "gpt-3.5-turbo" in result["warnings"][0]


@pytest.mark.parametrize(("finish", "says"), [("length", "max_tokens"), ("content_filter", "withheld"), ("stop", None)])
async def test_how_a_reply_ended_is_told_in_a_warning(hosted, server, finish, says):
    server.behaviour = act.says("Once", finish=finish)

    result = await hosted({"prompt": "Hi"})

    assert [says in warning for warning in result["warnings"]] == ([True] if says else [])


@pytest.mark.parametrize(
    "payload",
    [
        {"prompt": "x" * 20_001},
        {"prompt": "x", "max_tokens": 10**9},
        {"prompt": "x", "context": {"a": "y" * 20_001}},
        {"prompt": "x", "model": "two\nlines"},
        {"prompt_template": "child_interaction"},
        {},
    ],
)
async def test_a_payload_that_cannot_be_answered_is_refused_before_any_connection(hosted, server, payload):  # B10
    with pytest.raises(InvalidPayloadError):
        await hosted(payload)

    assert server.connections == 0


async def test_after_each_failure_the_next_good_task_is_answered(server):
    responder = Responder(
        AIConfig(base_url=f"{server.base_url}/v1", api_key=KEY, model="m", max_response_bytes=100_000),
        environ={},
        clock=Noon(),
    )
    for behaviour, error in [
        (act.refuses(401, "invalid_api_key"), AuthenticationError),
        (act.refuses(500, "x"), ProviderError),
        (act.endless, ProviderError),
        (act.resets, ProviderError),
        (act.refuses(404, "model_not_found"), PermanentError),
    ]:
        server.behaviour = behaviour
        with pytest.raises(error):
            await reply_to({"prompt": "Hi"}, responder=responder)
        server.behaviour = act.says()
        assert (await reply_to({"prompt": "Hi"}, responder=responder))["response"] == act.REPLY

    await responder.aclose()


async def test_tasks_share_one_client_and_its_connections(server):
    responder = Responder(AIConfig(base_url=f"{server.base_url}/v1", model="m"), environ={}, clock=Noon())

    for _ in range(5):
        await reply_to({"prompt": "Hi"}, responder=responder)
    await responder.aclose()

    assert (len(server.received), server.connections) == (5, 1)


def test_each_event_loop_has_its_own_client():
    ports = []

    async def once(responder=None):
        server = act.LoopbackServer(act.says())
        await server.start()
        url = f"{server.base_url}/v1"
        responder = responder or Responder(AIConfig(model="m"), environ={"OPENAI_BASE_URL": url}, clock=Noon())
        responder._environ = {"OPENAI_BASE_URL": url}
        result = await reply_to({"prompt": "Hi"}, responder=responder)
        await responder.aclose()
        ports.append(server.port)
        assert len(server.received) == 1
        await server.aclose()
        assert result["response"] == act.REPLY
        return responder

    responder = asyncio.run(once())
    asyncio.run(once(responder))

    assert len(set(ports)) == 2


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("provider", ["scripted", "openai", "anthropic"])
async def test_tasks_cancelled_at_any_moment_leave_nothing_behind(server, provider):  # B22
    responder = Responder(
        AIConfig(provider=provider, base_url=f"{server.base_url}/v1", api_key=KEY, model="m"),
        environ={},
        clock=Noon(),
    )
    await reply_to({"prompt": "Hi"}, responder=responder)
    dice = random.Random(7)
    for _ in range(50):
        task = asyncio.ensure_future(reply_to({"prompt": "Hi"}, responder=responder))
        for _ in range(dice.randrange(30)):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert (await reply_to({"prompt": "Hi"}, responder=responder))["response"]
    await responder.aclose()


# Settings


async def test_no_model_is_made_up_for_a_hosted_provider(hosted, server):
    with pytest.raises(ConfigurationError, match="ASYNC_PROCESSOR_AI_MODEL"):
        await hosted({"prompt": "Hi"}, model=None)

    assert server.connections == 0


@pytest.mark.parametrize(
    "name", ["max_tokens", "max_tokens_limit", "request_timeout_s", "max_prompt_chars", "max_response_bytes"]
)
def test_a_bound_of_zero_is_refused_at_once(name):
    with pytest.raises(ConfigurationError, match=f"AIConfig.{name}"):
        processor_spec(ProcessorConfig(ai=AIConfig(**{name: 0})))


async def test_the_spec_says_how_the_function_is_called_and_closed():
    spec = processor_spec(ProcessorConfig())

    found = inspect_function(spec.func)
    assert (spec.is_async, spec.wants_context) == (found.is_async, found.wants_context) == (True, True)
    assert spec.lane is LaneName.ASYNC
    assert inspect.iscoroutinefunction(spec.aclose)
    await spec.aclose()


async def test_check_tells_what_a_task_would_meet(server):
    await Responder(AIConfig(), environ={}).check()

    server.behaviour = act.refuses(401, "invalid_api_key")
    refused = Responder(AIConfig(base_url=f"{server.base_url}/v1"), environ={})
    with pytest.raises(AuthenticationError):
        await refused.check()
    await refused.aclose()

    with pytest.raises(ConfigurationError):
        await Responder(AIConfig(provider="openai"), environ={}).check()


async def test_readiness_tells_who_would_answer_and_what_is_missing(server):
    scripted = await Responder(AIConfig(), environ={}, clock=Noon()).readiness()
    assert (scripted.provider, scripted.offline, scripted.problem) == ("scripted", True, None)
    assert "OPENAI_API_KEY" in scripted.remarks[0]
    assert (await Responder(AIConfig(provider="scripted"), environ={}).readiness()).remarks == ()

    keyless = await Responder(AIConfig(provider="openai"), environ={}).readiness()
    assert (keyless.provider, keyless.offline) == ("openai", False)
    assert "OPENAI_API_KEY" in (keyless.problem or "")

    nobody = await Responder(AIConfig(model="some-model"), environ={}, clock=Noon()).readiness()
    assert "no provider is configured" in (nobody.problem or "")

    nameless = await Responder(AIConfig(base_url=f"{server.base_url}/v1"), environ={}, clock=Noon()).readiness()
    assert "needs the name of a model" in (nameless.problem or "")
    assert server.received == [], "nobody is asked without need"


async def test_readiness_asks_the_provider(server):
    responder = Responder(AIConfig(base_url=f"{server.base_url}/v1", api_key=KEY, model="m"), environ={}, clock=Noon())
    server.behaviour = act.refuses(401, "invalid_api_key")
    refused = await responder.readiness()
    server.behaviour = act.answers(200, b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')
    taken = await responder.readiness()
    await responder.aclose()

    assert "refused" in (refused.problem or "")
    assert KEY not in (refused.problem or "")
    assert (taken.provider, taken.offline, taken.problem) == ("openai", False, None)
    assert len(server.received) == 2


async def test_readiness_says_when_nothing_judges_the_replies(server):
    responder = Responder(
        AIConfig(base_url=f"{server.base_url}/v1", model="m", moderation="off"), environ={}, clock=Noon()
    )

    (remark,) = (await responder.readiness()).remarks
    await responder.aclose()

    assert "'off'" in remark


async def test_the_example_needs_no_key():
    example = processor_spec(ProcessorConfig()).example()

    assert (await reply_to(example))["finish_reason"] == "stop"


async def test_keys_come_from_the_environment_of_the_process_unless_told_otherwise():
    assert Responder(AIConfig())._environ is os.environ


async def test_no_error_of_a_task_holds_key_or_words(hosted, server):  # H8
    for behaviour in (act.refuses(400, "x", message=f"{KEY} CANARY words"), act.answers(200, f"{KEY}CANARY".encode())):
        server.behaviour = behaviour
        with pytest.raises(AsyncProcessorError) as caught:
            await hosted({"prompt": "CANARY words"})

        assert KEY not in str(caught.value)
        assert "CANARY words" not in str(caught.value)
        assert caught.value.__context__ is None
