"""Who recognises speech, by the settings; and which language is taken for which."""

from __future__ import annotations

import logging
import os
import pickle
from datetime import date

import pytest

from async_processor.config import ProcessorConfig, SpeechConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError, PermanentError
from async_processor.model import LaneName
from async_processor.processors.audio_transcription import processor_spec, read_request
from async_processor.processors.recognition import read_language
from async_processor.processors.recognizers import chosen, open_hosted, open_local

HOSTED = {"provider": "openai", "model": "some-model"}
TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("settings", "who", "lane"),
    [
        ({}, "pocketsphinx", LaneName.PROCESS),
        ({"provider": "pocketsphinx", "whisper_model_dir": "/models/small"}, "pocketsphinx", LaneName.PROCESS),
        ({"whisper_model_dir": "/models/small"}, "whisper", LaneName.PROCESS),
        ({"provider": "whisper", "whisper_model_dir": "/models/small"}, "whisper", LaneName.PROCESS),
        (HOSTED, "openai", LaneName.ASYNC),
        ({**HOSTED, "whisper_model_dir": "/models/small"}, "openai", LaneName.ASYNC),
    ],
)
def test_who_recognises_and_where(settings, who, lane):
    config = SpeechConfig(**settings)

    assert chosen(config) == who
    assert processor_spec(ProcessorConfig(speech=config)).lane is lane


def test_a_key_in_the_environment_is_no_consent_to_send_a_recording(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-there-for-something-else")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    config = ProcessorConfig.from_env()

    assert chosen(config.speech) == "pocketsphinx"
    assert processor_spec(config).lane is LaneName.PROCESS


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"provider": "whisper"}, "whisper_model_dir"),
        ({"provider": "whisper", "whisper_model_dir": ""}, "whisper_model_dir"),
        ({"whisper_model_dir": "/models/small", "whisper_threads": 0}, "whisper_threads must be above 0"),
        ({"provider": "openai"}, "SpeechConfig.model"),
        ({"provider": "openai", "model": ""}, "SpeechConfig.model"),
        ({"base_url": "http://127.0.0.1/v1"}, "SpeechConfig.provider to 'openai'"),
        ({"api_key": "sk-x"}, "SpeechConfig.provider to 'openai'"),
        ({"model": "some-model"}, "SpeechConfig.provider to 'openai'"),
        ({**HOSTED, "max_upload_bytes": 0}, "max_upload_bytes must be above 0"),
        ({**HOSTED, "request_timeout_s": 0}, "request_timeout_s must be above 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_when_the_processor_is_made(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        processor_spec(ProcessorConfig(speech=SpeechConfig(**settings)))


def test_the_key_is_never_shown():
    config = SpeechConfig(**HOSTED, api_key="sk-Canary0123")

    assert "Canary" not in repr(config)
    assert "Canary" not in repr(open_hosted(config, {}, TODAY))


@pytest.mark.parametrize(
    ("settings", "environ", "says"),
    [
        ({}, {}, "OPENAI_API_KEY"),
        ({"api_key": "two words"}, {}, "key"),
        ({"api_key": "sk-x", "base_url": "ftp://127.0.0.1"}, {}, "base_url"),
        ({"base_url": "http://user:pass@127.0.0.1/v1"}, {}, "password"),
    ],
)
def test_a_key_or_address_that_cannot_be_used_is_named(settings, environ, says):
    with pytest.raises(ConfigurationError, match=says):
        open_hosted(SpeechConfig(**HOSTED, **settings), environ, TODAY)


@pytest.mark.parametrize("environ", [{"OPENAI_API_KEY": "sk-x"}, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}])
def test_once_it_is_chosen_key_and_address_may_come_from_the_environment(environ):
    assert open_hosted(SpeechConfig(**HOSTED), environ, TODAY).model == "some-model"


def test_a_model_that_its_vendor_switched_off_is_refused_there_and_nowhere_else(caplog):
    config = SpeechConfig(provider="openai", model="whisper-1", api_key="sk-x")
    own = SpeechConfig(provider="openai", model="whisper-1", base_url="http://127.0.0.1:9/v1")

    with caplog.at_level(logging.WARNING):
        open_hosted(own, {}, date(2030, 1, 1))
        assert caplog.text == ""
        open_hosted(config, {}, date(2027, 2, 25))
        assert "2027-02-26" in caplog.text
    with pytest.raises(PermanentError, match="2027-02-26"):
        open_hosted(config, {}, date(2027, 2, 26))


def test_a_recogniser_that_runs_here_travels_as_its_settings():
    spec = processor_spec(ProcessorConfig(speech=SpeechConfig(whisper_model_dir="/models/small")))

    again = pickle.loads(pickle.dumps(spec.func))  # noqa: S301 - our own bytes
    assert again.keywords == spec.func.keywords


# Languages


@pytest.mark.parametrize(
    ("tag", "languages", "means"),
    [
        (None, ("en",), None),
        ("EN", ("en", "en-US"), "en"),
        ("en-us", ("en", "en-US"), "en-US"),
        ("de-AT", ("en", "de"), "de"),
        ("DE", ("en", "de"), "de"),
        ("zh-Hant-TW", None, "zh-Hant-TW"),
        ("tl", None, "tl"),
    ],
)
def test_a_language_is_found_by_its_tag(tag, languages, means):
    assert read_language({"language": tag}, languages) == means


@pytest.mark.parametrize(
    ("tag", "languages"),
    [("de", ("en", "en-US")), ("en-GB", ("en", "en-US")), ("xx", ("en", "de")), ("", ("en",)), (3, ("en",))],
)
def test_a_language_that_is_not_known_is_refused_with_those_that_are(tag, languages):
    with pytest.raises(InvalidPayloadError, match=f"must be one of {', '.join(map(repr, languages))}"):
        read_language({"language": tag}, languages)


@pytest.mark.parametrize("tag", ["", "english!", "e", "en_US", "en-", 3, b"en", "en-" + "x" * 100, "ｅｎ", "en\n"])
def test_what_is_no_tag_is_refused_where_the_languages_are_not_known(tag):
    with pytest.raises(InvalidPayloadError, match="a language tag such as 'en'"):
        read_language({"language": tag}, None)


def test_a_request_is_read_without_any_library():
    config = SpeechConfig(whisper_model_dir="/no/such/folder")

    request = read_request({"audio_data": bytes(100), "sample_rate": 16_000, "language": "de"}, config)

    assert (request.language, request.source.sample_rate) == ("de", 16_000)


@pytest.mark.parametrize("settings", [{}, {"whisper_model_dir": "/models/small"}, HOSTED])
def test_a_request_is_refused_as_the_one_who_recognises_would(settings):
    config = SpeechConfig(**settings)
    m4a = {"audio_data": b"\0\0\0\x20ftypM4A " + bytes(100)}

    with pytest.raises(InvalidPayloadError, match="audio_data"):
        read_request({}, config)
    if settings == HOSTED:
        assert read_request({**m4a, "language": "de"}, config).file_name == "recording.m4a"
    else:
        with pytest.raises(InvalidPayloadError, match="is m4a"):
            read_request(m4a, config)


# Readiness


async def test_pocketsphinx_is_ready_and_says_what_would_be_better():
    readiness = await processor_spec(ProcessorConfig()).readiness()

    assert (readiness.provider, readiness.offline, readiness.problem) == ("pocketsphinx", True, None)
    assert "whisper_model_dir" in readiness.remarks[0]


async def test_a_model_that_is_not_there_is_told_before_the_first_task():
    spec = processor_spec(ProcessorConfig(speech=SpeechConfig(whisper_model_dir="/no/such/folder")))

    readiness = await spec.readiness()

    assert readiness.provider == "faster-whisper"
    assert "no folder '/no/such/folder'" in readiness.problem


def test_making_a_recogniser_loads_nothing():
    assert open_local(SpeechConfig(whisper_model_dir=f"{os.sep}no")).provider == "faster-whisper"
