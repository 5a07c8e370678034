"""Speech from a server, through the real client library, against one that does its worst."""

from __future__ import annotations

import asyncio
import logging
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.processors.ai import server as act
from tests.processors.recordings import RATE, pcm, tone

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskStatus, create_task
from async_processor.config import AIConfig, ProcessorConfig, SpeechConfig
from async_processor.errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from async_processor.outcome import ErrorInfo
from async_processor.processors.providers.openai_speech import OpenAISpeech
from async_processor.processors.samples import to_wav
from async_processor.processors.speech_synthesis import Speaker, Speech
from async_processor.processors.spoken_answer import SPOKEN_ANSWER, SpokenAnswer, processor_spec
from async_processor.testing.provider_contracts import synthesizer_checks

KEY = "sk-Canary0123456789abcdef"
WORDS = "Good night, little friend. Schlaf gut – 晚安!"
SOUND = pcm(tone(0.5))
WAV = to_wav(SOUND, RATE)
# As OpenAI's servers send it, who do not know the length when they begin.
STREAMED = WAV[:4] + struct.pack("<I", 0xFFFFFFFF) + WAV[8:40] + struct.pack("<I", 0xFFFFFFFF) + WAV[44:]
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there


def settings(url: str = NOWHERE, **more: Any) -> SpeechConfig:
    given = {
        "synthesizer": "openai", "synthesizer_model": "test-model", "synthesizer_voice": "bear",
        "synthesizer_base_url": f"{url}/v1", "synthesizer_api_key": KEY, "synthesizer_timeout_s": 10.0,
    }  # fmt: skip
    return SpeechConfig(**{**given, **more})


def sounds(data: bytes = STREAMED) -> act.Behaviour:
    return act.answers(200, data, kind="audio/wav")


Ask = Callable[..., Awaitable[Speech]]


@pytest.fixture
async def ask(server: act.LoopbackServer) -> AsyncIterator[Ask]:
    """Have a text spoken; the server's behaviour may be changed before, and the bounds given."""
    opened = []

    async def ask(behaviour: act.Behaviour | None = None, text: str = WORDS, **more: Any) -> Speech:
        server.behaviour = behaviour or sounds()
        speaker = Speaker(settings(server.base_url, **more), environ={})
        opened.append(speaker)
        speech = await speaker.speak(text)
        assert speech is not None
        return speech

    yield ask
    for speaker in opened:
        await speaker.aclose()


async def failure(awaitable: Awaitable[object]) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await awaitable
    return caught.value


async def test_the_speech_is_what_the_server_sent_with_the_true_sizes(ask: Ask):
    speech = await ask()

    assert (speech.wav, speech.sample_rate, speech.duration) == (WAV, RATE, 0.5)
    assert (speech.provider, speech.model, speech.voice, speech.offline) == ("openai", "test-model", "bear", False)


async def test_one_request_is_sent_with_text_model_voice_and_key(ask: Ask, server: act.LoopbackServer):
    await ask(text=f"  {WORDS}\n")

    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/v1/audio/speech")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.json == {"input": WORDS, "model": "test-model", "voice": "bear", "response_format": "wav"}


async def test_a_server_of_one_s_own_gets_no_key_that_lies_in_the_environment(server: act.LoopbackServer):
    server.behaviour = sounds()
    speaker = Speaker(settings(server.base_url, synthesizer_api_key=None), environ={"OPENAI_API_KEY": KEY})

    await speaker.speak(WORDS)
    await speaker.aclose()

    assert KEY not in str(server.received[0].headers)


async def test_what_nothing_can_be_said_of_is_not_sent(server: act.LoopbackServer):
    speaker = Speaker(settings(server.base_url), environ={})

    assert [await speaker.speak(text) for text in ("", " \n", "...", "😀")] == [None] * 4
    await speaker.aclose()
    assert server.received == []


# B11: what goes wrong at the server


@pytest.mark.parametrize("wait", ["0", "7", "1000000000"])
async def test_too_many_requests_is_worth_another_attempt_after_the_wait_asked_for(
    ask: Ask, server: act.LoopbackServer, wait: str
):  # B11
    error = await failure(ask(act.refuses(429, "rate_limit_exceeded", f"Retry-After: {wait}")))

    assert type(error) is ProviderError
    assert error.retry_after == float(wait)
    assert len(server.received) == 1, "the client library does not retry by itself"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, ProviderError), (500, ProviderError), (503, ProviderError), (401, AuthenticationError),
        (403, AuthenticationError), (400, PermanentError), (404, PermanentError), (307, PermanentError),
    ],
)  # fmt: skip
async def test_each_refusal_has_the_right_class(ask: Ask, status: int, kind: type[Exception]):  # B11
    error = await failure(ask(act.refuses(status, "some_error", "Location: http://127.0.0.1:9/elsewhere")))

    assert type(error) is kind


async def test_an_unknown_model_is_named_with_the_setting(ask: Ask):
    error = await failure(ask(act.refuses(404, "model_not_found")))

    assert "'test-model'" in str(error)
    assert "SpeechConfig.synthesizer_model" in str(error)


HOSTILE = {
    "a page": act.answers(200, b"<html>log in</html>" * 9, kind="text/html"),
    "nothing": sounds(b""),
    "a header and no sound": sounds(WAV[:44]),
    "another format": sounds(b"ID3\x04" + bytes(500)),
    "JSON": act.answers(200, {"audio": "UklGRg=="}),
    "half": act.answers_in_halves,
    "a reset": act.resets,
    "a compressed answer": act.answers(200, WAV, "Content-Encoding: gzip", kind="audio/wav"),
    "an endless answer": act.endless,
    "a gigabyte": act.huge,
}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("name", HOSTILE)
async def test_an_answer_that_is_no_speech_is_a_provider_error(ask: Ask, name: str):  # B11
    assert type(await failure(ask(HOSTILE[name], max_speech_bytes=50_000))) is ProviderError


async def test_a_speech_larger_than_the_limit_is_not_read(ask: Ask):  # B11
    error = await failure(ask(max_speech_bytes=len(WAV) - 1))

    assert f"larger than {len(WAV) - 1} bytes (SpeechConfig.max_speech_bytes)" in str(error)
    assert (await ask(max_speech_bytes=len(WAV))).wav == WAV


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("behaviour", [act.drips, act.never_answers], ids=["a drip", "silence"])
async def test_a_server_that_takes_its_time_ends_at_the_deadline(
    ask: Ask, server: act.LoopbackServer, behaviour: act.Behaviour
):  # B11
    error = await failure(ask(behaviour, synthesizer_timeout_s=0.4))

    assert type(error) is ProviderError
    assert "0.4 s" in str(error)
    async with asyncio.timeout(20):
        await server.left.wait()


async def test_a_cancelled_speech_closes_its_connection_at_once(ask: Ask, server: act.LoopbackServer):  # B22
    task = asyncio.ensure_future(ask(act.never_answers))
    async with asyncio.timeout(20):
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()

    assert task.cancelled()


@pytest.mark.parametrize("secret", [KEY, "Good night, little friend"])
async def test_neither_key_nor_words_are_in_an_error_or_the_log(
    ask: Ask, secret: str, caplog: pytest.LogCaptureFixture
):  # B11
    caplog.set_level(logging.INFO)
    echoes = [
        act.refuses(400, "bad", message=f"you sent {secret}"),
        act.answers(401, secret.encode(), kind="text/plain"),
        act.answers(200, f"<html>{secret}</html>".encode(), kind="text/html"),
    ]

    for behaviour in echoes:
        error = await failure(ask(behaviour))
        info = ErrorInfo.from_exception(error)
        told = "".join([str(error), repr(error), str(vars(error)), info.traceback or "", caplog.text])
        assert secret not in told + "".join(traceback.format_exception(error))


# The contract


def make(url: str) -> OpenAISpeech:
    return OpenAISpeech(settings(url), api_key="k-1", base_url=f"{url}/v1")


@pytest.mark.parametrize("name", [check.name for check in synthesizer_checks(lambda: make(NOWHERE))])
async def test_openai_s_speech_keeps_the_contract(server: act.LoopbackServer, name: str):
    server.behaviour = sounds()
    checks = synthesizer_checks(lambda: make(server.base_url), broken=lambda: make(NOWHERE))

    await {check.name: check for check in checks}[name]()


# In a processor


async def test_a_reply_is_spoken_by_the_server_and_a_hostile_one_costs_its_task(server: act.LoopbackServer):  # B11
    speech = settings(server.base_url)
    config = ProcessorConfig(speech=speech, ai=AIConfig(provider="scripted"), retry_base_s=0.001)
    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:

        async def spoken(behaviour: act.Behaviour) -> Any:
            server.behaviour = behaviour
            reply = create_task(ProcessingType.AI_RESPONSE, {"prompt": "Hello"})
            speech = create_task(SPOKEN_ANSWER, {}, depends_on=[reply.id], max_retries=2)
            for task in (reply, speech):
                await processor.submit_task(task)
            said = (await processor.wait_for_task(reply.id, timeout=50)).unwrap()["response"]
            return said, await processor.wait_for_task(speech.id, timeout=50)

        _, garbage = await spoken(act.answers(200, b"<html>", kind="text/html"))
        _, refused = await spoken(act.refuses(401, "invalid_api_key"))
        said, good = await spoken(sounds())

    assert (garbage.status, garbage.error_type, garbage.attempts) == (TaskStatus.FAILED, "ProviderError", 3)
    assert (refused.status, refused.error_type, refused.attempts) == (TaskStatus.FAILED, "AuthenticationError", 1)
    assert good.unwrap() == {
        "audio_data": WAV, "duration": 0.5, "sample_rate": RATE, "provider": "openai", "model": "test-model",
        "voice": "bear", "offline": False, "reason": None, "warnings": [],
    }  # fmt: skip
    assert server.received[-1].json["input"] == said
    assert (good.worker_id or "").startswith("async")


async def test_readiness_asks_the_server_and_says_that_answers_leave(server: act.LoopbackServer):
    spec = processor_spec(ProcessorConfig(speech=settings(server.base_url)))
    assert spec.readiness is not None
    assert spec.aclose is not None

    ready = await spec.readiness()
    server.behaviour = act.refuses(401, "invalid_api_key")
    refused = await spec.readiness()
    await spec.aclose()

    assert (ready.provider, ready.offline, ready.problem) == ("openai", False, None)
    assert ready.remarks == ("what is answered leaves this machine to be spoken",)
    assert "check the key" in (refused.problem or "")


async def test_a_key_that_is_missing_is_told_as_a_problem():
    config = settings(synthesizer_base_url=None, synthesizer_api_key=None)

    found = await SpokenAnswer(config, Speaker(config, environ={})).readiness()

    assert (found.provider, found.offline) == ("openai", False)
    assert "OPENAI_API_KEY" in (found.problem or "")
