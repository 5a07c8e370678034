"""Settings: checked on construction, frozen, and readable from the environment."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import fields

import pytest

from async_processor.config import AIConfig, NotifyConfig, ProcessorConfig, SpeechConfig
from async_processor.errors import ConfigurationError

ALL = (
    ProcessorConfig,
    *(item.default_factory for item in fields(ProcessorConfig) if dataclasses.is_dataclass(item.default_factory)),
)
NUMBERS = [
    pytest.param(owner, item.name, id=f"{owner.__name__}.{item.name}")
    for owner in ALL
    for item in fields(owner)
    if item.type in ("int", "float")
]


def test_the_defaults_can_be_used():
    for owner in ALL:
        owner()


def test_settings_cannot_be_changed():
    config = ProcessorConfig()

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_results = 5  # type: ignore[misc]


def test_there_are_no_settings_by_position_nor_by_another_name():
    with pytest.raises(TypeError):
        ProcessorConfig(1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="max_result"):
        ProcessorConfig(max_result=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(("owner", "name"), NUMBERS)
@pytest.mark.parametrize(
    "value", [-1, -0.5, float("nan"), float("inf"), 10**400, "5", True, None, [1]], ids=lambda value: repr(value)[:9]
)
def test_a_number_that_cannot_be_used_is_refused_and_named(owner: type[ProcessorConfig], name: str, value: object):
    with pytest.raises(ConfigurationError, match=f"{owner.__name__}.{name} must be"):
        owner(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("owner", "name"), NUMBERS)
def test_nothing_is_a_number_too(owner: type[ProcessorConfig], name: str):
    assert getattr(owner(**{name: 0}), name) == 0  # type: ignore[arg-type]


def test_a_whole_number_will_do_for_seconds_but_no_fraction_for_a_count():
    assert ProcessorConfig(max_wait_s=5).max_wait_s == 5
    with pytest.raises(ConfigurationError, match="max_results must be int, not float"):
        ProcessorConfig(max_results=5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["fork", "", "SPAWN", None, 7])
def test_a_choice_that_is_none_is_refused_with_those_there_are(value: object):
    with pytest.raises(ConfigurationError, match="start_method must be one of forkserver, spawn, not"):
        ProcessorConfig(start_method=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [7, b"key", ["a"], True])
def test_a_text_must_be_one(value: object):
    with pytest.raises(ConfigurationError, match="api_key must be str or NoneType, not"):
        AIConfig(api_key=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, {}, AIConfig()])
def test_settings_within_settings_must_be_of_their_kind(value: object):
    with pytest.raises(ConfigurationError, match="speech must be SpeechConfig, not"):
        ProcessorConfig(speech=value)  # type: ignore[arg-type]


def test_a_key_is_never_shown():
    config = ProcessorConfig(ai=AIConfig(api_key="secret-key"))

    assert "secret-key" not in f"{config!r} {config} {config.ai!r}"


# ---- the environment


def test_an_empty_environment_gives_the_defaults():
    assert ProcessorConfig.from_env({}) == ProcessorConfig()


def test_every_variable_that_is_set_replaces_its_field():
    environ = {
        "ASYNC_PROCESSOR_MAX_RESULTS": "5",
        "ASYNC_PROCESSOR_MAX_WAIT_S": "2.5",
        "ASYNC_PROCESSOR_START_METHOD": "spawn",
        "ASYNC_PROCESSOR_SPEECH_MAX_AUDIO_S": "30",
        "ASYNC_PROCESSOR_AI_MODEL": "my-model",
        "ASYNC_PROCESSOR_AI_BASE_URL": "",
        "ASYNC_PROCESSOR_AI_PROVIDER": "scripted",
        "ASYNC_PROCESSOR_UNKNOWN": "kept for others",
        "MAX_RESULTS": "7",
    }

    assert ProcessorConfig.from_env(environ) == ProcessorConfig(
        max_results=5,
        max_wait_s=2.5,
        start_method="spawn",
        speech=SpeechConfig(max_audio_s=30.0),
        ai=AIConfig(model="my-model", base_url=None, provider="scripted"),
    )


@pytest.mark.parametrize("owner", ALL)
def test_every_field_can_be_read_from_its_variable(owner: type[ProcessorConfig]):
    written = {
        f"X_{item.name.upper()}": "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)
        for item in fields(owner)
        for value in [getattr(owner(), item.name)]
        if not dataclasses.is_dataclass(value)
    }

    assert owner.from_env(written, prefix="X_") == owner()


def test_the_environment_of_the_process_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASYNC_PROCESSOR_MAX_RESULTS", "5")
    monkeypatch.setenv("ASYNC_PROCESSOR_AI_MAX_TOKENS", "7")

    config = ProcessorConfig.from_env()

    assert (config.max_results, config.ai.max_tokens) == (5, 7)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("MAX_RESULTS", "many"), ("MAX_RESULTS", ""), ("MAX_RESULTS", "1.5"), ("MAX_WAIT_S", "soon"), ("MAX_WAIT_S", "")],
)
def test_a_variable_that_is_no_number_is_refused_and_named(variable: str, text: str):
    with pytest.raises(ConfigurationError, match=f"ASYNC_PROCESSOR_{variable} must be a number, not '{text}'"):
        ProcessorConfig.from_env({f"ASYNC_PROCESSOR_{variable}": text})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("Yes", True),
        (" on ", True),
        ("1", True),
        ("FALSE", False),
        ("no", False),
        ("off", False),
        ("0", False),
    ],
)
def test_a_switch_is_read_from_the_usual_words(text: str, value: bool):
    assert NotifyConfig.from_env({"X_RETRY_UNKNOWN": text}, prefix="X_").retry_unknown is value


@pytest.mark.parametrize("text", ["", "maybe", "2", "None"])
def test_a_switch_in_another_word_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="X_RETRY_UNKNOWN must be one of true, false"):
        NotifyConfig.from_env({"X_RETRY_UNKNOWN": text}, prefix="X_")


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_switch_must_be_one(value: object):
    with pytest.raises(ConfigurationError, match="retry_unknown must be bool"):
        NotifyConfig(retry_unknown=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, [], {"a": 1}, {1: "a"}, "json://x"])
def test_channels_must_be_names_and_addresses(value: object):
    with pytest.raises(ConfigurationError, match="channels must be a mapping of names to texts"):
        NotifyConfig(channels=value)  # type: ignore[arg-type]


def test_channels_in_the_environment_are_a_json_object_and_never_repeated():
    assert NotifyConfig.from_env({"X_CHANNELS": '{"a": "json://h"}'}, prefix="X_").channels == {"a": "json://h"}
    with pytest.raises(ConfigurationError, match="X_CHANNELS must be a JSON object") as caught:
        NotifyConfig.from_env({"X_CHANNELS": "smtp://bear:hunter2@h"}, prefix="X_")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e999"])
def test_a_variable_is_checked_like_any_setting(text: str):
    with pytest.raises(ConfigurationError, match="max_wait_s must be a finite number of 0 or more"):
        ProcessorConfig.from_env({"ASYNC_PROCESSOR_MAX_WAIT_S": text})


def test_a_variable_with_a_wrong_choice_is_refused():
    with pytest.raises(ConfigurationError, match="start_method must be one of"):
        ProcessorConfig.from_env({"ASYNC_PROCESSOR_START_METHOD": "fork"})
