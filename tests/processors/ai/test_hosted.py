"""Hosted providers, through their real client libraries, against a server that does its worst."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import subprocess
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from tests.processors.ai import server as act

from async_processor.config import AIConfig
from async_processor.errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from async_processor.outcome import ErrorInfo
from async_processor.processors.chat import ChatModel
from async_processor.processors.providers.anthropic_chat import AnthropicChat
from async_processor.processors.providers.openai_chat import OpenAIChat
from async_processor.testing.provider_contracts import CHAT_REQUEST as REQUEST

KEY = "sk-Canary0123456789abcdef"
PROVIDERS = ("openai", "anthropic")


def chat_model(provider: str, url: str, **settings) -> ChatModel:
    config = AIConfig(**{"request_timeout_s": 10.0, **settings})
    if provider == "openai":
        return OpenAIChat(config, api_key=KEY, base_url=f"{url}/v1")
    return AnthropicChat(config, api_key=KEY, base_url=url)


@pytest.fixture(params=PROVIDERS)
async def ask(request, server):
    """Ask a provider one thing; the server's behaviour may be changed before, and the bounds given."""
    models = {}

    async def ask(behaviour=None, **settings):
        if behaviour is not None:
            server.behaviour = behaviour
        key = tuple(settings.items())
        if key not in models:
            models[key] = chat_model(request.param, server.base_url, **settings)
        return await models[key].reply(REQUEST)

    ask.provider = request.param
    yield ask
    for model in models.values():
        await model.aclose()


async def failure(awaitable) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await awaitable
    return caught.value


async def test_a_reply_carries_text_model_and_the_tokens_that_the_server_counted(ask):
    reply = await ask(act.says("Hi!", model="served-model"))

    assert (reply.text, reply.model, reply.tokens_used, reply.finish_reason) == ("Hi!", "served-model", 17, "stop")
    assert (reply.provider, reply.offline, reply.generated) == (ask.provider, False, True)


async def test_one_request_is_sent_with_rules_message_limit_and_key_and_no_tools(ask, server):
    await ask()

    (sent,) = server.received
    limit = "max_completion_tokens" if ask.provider == "openai" else "max_tokens"
    assert sent.json["model"] == "test-model"
    assert sent.json[limit] == 50
    assert KEY in sent.headers.get("authorization", "") + sent.headers.get("x-api-key", "")
    assert "You are a toy bear." in sent.body.decode()
    assert sent.json["messages"][-1] == {"role": "user", "content": "Say hello."}
    assert sent.json.keys() <= {"model", "messages", "system", limit, "stream", "stream_options"}


async def test_no_cookie_is_kept(server):
    server.behaviour = act.answers(200, act.completion("/chat/completions"), "Set-Cookie: child=1; Path=/")
    model = chat_model("openai", server.base_url)

    await model.reply(REQUEST)
    await model.reply(REQUEST)
    await model.aclose()

    assert ["cookie" in received.headers for received in server.received] == [False, False]


async def test_the_limit_goes_under_the_one_name_that_the_server_knows(server):
    model = chat_model("openai", server.base_url, max_tokens_parameter="max_tokens")

    await model.reply(REQUEST)
    await model.aclose()

    assert server.received[0].json["max_tokens"] == 50
    assert "max_completion_tokens" not in server.received[0].json


# B11: the wait that a server asks for


WAITS = {
    "Retry-After: 0": 0.0,
    "Retry-After: 7": 7.0,
    "Retry-After: -5": 0.0,
    "Retry-After: 1000000000": 1e9,  # the engine cuts it to retry_max_s
    "Retry-After: 1e400": 1e9,
    "Retry-After: nan": None,
    "Retry-After: soon": None,
    "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT": 0.0,
    "Retry-After: Fri, 99 Foo 2015 07:28:00 GMT": None,
    "Retry-After-Ms: 1500": 1.5,
    "X-Nothing: 1": None,
}


async def test_too_many_requests_is_worth_another_attempt_after_the_wait_asked_for(ask):
    for header, wait in WAITS.items():
        error = await failure(ask(act.refuses(429, "rate_limit_exceeded", header)))

        assert type(error) is ProviderError
        assert error.retry_after == wait, header


async def test_a_date_to_come_is_waited_for(ask):
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    error = await failure(ask(act.refuses(503, "overloaded_error", f"Retry-After: {moment}")))

    assert isinstance(error, ProviderError)
    assert error.retry_after == pytest.approx(100, abs=30)


async def test_the_client_library_does_not_retry_by_itself(ask, server):
    await failure(ask(act.refuses(429, "rate_limit_exceeded", "Retry-After: 0")))

    assert len(server.received) == 1


# B11: right class of error for each kind of failure


async def test_what_another_attempt_may_mend_is_retryable(ask):
    for status in (408, 409, 425, 500, 502, 503, 504, 529):
        assert type(await failure(ask(act.refuses(status, "some_error")))) is ProviderError, status


async def test_refused_credentials_are_permanent(ask):
    for status in (401, 403):
        assert type(await failure(ask(act.refuses(status, "invalid_api_key")))) is AuthenticationError, status


async def test_what_no_attempt_can_mend_is_permanent(ask):
    for status in (400, 402, 404, 405, 413, 418, 422, 301, 302, 307, 308):
        error = await failure(ask(act.refuses(status, "some_error", "Location: /elsewhere")))

        assert type(error) is PermanentError, status


async def test_an_account_without_credit_is_not_asked_again(ask):
    assert type(await failure(ask(act.refuses(429, "insufficient_quota")))) is PermanentError


async def test_an_unknown_model_is_named_with_what_to_do(ask, server):
    error = await failure(ask(act.refuses(404, "model_not_found")))

    assert type(error) is PermanentError
    assert "'test-model'" in str(error)
    assert "AIConfig.model" in str(error)


async def test_an_unknown_model_that_was_switched_off_is_told_with_its_date(server):
    server.behaviour = act.refuses(404, "model_not_found")
    model = chat_model("openai", server.base_url)

    error = await failure(model.reply(replace(REQUEST, model="gpt-3.5-turbo")))
    await model.aclose()

    assert "2026-10-23" in str(error)


async def test_a_server_that_takes_the_limit_by_another_name_is_explained(server):
    server.behaviour = act.refuses(400, "unsupported_parameter", param="max_completion_tokens")
    model = chat_model("openai", server.base_url)

    error = await failure(model.reply(REQUEST))
    await model.aclose()

    assert "max_tokens_parameter" in str(error)


HOSTILE_ANSWERS = {
    "a page": act.answers(200, b"<html><body>Please log in</body></html>", kind="text/html"),
    "a page said to be JSON": act.answers(200, b"<html>"),
    "nothing": act.answers(200, b""),
    "no content": act.answers(204, b""),
    "half": act.answers_in_halves,
    "a reset": act.resets,
    "null": act.answers(200, None),
    "a list": act.answers(200, []),
    "a number of 5,000 digits": act.answers(200, b"9" * 5_000),
    "brackets 100,000 deep": act.answers(200, b"[" * 100_000),
    "invalid UTF-8": act.answers(200, b'{"choices": "\xff\xfe"}'),
    "an empty object": act.answers(200, {}),
    "no choices": act.answers(200, {"choices": [], "content": []}),
    "choices of a wrong kind": act.answers(200, {"choices": "abc", "content": "abc"}),
    "numbers for choices": act.answers(200, {"choices": [1], "content": [1]}),
    "no message": act.answers(200, {"choices": [{"message": None}], "content": [None]}),
    "text of a wrong kind": act.answers(
        200, {"choices": [{"message": {"content": {"a": 1}}}], "content": [{"type": "text", "text": 5}]}
    ),
    "an empty reply": act.says("   "),
    "a tool call": act.answers(
        200,
        {
            "choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "rm"}}]}}],
            "content": [{"type": "tool_use", "name": "rm", "input": {}}],
        },
    ),
    "a compressed answer": act.answers(200, b"\x1f\x8b" + bytes(20), "Content-Encoding: gzip"),
    "an endless answer": act.endless,
    "a gigabyte": act.huge,
    "endless headers": act.endless_headers,
    "an error of 100,000 brackets": act.answers(500, b"[" * 100_000),
    "an endless error": act.answers(500, b" " * 300_000),
    "words for a status": act.answers(200, b"", "X: y"),
}


@pytest.mark.parametrize("name", HOSTILE_ANSWERS)
async def test_an_answer_that_is_no_reply_is_a_provider_error(ask, name):  # B11
    assert type(await failure(ask(HOSTILE_ANSWERS[name], max_response_bytes=200_000))) is ProviderError


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("behaviour", [act.endless, act.huge], ids=["endless", "a gigabyte"])
async def test_no_more_is_read_than_the_limit(ask, server, behaviour):  # B11
    await failure(ask(behaviour, max_response_bytes=100_000))

    # What the server could push beyond the limit lies in the sockets' buffers.
    assert server.exchanges[0].sent < 20_000_000
    async with asyncio.timeout(20):
        await server.left.wait()


async def test_an_answer_as_large_as_the_limit_is_taken(ask):
    text = "x" * 50_000

    assert (await ask(act.says(text), max_response_bytes=60_000)).text == text


@pytest.mark.usefixtures("no_leaks")
async def test_a_drip_of_bytes_ends_at_the_deadline(ask):  # B11
    error = await failure(ask(act.drips, request_timeout_s=0.5))

    assert type(error) is ProviderError
    assert "0.5 s" in str(error)


@pytest.mark.usefixtures("no_leaks")
async def test_a_server_that_never_answers_ends_at_the_deadline(ask, server):
    error = await failure(ask(act.never_answers, request_timeout_s=0.3))

    assert type(error) is ProviderError
    async with asyncio.timeout(20):
        await server.left.wait()


async def test_a_redirect_is_not_followed(ask, server):  # B11
    elsewhere = act.LoopbackServer(act.says())
    await elsewhere.start()

    error = await failure(ask(act.answers(307, {}, f"Location: {elsewhere.base_url}/v1/chat/completions")))

    assert type(error) is PermanentError
    assert "base_url" in str(error)
    assert (elsewhere.connections, len(server.received)) == (0, 1)
    await elsewhere.aclose()


async def test_a_server_that_is_not_there_is_a_provider_error(unused_port):
    for provider in PROVIDERS:
        model = chat_model(provider, f"http://127.0.0.1:{unused_port}")

        assert type(await failure(model.reply(REQUEST))) is ProviderError
        assert type(await failure(model.check())) is ProviderError
        await model.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_plain_text_where_tls_is_spoken_is_a_provider_error(server, provider):  # B11
    model = chat_model(provider, server.base_url.replace("http:", "https:"))

    assert type(await failure(model.reply(REQUEST))) is ProviderError
    await model.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_certificate_that_cannot_be_verified_is_permanent_and_nothing_is_sent(untrusted, provider):  # B11
    server = act.LoopbackServer(act.says())
    await server.start(tls=untrusted)
    model = chat_model(provider, server.base_url)

    error = await failure(model.reply(REQUEST))

    assert type(error) is PermanentError
    assert "ca-certificates" in str(error)
    assert server.received == []
    await model.aclose()
    await server.aclose()


# How a reply ended


@pytest.mark.parametrize(
    ("provider", "said", "means"),
    [
        ("openai", "length", "length"),
        ("openai", "content_filter", "content_filter"),
        ("openai", "something_new", "other"),
        ("anthropic", "max_tokens", "length"),
        ("anthropic", "refusal", "refusal"),
        ("anthropic", "something_new", "other"),
    ],
)
async def test_why_a_reply_ended_is_told_in_one_vocabulary(server, provider, said, means):
    server.behaviour = act.says("Once upon a", finish=said)
    model = chat_model(provider, server.base_url)

    assert (await model.reply(REQUEST)).finish_reason == means
    await model.aclose()


@pytest.mark.parametrize(("provider", "reason"), [("openai", "content_filter"), ("anthropic", "refusal")])
async def test_a_reply_that_was_withheld_is_empty_and_says_so(server, provider, reason):
    server.behaviour = act.says(None, finish=reason)
    model = chat_model(provider, server.base_url)

    reply = await model.reply(REQUEST)
    await model.aclose()

    assert (reply.text, reply.finish_reason) == ("", reason)


async def test_a_model_that_declines_in_words_is_a_refusal(server):
    message = {"content": None, "refusal": "I would rather not."}
    server.behaviour = act.answers(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
    model = chat_model("openai", server.base_url)

    reply = await model.reply(REQUEST)
    await model.aclose()

    assert (reply.text, reply.finish_reason) == ("I would rather not.", "refusal")


@pytest.mark.parametrize(("provider", "reason"), [("openai", "length"), ("anthropic", "max_tokens")])
async def test_a_model_that_thinks_until_its_limit_needs_more_of_it_and_no_retry(server, provider, reason):
    server.behaviour = act.says("", finish=reason)
    model = chat_model(provider, server.base_url)

    error = await failure(model.reply(REQUEST))
    await model.aclose()

    assert type(error) is PermanentError
    assert "max_tokens" in str(error)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -1}, {"total_tokens": "17"}, {"total_tokens": True}, []])
async def test_tokens_that_nobody_counted_are_unknown(ask, usage):
    body = {
        "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
        "content": [{"type": "text", "text": "Hi"}],
        "usage": usage,
    }

    assert (await ask(act.answers(200, body))).tokens_used is None


@pytest.mark.parametrize("model", [None, 5, "", "x" * 201, "two\nlines"])
async def test_a_model_without_a_usable_name_is_called_as_it_was_asked_for(ask, model):
    body = {"model": model, "choices": [{"message": {"content": "Hi"}}], "content": [{"type": "text", "text": "Hi"}]}

    assert (await ask(act.answers(200, body))).model == "test-model"


async def test_a_reply_can_be_written_as_utf8_whatever_the_server_sent(ask):
    reply = await ask(act.says("a\ud800b\x00c\x1bd"))

    assert reply.text == "a?b c d"


# Cancelling


async def test_a_cancelled_task_closes_its_connection_at_once(ask, server):
    task = asyncio.ensure_future(ask(act.never_answers))
    async with asyncio.timeout(20):
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()

    assert task.cancelled()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_requests_cancelled_at_any_moment_leave_nothing_open(server, provider):  # B22
    dice = random.Random(22)
    model = chat_model(provider, server.base_url)
    await model.reply(REQUEST)

    for _ in range(50):
        task = asyncio.ensure_future(model.reply(REQUEST))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert (await model.reply(REQUEST)).text, "the slot works on"
    await model.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_tls_handshake_given_up_closes_its_connection(provider):  # B22
    greeted, closed = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader, writer):
        while await reader.read(10_000):
            greeted.set()
        closed.set()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    model = chat_model(provider, f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    gc.disable()  # the collector would close it some day
    try:
        async with asyncio.timeout(20):
            task = asyncio.ensure_future(model.reply(REQUEST))
            await greeted.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await closed.wait()
    finally:
        gc.enable()
        await model.aclose()
        silent.close()
        await silent.wait_closed()


# H8, B11: neither key nor words anywhere but in the request


def everything_told(error: BaseException) -> str:
    info = ErrorInfo.from_exception(error)
    parts = [str(error), repr(error), str(vars(error)), info.message, info.traceback or ""]
    parts += traceback.format_exception(error)
    return "".join(parts)


ECHOES = {
    "message": lambda secret: act.refuses(400, "bad", message=f"your key is {secret} indeed"),
    "code": lambda secret: act.refuses(400, secret.lower().replace("-", "_")),
    "code as it is": lambda secret: act.refuses(500, secret),
    "body": lambda secret: act.answers(401, secret.encode(), kind="text/plain"),
    "page": lambda secret: act.answers(200, f"<html>{secret}</html>".encode(), kind="text/html"),
    "header": lambda secret: act.refuses(429, "limit", f"Retry-After: {secret}"),
    "location": lambda secret: act.answers(302, {}, f"Location: https://{secret}.example/"),
    "encoding": lambda secret: act.answers(200, {}, f"Content-Encoding: {secret}"),
    "reset": lambda _: act.resets,
    "shape": lambda secret: act.answers(200, {"choices": [secret], "content": [secret]}),
}


@pytest.mark.parametrize("name", ECHOES)
async def test_an_echoed_key_or_prompt_is_in_no_error(ask, name, caplog):
    caplog.set_level(logging.INFO)

    for secret in (KEY, REQUEST.message, REQUEST.words):
        error = await failure(ask(ECHOES[name](secret)))

        assert secret.lower() not in everything_told(error).lower()
        assert error.__cause__ is error.__context__ is None, "foreign errors carry whole answers along"
        assert secret.lower() not in caplog.text.lower()


@pytest.mark.parametrize("before", ["", "x" * 490], ids=["short", "cut in the middle of the key"])
async def test_what_the_server_said_is_logged_at_debug_without_the_key(ask, caplog, before):
    caplog.set_level(logging.DEBUG, "async_processor")

    await failure(ask(act.refuses(400, "bad", message=f"{before}{KEY}\r\nand more")))

    (line,) = [record.getMessage() for record in caplog.records if record.name == "async_processor.providers"]
    assert f"{before}[key]" in line
    assert KEY[:8] not in line
    assert "\n" not in line


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_key_is_shown_by_a_model_or_its_call(provider):
    model = chat_model(provider, "http://127.0.0.1:1")

    assert KEY not in repr(model) + repr(model._call("m"))


# The extra


@pytest.mark.parametrize("library", ["openai", "anthropic"])
def test_a_missing_library_is_named_with_the_line_that_installs_it(library):
    program = (
        "import asyncio, sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from tests.processors.ai.test_hosted import REQUEST, chat_model\n"
        "from async_processor.errors import MissingExtraError\n"
        "try:\n"
        f"    asyncio.run(chat_model({library!r}, 'http://127.0.0.1:1').reply(REQUEST))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).parents[3]

    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root)

    assert "pip install 'advanced-async-processor[ai]'" in ran.stdout


async def test_no_library_is_imported_on_the_event_loop():
    """Importing one takes a second or more; see OpenedLater."""
    program = (
        "import asyncio, sys, time\n"
        "from tests.processors.ai.test_hosted import REQUEST, chat_model\n"
        "async def main():\n"
        "    asked = asyncio.ensure_future(chat_model('anthropic', 'http://127.0.0.1:1').reply(REQUEST))\n"
        "    ticks = 0\n"
        "    while 'anthropic' not in sys.modules or not asked.done():\n"
        "        ticks += 1\n"
        "        await asyncio.sleep(0.005)\n"
        "    print(ticks)\n"
        "    await asyncio.gather(asked, return_exceptions=True)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[3]

    ran = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=root, stdout=asyncio.subprocess.PIPE)
    output, _ = await ran.communicate()

    # The import alone takes over a second; a loop that stood still would have ticked a few times.
    assert int(output) > 20
