"""Transcriptions by a server, through the real client library, against one that does its worst."""

from __future__ import annotations

import asyncio
import email
import email.policy
import io
import json
import logging
import traceback

import numpy as np
import pytest
import soundfile
from tests.processors.ai import server as act
from tests.processors.recordings import RATE, context, encode, pcm, silence, tone
from tests.results.kit import typed

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskStatus, create_task
from async_processor.config import ProcessorConfig, SpeechConfig
from async_processor.errors import (
    AsyncProcessorError,
    AuthenticationError,
    ConfigurationError,
    InvalidPayloadError,
    PermanentError,
    ProviderError,
)
from async_processor.model import ProcessingTask
from async_processor.outcome import ErrorInfo
from async_processor.processors.audio_transcription import example, processor_spec, transcribe
from async_processor.processors.hosted_transcription import HostedTranscriber, read_upload

KEY = "sk-Canary0123456789abcdef"
SOUND = pcm(tone(0.5))
WORDS = "Go forward ten meters."


def settings(url="http://127.0.0.1:9", **more):
    given = {"provider": "openai", "model": "test-model", "base_url": f"{url}/v1", "api_key": KEY}
    return SpeechConfig(**{**given, "request_timeout_s": 10.0, **more})


def hears(text=WORDS, **more):
    return act.answers(200, {"text": text, **more})


@pytest.fixture
async def ask(server):
    """Have one recording transcribed; the server's behaviour may be changed before, and the bounds given."""
    opened = []

    async def ask(behaviour=None, payload=None, **more):
        server.behaviour = behaviour or hears()
        transcriber = HostedTranscriber(settings(server.base_url, **more), environ={})
        opened.append(transcriber)
        payload = {"audio_data": SOUND, "sample_rate": RATE} if payload is None else payload
        task = ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, payload)
        return typed(task.task_type, await transcriber(task))

    yield ask
    for transcriber in opened:
        await transcriber.aclose()


async def failure(awaitable) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await awaitable
    return caught.value


def form(received):
    """The parts of a form that was sent: name -> (file name, bytes)."""
    head = f"Content-Type: {received.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + received.body, policy=email.policy.HTTP)
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    }


async def test_a_result_has_the_keys_of_one_that_was_made_here(ask):
    result = await ask(hears(language="english"))

    task = ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, example())
    assert result.keys() == transcribe(task, context(task), config=SpeechConfig()).keys()
    assert json.loads(json.dumps(result)) == result
    assert (result["transcription"], result["language"], result["reason"]) == (WORDS, "english", None)
    assert (result["provider"], result["model"], result["offline"]) == ("openai", "test-model", False)
    assert (result["duration"], result["sample_rate"], result["speech_duration"]) == (0.5, RATE, None)
    assert (result["segments"], result["score"], result["confidence"]) == ([], None, None)


async def test_one_request_is_sent_with_recording_model_and_key(ask, server):
    await ask(payload={"audio_data": SOUND, "sample_rate": RATE, "language": "en-US", "child_id": "child-1"})

    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/v1/audio/transcriptions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    parts = form(sent)
    assert parts.keys() == {"file", "model", "response_format", "language"}
    assert [parts[name][1] for name in ("model", "response_format", "language")] == [b"test-model", b"json", b"en"]
    name, content = parts["file"]
    signal, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert (name, rate, signal.tobytes()) == ("recording.wav", RATE, SOUND)
    assert b"child-1" not in sent.body


async def test_without_a_language_none_is_sent(ask, server):
    result = await ask()

    assert "language" not in form(server.received[0])
    assert result["language"] is None


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(tone(0.2)), "recording.wav"),
        (encode(tone(0.2), form="FLAC"), "recording.flac"),
        (encode(tone(0.2), form="MP3"), "recording.mp3"),
        (encode(tone(0.2), form="OGG", subtype="VORBIS"), "recording.ogg"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "recording.m4a"),
        (b"\x1aE\xdf\xa3" + bytes(100), "recording.webm"),
    ],
)
async def test_a_recording_with_a_header_is_sent_as_it_is(ask, server, data, name):
    result = await ask(payload={"audio_data": data})

    assert form(server.received[0])["file"] == (name, data)
    assert (result["duration"], result["sample_rate"]) == (None, None), "nothing was decoded"


def test_channels_of_headerless_sound_stay_apart():
    stereo = np.stack([tone(0.5), silence(0.5)], axis=1)

    request = read_upload({"audio_data": pcm(stereo.ravel()), "sample_rate": RATE, "channels": 2}, settings())

    signal, rate = soundfile.read(io.BytesIO(request.recording), dtype="float32")
    assert (signal.shape, rate, request.duration) == ((RATE // 2, 2), RATE, 0.5)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "audio_data"),
        ({"audio_data": b""}, "audio_data"),
        ({"audio_data": "words"}, "audio_data"),
        ({"audio_data": SOUND}, "sample_rate"),
        ({"audio_data": SOUND[1:], "sample_rate": RATE}, "audio_data"),
        ({"audio_data": encode(tone(0.1), form="AIFF")}, "audio_data"),
        ({"audio_data": b"#!AMR" + bytes(50)}, "audio_data"),
        ({"audio_data": SOUND, "sample_rate": RATE, "language": "english!"}, "language"),
        ({"audio_data": SOUND, "sample_rate": RATE, "language": 3}, "language"),
    ],
)
async def test_a_bad_payload_is_refused_before_anything_is_sent(ask, server, payload, field):
    error = await failure(ask(payload=payload))

    assert isinstance(error, InvalidPayloadError)
    assert error.field == field
    assert server.received == []


@pytest.mark.parametrize("name", ["max_upload_bytes", "max_audio_bytes"])
async def test_a_recording_larger_than_the_limit_is_not_sent(ask, server, name):
    error = await failure(ask(**{name: len(SOUND) - 1}))

    assert f"has {len(SOUND)} bytes; send at most {len(SOUND) - 1} (SpeechConfig.{name})" in str(error)
    assert server.received == []
    assert (await ask(**{name: len(SOUND)}))["transcription"] == WORDS


async def test_no_words_are_an_empty_transcription_with_a_reason(ask):
    for text in ("", "  \n"):
        result = await ask(hears(text))

        assert (result["transcription"], result["reason"]) == ("", "no words were heard in the recording")


async def test_what_was_heard_can_be_written_as_utf8_whatever_the_server_sent(ask):
    result = await ask(hears(" a\ud800b\x00c\x1bd ", language="x" * 99))

    assert (result["transcription"], result["language"]) == ("a?b c d", None)


# B11: what goes wrong at the server


async def test_too_many_requests_is_worth_another_attempt_after_the_wait_asked_for(ask, server):  # B11
    for header, wait in (("Retry-After: 7", 7.0), ("Retry-After: 0", 0.0), ("Retry-After: 1000000000", 1e9)):
        error = await failure(ask(act.refuses(429, "rate_limit_exceeded", header)))

        assert type(error) is ProviderError
        assert error.retry_after == wait
    assert len(server.received) == 3, "the client library does not retry by itself"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, ProviderError), (500, ProviderError), (503, ProviderError), (401, AuthenticationError),
        (403, AuthenticationError), (400, PermanentError), (404, PermanentError), (413, PermanentError),
        (307, PermanentError),
    ],
)  # fmt: skip
async def test_each_refusal_has_the_right_class(ask, status, kind):  # B11
    error = await failure(ask(act.refuses(status, "some_error", "Location: http://127.0.0.1:9/elsewhere")))

    assert type(error) is kind


async def test_an_unknown_model_is_named_with_the_setting(ask):
    error = await failure(ask(act.refuses(404, "model_not_found")))

    assert "'test-model'" in str(error)
    assert "SpeechConfig.model" in str(error)
    assert "AIConfig" not in str(error)


HOSTILE = {
    "a page": act.answers(200, b"<html>log in</html>", kind="text/html"),
    "nothing": act.answers(200, b""),
    "half": act.answers_in_halves,
    "a reset": act.resets,
    "null": act.answers(200, None),
    "a list": act.answers(200, [WORDS]),
    "no text": act.answers(200, {"words": WORDS}),
    "text of a wrong kind": act.answers(200, {"text": {"a": 1}}),
    "brackets 100,000 deep": act.answers(200, b"[" * 100_000),
    "invalid UTF-8": act.answers(200, b'{"text": "\xff\xfe"}'),
    "a compressed answer": act.answers(200, b"\x1f\x8b" + bytes(20), "Content-Encoding: gzip"),
    "an endless answer": act.endless,
    "a gigabyte": act.huge,
}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("name", HOSTILE)
async def test_an_answer_that_is_no_transcription_is_a_provider_error(ask, name):  # B11
    assert type(await failure(ask(HOSTILE[name], max_response_bytes=50_000))) is ProviderError


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("behaviour", [act.drips, act.never_answers], ids=["a drip", "silence"])
async def test_a_server_that_takes_its_time_ends_at_the_deadline(ask, server, behaviour):  # B11
    error = await failure(ask(behaviour, request_timeout_s=0.4))

    assert type(error) is ProviderError
    assert "0.4 s" in str(error)
    async with asyncio.timeout(20):
        await server.left.wait()


async def test_a_cancelled_task_closes_its_connection_at_once(ask, server):
    task = asyncio.ensure_future(ask(act.never_answers))
    async with asyncio.timeout(20):
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()

    assert task.cancelled()


@pytest.mark.parametrize("secret", [KEY, WORDS])
async def test_neither_key_nor_words_are_in_an_error_or_the_log(ask, secret, caplog):  # B11
    caplog.set_level(logging.INFO)
    echoes = [
        act.refuses(400, "bad", message=f"you sent {secret}"),
        act.answers(401, secret.encode(), kind="text/plain"),
        act.answers(200, f"<html>{secret}</html>".encode(), kind="text/html"),
        act.answers(200, {"text": [secret]}),
    ]

    for behaviour in echoes:
        error = await failure(ask(behaviour))
        info = ErrorInfo.from_exception(error)
        told = "".join([str(error), repr(error), str(vars(error)), info.traceback or "", caplog.text])
        assert secret not in told + "".join(traceback.format_exception(error))


# Where it runs


async def run(processor, payload, **options):
    task = create_task(ProcessingType.AUDIO_TRANSCRIPTION, payload, cpu_intensive=True, **options)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=50)


async def test_a_hostile_server_costs_its_task_and_the_slot_is_free_for_the_next(server):  # B11
    config = ProcessorConfig(speech=settings(server.base_url), retry_base_s=0.001)
    payload = {"audio_data": SOUND, "sample_rate": RATE}
    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        server.behaviour = act.answers(200, b"<html>")
        garbage = await run(processor, payload, max_retries=2)
        server.behaviour = act.refuses(401, "invalid_api_key")
        refused = await run(processor, payload, max_retries=2)
        server.behaviour = hears()
        good = await run(processor, payload)

    assert (garbage.status, garbage.error_type, garbage.attempts) == (TaskStatus.FAILED, "ProviderError", 3)
    assert (refused.status, refused.error_type, refused.attempts) == (TaskStatus.FAILED, "AuthenticationError", 1)
    assert good.result["transcription"] == WORDS
    assert good.worker_id.startswith("async")


async def test_readiness_asks_the_server_and_says_that_recordings_leave(server):
    spec = processor_spec(ProcessorConfig(speech=settings(server.base_url)))

    ready = await spec.readiness()
    server.behaviour = act.refuses(401, "invalid_api_key")
    refused = await spec.readiness()
    await spec.aclose()

    assert (ready.provider, ready.offline, ready.problem) == ("openai", False, None)
    assert ready.remarks == ("recordings leave this machine",)
    assert "check the key" in refused.problem


async def test_a_key_that_is_missing_fails_the_task_and_says_what_to_set():
    config = SpeechConfig(provider="openai", model="test-model")

    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY or SpeechConfig"):
        await HostedTranscriber(config, environ={})(ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, example()))
