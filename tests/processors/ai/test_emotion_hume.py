"""EMOTION_ANALYSIS by Hume, through its real client library, against a server that does its worst."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import random
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from tests.processors.ai import server as act
from tests.processors.ai.test_hosted import ECHOES, HOSTILE_ANSWERS, WAITS, everything_told, failure
from tests.processors.recordings import RATE, context, encode, pcm, silence, tone
from tests.processors.test_emotion_analysis import KEYS as OFFLINE_KEYS
from tests.results.kit import typed

from async_processor import AdvancedAsyncProcessor, TaskStatus
from async_processor.config import EmotionConfig, ProcessorConfig, SpeechConfig
from async_processor.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidPayloadError,
    PermanentError,
    ProviderError,
)
from async_processor.model import LaneName, ProcessingType, create_task
from async_processor.processors.emotion_analyzer import VOCABULARY
from async_processor.processors.emotion_hume import MAX_LISTED, MAX_SECONDS, NAMES_OF, analyse
from async_processor.processors.emotion_providers import processor_spec
from async_processor.processors.providers import hume_voice

KEY = "hume-Canary0123456789abcdef"
PAYLOAD = {"audio_data": pcm(tone(0.3)), "sample_rate": RATE}


def settings(server, **given) -> EmotionConfig:
    base = {"provider": "hume", "base_url": server.base_url, "api_key": KEY, "request_timeout_s": 10.0}
    return EmotionConfig(**{**base, **given})


@pytest.fixture
def measure(server):
    """Have one payload measured by the local server, which answers well unless told otherwise."""

    async def measure(payload=PAYLOAD, behaviour=None, speech=None, **given):
        if behaviour is not None:
            server.behaviour = behaviour
        task = create_task(ProcessingType.EMOTION_ANALYSIS, payload)
        speech = speech or SpeechConfig()
        found = await analyse(task, context(task), settings=settings(server, **given), speech=speech)
        return typed(task.task_type, found)

    return measure


def hears(*windows: dict[str, float]) -> act.Behaviour:
    return act.answers(200, act.measured(*windows))


def errs(status: int, code: str, *headers: str) -> act.Behaviour:
    """An error as Hume's own service writes it."""
    return act.answers(status, {"type": "error", "code": code, "message": "no", "request_id": "q1"}, *headers)


# What comes out


async def test_a_result_has_humes_own_names_and_one_word_of_ours(measure):
    first = {"interest": 0.61, "amusement": 0.42, "chuckling": 0.2}
    second = {"amusement": 0.55, "annoyance": 0.31, "awe": 0.3, "doubt": 0.25, "interest": 0.05}

    result = await measure(behaviour=hears(first, second))

    assert result == {
        "primary_emotion": "happy",
        "confidence": 0.55,
        "secondary_emotions": [
            {"emotion": "interest", "score": 0.61},
            {"emotion": "amusement", "score": 0.55},
            {"emotion": "annoyance", "score": 0.31},
            {"emotion": "awe", "score": 0.3},
            {"emotion": "doubt", "score": 0.25},
        ],
        "arousal": None,
        "valence": None,
        "analysis_method": "audio",
        "basis": ["audio"],
        "baseline_used": False,
        "features": {},
        "reason": None,
        "provider": "hume",
        "model": None,
        "offline": False,
        "warnings": [],
    }
    assert result.keys() == OFFLINE_KEYS | {"warnings"}
    assert len(result["secondary_emotions"]) == MAX_LISTED


@pytest.mark.parametrize(
    ("windows", "listed", "reason"),
    [
        ([], [], "no speech"),
        ([{}, {}], [], "no expression"),
        ([{"interest": 0.9}], [{"emotion": "interest", "score": 0.9}], "none of the expressions"),
    ],
)
async def test_where_nothing_found_has_a_word_of_ours_it_is_neutral_without_confidence(
    measure, windows, listed, reason
):
    result = await measure(behaviour=hears(*windows))

    assert (result["primary_emotion"], result["confidence"]) == ("neutral", 0.0)
    assert result["secondary_emotions"] == listed
    assert result["basis"] == (["audio"] if listed else [])
    assert reason in result["reason"]


async def test_neutral_is_a_finding_where_hume_says_so(measure):
    result = await measure(behaviour=hears({"neutral": 0.8}))

    assert (result["primary_emotion"], result["confidence"], result["reason"]) == ("neutral", 0.8, None)


def test_every_name_stands_for_one_word_and_that_is_one_of_the_offline_analysis():
    names = [name for listed in NAMES_OF.values() for name in listed.split(", ")]

    assert NAMES_OF.keys() <= set(VOCABULARY)
    assert len(names) == len(set(names))
    assert all(name == name.strip().lower() != "" for name in names), "as Hume writes its own"


async def test_what_does_not_count_is_said(measure):
    payload = {**PAYLOAD, "text": "i am happy", "baseline": {"pitch_hz": 300}}

    both = (await measure(payload))["warnings"]
    voice = (await measure({**payload, "analysis_type": "prosody"}))["warnings"]

    assert ["'text'" in warning for warning in both] == [True, False]
    assert ["'baseline'" in warning for warning in voice] == [True]


# What goes out


async def test_the_recording_goes_out_as_16_khz_mono_16_bit_and_nothing_else_does(measure, server):
    stereo = np.stack([tone(0.5), tone(0.5, 600)], axis=1)
    payload = {"audio_data": encode(stereo, 44_100, "FLAC"), "text": "CANARY", "child_id": "CANARY"}

    await measure(payload)

    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/v1/expression/audio/file")
    assert sent.headers["x-hume-api-key"] == KEY
    assert sent.headers["accept-encoding"] == "identity"
    boundary = sent.headers["content-type"].partition("boundary=")[2].encode()
    parts = sent.body.split(b"--" + boundary)
    assert len(parts) == 3
    head, _, content = parts[1].partition(b"\r\n\r\n")
    assert b'name="file"' in head
    assert b"audio/wav" in head
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.getnframes() == pytest.approx(16_000 * 8_000 / 44_100, abs=50)
        assert np.abs(np.frombuffer(file.readframes(10**6), "<i2")).max() > 5_000
    assert b"CANARY" not in sent.body + json.dumps(sent.headers).encode()


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "audio_data"),
        ({"text": "i am happy"}, "audio_data"),
        ({**PAYLOAD, "analysis_type": "text"}, "analysis_type"),
        ({**PAYLOAD, "analysis_type": "astrology"}, "analysis_type"),
        ({"audio_data": "text"}, "audio_data"),
        ({"audio_data": b"RIFF\xf0\xff\xff\xffWAVEjunk"}, "audio_data"),
        ({"audio_data": b"\0" * 32_000}, "sample_rate"),
    ],
)
async def test_a_payload_without_a_recording_is_refused_before_any_connection(measure, server, payload, field):
    error = await failure(measure(payload))

    assert type(error) is InvalidPayloadError
    assert error.field == field
    assert server.connections == 0


async def test_a_recording_larger_than_hume_takes_is_refused_and_the_largest_is_sent(measure, server):
    speech = SpeechConfig(max_audio_s=1_000)

    error = await failure(measure({**PAYLOAD, "audio_data": pcm(silence(MAX_SECONDS + 1))}, speech=speech))
    assert type(error) is InvalidPayloadError
    assert server.connections == 0

    await measure({**PAYLOAD, "audio_data": pcm(silence(MAX_SECONDS))}, speech=speech)
    assert len(server.received[0].body) <= hume_voice.MAX_UPLOAD_BYTES


# Key and address


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api_key": None}, "HUME_API_KEY"),
        ({"api_key": ""}, "HUME_API_KEY"),
        ({"api_key": f"{KEY}\nX-Evil: 1"}, "characters"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": f"http://user:{KEY}@x"}, "password"),
    ],
)
async def test_what_cannot_be_used_is_named_without_the_key(measure, server, given, says):
    error = await failure(measure(**given))

    assert type(error) is ConfigurationError
    assert says in str(error)
    assert KEY not in str(error)
    assert server.connections == 0


def test_the_key_is_shown_neither_by_the_function_that_travels_nor_by_its_settings():
    config = ProcessorConfig(emotion=EmotionConfig(provider="hume"))

    spec = processor_spec(config, {"HUME_API_KEY": KEY})

    assert spec.func.keywords["settings"].api_key == KEY
    assert KEY not in repr(spec) + repr(spec.func)


def test_a_missing_library_is_named_with_the_line_that_installs_it():
    program = (
        "import asyncio, sys\n"
        "sys.modules['hume_expression_measurement'] = None\n"
        "from async_processor.config import EmotionConfig\n"
        "from async_processor.errors import MissingExtraError\n"
        "from async_processor.processors.providers import hume_voice\n"
        "try:\n"
        "    asyncio.run(hume_voice.measure(b'', EmotionConfig(provider='hume', api_key='k')))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )

    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "pip install 'advanced-async-processor[hume]'" in ran.stdout


# What a failure comes to


async def test_refused_credentials_are_permanent(measure):
    for behaviour in (
        act.answers(401, {"message": "Invalid API key", "request_id": "q1"}),
        act.answers(401, {"message": "No API key found in request"}),
        errs(403, "forbidden"),
        act.answers(403, b"<html>no</html>", kind="text/html"),
    ):
        error = await failure(measure(behaviour=behaviour))

        assert type(error) is AuthenticationError
        assert "check the key" in str(error)
        assert "None" not in str(error)


async def test_what_no_attempt_can_mend_is_permanent(measure):
    for status, code in [(400, "audio_decode_failed"), (413, "audio_too_long"), (415, "unsupported_media_type")]:
        error = await failure(measure(behaviour=errs(status, code)))

        assert type(error) is PermanentError
        assert f"{status}, {code}" in str(error)
    for status in (404, 405, 418, 422):
        assert type(await failure(measure(behaviour=act.answers(status, b"no")))) is PermanentError, status


async def test_what_another_attempt_may_mend_is_retryable_and_the_client_library_makes_none(measure, server):
    for status in (408, 409, 500, 502, 503, 504):
        assert type(await failure(measure(behaviour=errs(status, "server_busy")))) is ProviderError, status

    assert len(server.received) == 6


async def test_too_many_requests_is_worth_another_attempt_after_the_wait_asked_for(measure):  # B11
    for header, wait in WAITS.items():
        error = await failure(measure(behaviour=act.answers(429, {"message": "rate limit"}, header)))

        assert type(error) is ProviderError
        assert error.retry_after == wait, header


async def test_a_redirect_is_not_followed(measure):  # B11
    elsewhere = act.LoopbackServer(act.says())
    await elsewhere.start()

    error = await failure(measure(behaviour=act.answers(307, {}, f"Location: {elsewhere.base_url}/v1")))

    assert type(error) is PermanentError
    assert "base_url" in str(error)
    assert elsewhere.connections == 0
    await elsewhere.aclose()


WRONG_SHAPES = {
    "no measurements": act.answers(200, {**act.measured({"joy": 1.0}), "measurements": None}),
    "numbers for measurements": act.answers(200, {**act.measured(), "measurements": [1]}),
    "a probability above 1": hears({"joy": 1.01}),
    "a probability below 0": hears({"joy": -0.01}),
    "a probability that is no number": hears({"joy": float("nan")}),
    "a probability in words": hears({"joy": "high"}),
    "no name": hears({"": 0.5}),
    "a name without end": hears({"j" * 101: 0.5}),
    "a name with an escape": hears({"joy\x1b[2J": 0.5}),
    "half a character for a name": hears({"\ud800": 0.5}),
}


NO_MEASUREMENTS = {name: item for name, item in HOSTILE_ANSWERS.items() if name != "an empty reply"} | WRONG_SHAPES


@pytest.mark.parametrize("name", NO_MEASUREMENTS)
async def test_an_answer_that_is_no_measurement_is_a_provider_error(measure, name):  # B11
    behaviour = NO_MEASUREMENTS[name]

    assert type(await failure(measure(behaviour=behaviour, max_response_bytes=200_000))) is ProviderError


JUNK = [None, True, -1, 1e308, float("nan"), "", "x", [], {}, [{}], {"name": "joy"}]


def changed_answer(dice: random.Random) -> dict:
    """A right answer with junk in one place."""
    answer = part = act.measured({"joy": 0.5, "awe": 0.1}, {"fear": 0.2})
    while True:
        key = dice.choice(list(part)) if isinstance(part, dict) else dice.randrange(len(part))
        if not part[key] or not isinstance(part[key], dict | list) or dice.random() < 0.3:
            part[key] = dice.choice(JUNK)
            return answer
        part = part[key]


@pytest.mark.parametrize("answers", [40, pytest.param(5_000, marks=pytest.mark.nightly)])
async def test_any_changed_answer_is_a_result_or_a_provider_error(measure, answers):  # B11
    dice = random.Random(11)
    outcomes = set()
    for _ in range(answers):
        try:
            result = await measure(behaviour=act.answers(200, changed_answer(dice)))
        except ProviderError:
            outcomes.add("refused")
            continue
        outcomes.add("measured")
        assert result["primary_emotion"] in VOCABULARY
        assert 0.0 <= result["confidence"] <= 1.0
        json.dumps(result, allow_nan=False).encode()

    assert outcomes == {"refused", "measured"}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("behaviour", [act.endless, act.huge], ids=["endless", "a gigabyte"])
async def test_no_more_is_read_than_the_limit(measure, server, behaviour):  # B11
    error = await failure(measure(behaviour=behaviour, max_response_bytes=100_000))

    assert "max_response_bytes" in str(error)
    # What the server could push beyond the limit lies in the sockets' buffers.
    assert server.exchanges[0].sent < 20_000_000
    async with asyncio.timeout(20):
        await server.left.wait()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("behaviour", [act.drips, act.never_answers], ids=["a drip", "silence"])
async def test_one_deadline_holds_for_the_whole_call(measure, server, behaviour):  # B11
    error = await failure(measure(behaviour=behaviour, request_timeout_s=0.5))

    assert type(error) is ProviderError
    assert "0.5 s" in str(error)
    async with asyncio.timeout(20):
        await server.left.wait()


async def test_a_server_that_is_not_there_is_a_provider_error(measure, unused_port):
    assert type(await failure(measure(base_url=f"http://127.0.0.1:{unused_port}"))) is ProviderError


async def test_plain_text_where_tls_is_spoken_is_a_provider_error(measure, server):  # B11
    base_url = server.base_url.replace("http:", "https:")

    assert type(await failure(measure(base_url=base_url))) is ProviderError


async def test_a_certificate_that_cannot_be_verified_is_permanent_and_nothing_is_sent(measure, untrusted):  # B11
    server = act.LoopbackServer(act.says())
    await server.start(tls=untrusted)

    error = await failure(measure(base_url=server.base_url))

    assert type(error) is PermanentError
    assert "ca-certificates" in str(error)
    assert server.received == []
    await server.aclose()


@pytest.mark.usefixtures("no_leaks")
async def test_a_cancelled_request_closes_its_connection_at_once(measure, server):  # B22
    task = asyncio.ensure_future(measure(behaviour=act.never_answers))
    async with asyncio.timeout(20):
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()

    assert task.cancelled()


async def test_a_tls_handshake_given_up_closes_its_connection(measure):  # B22
    greeted, closed = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader, writer):
        while await reader.read(10_000):
            greeted.set()
        closed.set()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    gc.disable()  # the collector would close it some day
    try:
        async with asyncio.timeout(20):
            address = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
            task = asyncio.ensure_future(measure(base_url=address))
            await greeted.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await closed.wait()
    finally:
        gc.enable()
        silent.close()
        await silent.wait_closed()


@pytest.mark.parametrize("name", ECHOES)
async def test_an_echoed_key_is_in_no_error_and_no_log(measure, name, caplog):  # H8
    caplog.set_level(logging.INFO)

    error = await failure(measure(behaviour=ECHOES[name](KEY)))

    assert KEY.lower() not in everything_told(error).lower()
    assert error.__cause__ is error.__context__ is None, "foreign errors carry whole answers along"
    assert KEY.lower() not in caplog.text.lower()


# As tasks


@pytest.mark.usefixtures("no_leaks")
async def test_a_worker_sends_the_recording_and_is_free_after_each_failure(server):  # B11
    config = ProcessorConfig(emotion=settings(server), retry_base_s=0.01)
    good = {**PAYLOAD, "text": "i am happy"}
    behaviours = iter([act.refuses(429, "limit", "Retry-After: 0"), act.resets, hears({"joy": 0.7})])

    async def one_after_the_other(exchange):
        await next(behaviours)(exchange)

    async def end_of(payload, behaviour, **given):
        server.behaviour = behaviour
        task = create_task(ProcessingType.EMOTION_ANALYSIS, payload)
        task.max_retries = given.get("max_retries", 0)
        task.timeout = given.get("timeout")
        await processor.submit_task(task)
        return await processor.wait_for_task(task.id, timeout=50)

    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        mended = await end_of(good, one_after_the_other, max_retries=2)
        assert (mended.status, mended.attempts) == (TaskStatus.COMPLETED, 3)
        assert mended.result["provider"] == "hume"
        for payload, behaviour, error in (
            (good, act.answers(200, b"<html>"), "ProviderError"),
            (good, act.answers(401, {"message": f"no such key: {KEY}"}), "AuthenticationError"),
        ):
            failed = await end_of(payload, behaviour)
            assert (failed.status, failed.error_type, failed.attempts) == (TaskStatus.FAILED, error, 1)
            assert KEY not in (failed.error or "")
            assert (await end_of(good, hears({"joy": 0.7}))).result["primary_emotion"] == "happy"
        hung = await end_of(good, act.never_answers, timeout=0.5)
        assert hung.status is TaskStatus.TIMEOUT
        assert (await end_of(good, hears({"joy": 0.7}))).status is TaskStatus.COMPLETED


def test_it_runs_in_the_process_lane():
    spec = processor_spec(ProcessorConfig(emotion=EmotionConfig(provider="hume")), {})

    assert (spec.lane, spec.is_async, spec.wants_context) == (LaneName.PROCESS, True, True)


async def test_the_check_asks_for_no_more_than_the_list_of_uploads(server):
    await hume_voice.check(settings(server))

    (sent,) = server.received
    assert (sent.method, sent.path) == ("GET", "/v1/expression/run?page_size=1")
    server.behaviour = act.answers(401, {"message": "no"})
    assert type(await failure(hume_voice.check(settings(server)))) is AuthenticationError


def test_no_library_is_imported_on_the_event_loop_by_the_check():
    """Importing it takes half a second."""
    program = (
        "import asyncio, sys\n"
        "from async_processor.config import EmotionConfig\n"
        "from async_processor.processors.providers import hume_voice\n"
        "async def main():\n"
        "    config = EmotionConfig(provider='hume', api_key='k', base_url='http://127.0.0.1:1')\n"
        "    asked = asyncio.ensure_future(hume_voice.check(config))\n"
        "    ticks = 0\n"
        "    while not asked.done():\n"
        "        ticks += 1\n"
        "        await asyncio.sleep(0.005)\n"
        "    print(ticks)\n"
        "    await asyncio.gather(asked, return_exceptions=True)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[3]

    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root)

    # A loop that stood still meanwhile would have ticked a few times.
    assert int(ran.stdout) > 15
