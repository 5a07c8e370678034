"""What a server may answer, drawn at random: a reply comes out, or one of two errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from async_processor.errors import PermanentError, ProviderError
from async_processor.processors.providers import anthropic_chat, openai_chat
from async_processor.processors.providers.answers import json_object
from async_processor.processors.providers.failures import Call, retry_after_seconds

NOW = datetime(2026, 11, 24, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()) | st.just("Hi"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
USAGE = JSON | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("total_tokens", "prompt_tokens", "completion_tokens", "input_tokens"), JSON)
)
MESSAGE = JSON | st.fixed_dictionaries({}, optional={"content": JSON, "refusal": JSON, "tool_calls": JSON})
CHOICE = JSON | st.fixed_dictionaries({}, optional={"message": MESSAGE, "finish_reason": JSON | st.just("stop")})
BLOCK = JSON | st.fixed_dictionaries({"type": st.just("text") | JSON, "text": JSON})
BODY = JSON | st.fixed_dictionaries(
    {},
    optional={
        "model": JSON,
        "usage": USAGE,
        "choices": JSON | st.lists(CHOICE, max_size=2),
        "content": JSON | st.lists(BLOCK, max_size=2),
        "stop_reason": JSON | st.just("end_turn"),
    },
)
ERROR = JSON | st.fixed_dictionaries(
    {}, optional={name: JSON | st.just("model_not_found") for name in ("error", "code", "type", "message", "param")}
)


def check_reply(read_reply, content: bytes) -> None:
    try:
        reply = read_reply(json_object(content, "someone"), "asked")
    except (ProviderError, PermanentError):
        return

    assert reply.text or reply.finish_reason in ("content_filter", "refusal")
    assert f"{reply.text}{reply.model}".encode()
    assert reply.tokens_used is None or reply.tokens_used >= 0


@given(BODY)
@settings(max_examples=500)
def test_any_json_is_a_reply_or_a_provider_error(body):
    content = json.dumps(body).encode()

    check_reply(openai_chat.read_reply, content)
    check_reply(anthropic_chat.read_reply, content)


@given(st.binary())
def test_any_bytes_are_a_reply_or_a_provider_error(content):
    check_reply(openai_chat.read_reply, content)
    check_reply(anthropic_chat.read_reply, content)


@given(st.integers(300, 599), st.text(alphabet=st.characters()) | ERROR | ERROR.map(lambda inner: {"error": inner}))
def test_any_refusal_is_one_of_the_two_kinds(status, body):
    error = Call(provider="openai", model="m", secret="k").refusal(status, body, {})

    assert isinstance(error, PermanentError | ProviderError)
    assert str(error).isprintable()


def test_an_error_as_deep_as_the_parser_allows_is_one_of_the_two_kinds():
    body: object = "x"
    for _ in range(900):
        body = {"error": [body]}

    assert isinstance(Call(provider="openai").refusal(500, body, {}), ProviderError)


DATES = st.text(alphabet="MonTueJan 0123456789:,+-GMT", max_size=40)


@given(DATES | st.text() | st.floats().map(str) | st.integers().map(str))
def test_any_wait_is_a_number_of_seconds_or_unknown(value):
    wait = retry_after_seconds(value, NOW)

    assert wait is None or 0 <= wait <= 1e9
