"""Replies that come piece by piece: put together as if they had come whole, and bounded like those."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processors.ai import server as act
from tests.processors.ai.test_hosted import KEY, PROVIDERS, chat_model, everything_told, failure

from async_processor.errors import AuthenticationError, PermanentError, ProviderError
from async_processor.processors.providers.event_stream import event_data
from async_processor.testing.provider_contracts import CHAT_REQUEST as REQUEST

pytestmark = pytest.mark.alone

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


@pytest.fixture(params=PROVIDERS)
async def provider(request):
    return request.param


@pytest.fixture
async def ask(provider, server):
    """Ask a provider one thing; the server's behaviour and the bounds may be given."""
    models = {}

    async def ask(behaviour, **settings):
        server.behaviour = behaviour
        key = tuple(settings.items())
        if key not in models:
            models[key] = chat_model(provider, server.base_url, **settings)
        return await models[key].reply(REQUEST)

    yield ask
    for model in models.values():
        await model.aclose()


# Events


def chunked(data: bytes, sizes: random.Random):
    async def chunks():
        start = 0
        while start < len(data):
            end = start + sizes.randint(1, 7)
            yield data[start:end]
            start = end

    return chunks()


async def data_of(stream: bytes, seed: int = 1) -> list[bytes]:
    return [data async for data in event_data(chunked(stream, random.Random(seed)))]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"event: x\r\nid: 7\r\ndata: one\r\n\r\n", [b"one"]),
        (b"data:one\n\n: comment\n\n\n\ndata: two", [b"two"]),
        (b"data: one\ndata: more\n\n", [b"one\nmore"]),
        (b"data: last\n", [b"last"]),
        (b"\n\nnothing: here\n\n", []),
        (b"", []),
    ],
)
async def test_the_data_of_events_is_read_however_it_is_cut(stream, data):
    for seed in range(20):
        found = await data_of(stream, seed)
        assert found == (data if b"data:one" not in stream else [b"one"])


async def test_a_line_in_a_million_pieces_takes_linear_time():
    async def seconds(pieces: int) -> float:
        async def chunks():
            yield b"data: "
            for _ in range(pieces):
                yield b"x"
            yield b"\n\n"

        started = time.process_time()
        assert [len(data) async for data in event_data(chunks())] == [pieces]
        return time.process_time() - started

    short = min([await seconds(100_000) for _ in range(3)])
    assert min([await seconds(400_000) for _ in range(3)]) / short < 8


@given(st.binary(max_size=200), st.integers())
def test_any_bytes_are_events_or_none(stream, seed):
    assert all(data in stream or b"\n" in data for data in asyncio.run(data_of(stream, seed)))


# Replies


async def test_a_streamed_reply_is_the_same_as_one_that_came_whole(ask):
    streamed = await ask(act.says("Once upon a time", model="served-model"))
    whole = await ask(act.says_at_once("Once upon a time", model="served-model"))

    assert (streamed.text, streamed.model, streamed.tokens_used, streamed.finish_reason) == (
        whole.text, whole.model, whole.tokens_used, whole.finish_reason,
    )  # fmt: skip
    assert whole.time_to_first_token_s is None


async def test_a_stream_is_asked_for_with_its_count_of_tokens(ask, provider, server):
    await ask(act.says())

    assert server.received[0].json["stream"] is True
    assert server.received[0].json.get("stream_options") == ({"include_usage": True} if provider == "openai" else None)


async def test_the_first_words_are_timed_and_not_the_last(ask, provider):
    """The server goes on only when the client has had time to see the first words; the rest takes as long again."""
    *first, last = act.streamed(PATHS[provider])

    async def slowly(exchange):
        await act.begin_stream(exchange)
        await act.send_piece(exchange, b"".join(act.event(data) for data in first))
        await asyncio.sleep(0.3)  # the time that is measured
        await act.send_piece(exchange, act.event(last))
        await act.send_piece(exchange, b"")

    await ask(act.says())  # opens the client
    started = time.perf_counter()
    reply = await ask(slowly)
    took = time.perf_counter() - started

    assert reply.text == act.REPLY
    assert 0 < reply.time_to_first_token_s < took - 0.25


async def test_thoughts_and_calls_of_tools_are_no_words_of_a_reply(ask, provider):
    extra = {
        "openai": {"choices": [{"delta": {"reasoning_content": "hm", "tool_calls": [{"function": {"name": "rm"}}]}}]},
        "anthropic": {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm", "text": 5}},
    }[provider]
    first, *others = act.streamed(PATHS[provider])

    assert (await ask(act.streams(first, extra, *others))).text == act.REPLY


async def test_a_refusal_in_pieces_is_a_refusal(server):
    deltas = [{"choices": [{"delta": {"refusal": piece}}]} for piece in ("I would ", "rather not.")]
    server.behaviour = act.streams(*deltas, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]")
    model = chat_model("openai", server.base_url)

    reply = await model.reply(REQUEST)
    await model.aclose()

    assert (reply.text, reply.finish_reason, reply.tokens_used) == ("I would rather not.", "refusal", None)


async def test_a_connection_is_used_again_after_a_stream(ask, server):
    for _ in range(3):
        await ask(act.says())

    assert (len(server.received), server.connections) == (3, 1)


@pytest.mark.usefixtures("no_leaks")
async def test_a_reply_that_is_complete_does_not_wait_for_the_end_of_its_stream(ask, provider, server):
    reply = await ask(act.streams(*act.streamed(PATHS[provider]), ends=False))

    assert reply.text == act.REPLY
    async with asyncio.timeout(20):
        await server.left.wait()


# What may go wrong


def cut_streams(provider):
    whole = act.streamed(PATHS[provider])
    return [act.streams(*whole[:count]) for count in range(len(whole))]


async def test_a_stream_that_ends_before_the_reply_is_worth_another_attempt(ask, provider):  # B11
    for behaviour in cut_streams(provider):
        error = await failure(ask(behaviour))

        assert type(error) is ProviderError
        assert "in the middle" in str(error)


HOSTILE_STREAMS = {
    "no JSON": act.streams(b"data: <html>\n\n"),
    "half JSON": act.streams(b'data: {"choices": [\n\n'),
    "a number": act.streams(5),
    "a list": act.streams([]),
    "deep": act.streams(b"data: " + b"[" * 100_000 + b"\n\n"),
    "invalid UTF-8": act.streams(b'data: {"a": "\xff"}\n\n'),
    "parts of a wrong kind": act.streams(
        {"type": "message_start", "message": 5, "choices": 5, "usage": []}, {"type": ["x"], "choices": [[]]},
        {"type": "content_block_delta", "delta": "x", "choices": [{"delta": {"content": 7}}]},
        {"type": "message_delta", "delta": None, "usage": 7, "choices": [{"delta": None, "finish_reason": {}}]},
        {"type": "message_stop"}, "[DONE]",
    ),
    "nothing said": act.streams({"type": "message_stop"}, "[DONE]"),
    "comments without end": act.streams_without_end,
    "a line without end": act.one_line_without_end,
}  # fmt: skip


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("name", HOSTILE_STREAMS)
async def test_a_stream_that_is_no_reply_is_a_provider_error(ask, server, name):  # B11
    assert type(await failure(ask(HOSTILE_STREAMS[name], max_response_bytes=200_000))) is ProviderError

    assert server.exchanges[0].sent < 20_000_000
    assert (await ask(act.says(), max_response_bytes=200_000)).text == act.REPLY, "the next good one is answered"


@pytest.mark.usefixtures("no_leaks")
async def test_a_stream_that_drips_ends_at_the_deadline(ask):  # B11
    error = await failure(ask(act.drips_a_stream, request_timeout_s=0.5))

    assert type(error) is ProviderError
    assert "0.5 s" in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("overloaded_error", ProviderError), ("rate_limit_error", ProviderError), ("server_error", ProviderError),
        ("authentication_error", AuthenticationError), ("invalid_request_error", PermanentError),
        ("insufficient_quota", PermanentError),
    ],
)  # fmt: skip
async def test_an_error_in_the_middle_of_a_stream_is_of_the_class_that_it_has_before(ask, provider, code, kind):
    said = {"type": "error", "error": {"type": code, "message": f"{KEY} {REQUEST.words}"}}
    first, second, *_ = act.streamed(PATHS[provider])

    error = await failure(ask(act.streams(first, second, said)))

    assert type(error) is kind
    assert KEY not in everything_told(error)
    assert REQUEST.words not in everything_told(error)
    assert error.__cause__ is error.__context__ is None


@given(st.lists(st.binary(max_size=30) | st.recursive(st.none() | st.text() | st.floats(), st.lists), max_size=5))
def test_any_events_are_a_reply_or_an_error_of_ours(events):
    from async_processor.processors.providers.anthropic_chat import StreamedMessage
    from async_processor.processors.providers.failures import Call
    from async_processor.processors.providers.openai_chat import StreamedCompletion

    async def collect(made):
        for item in events:
            made.add(item if isinstance(item, bytes) else json.dumps(item).encode())

    for collector in (StreamedCompletion, StreamedMessage):

        async def run(kind=collector):
            await collect(kind(Call(provider="x")))

        try:
            asyncio.run(run())
        except (ProviderError, PermanentError) as error:
            assert error.message  # noqa: PT017 - the other outcome is as good
