"""Who speaks: from the settings to a synthesiser."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

import pytest

from async_processor.config import ProcessorConfig, SpeechConfig
from async_processor.errors import ConfigurationError, PermanentError, ProcessorNotAvailableError
from async_processor.processors.provider_registry import BUILT_IN, ProviderKind
from async_processor.processors.speech_programs import PROGRAMS, InstalledProgram
from async_processor.processors.spoken_answer import processor_spec
from async_processor.processors.synthesizers import open_synthesizer

TODAY = date(2026, 11, 27)
HOSTED = {"synthesizer": "openai", "synthesizer_model": "some-model", "synthesizer_voice": "alloy"}
OWN = "http://127.0.0.1:9/v1"


def opened(environ: dict[str, str] | None = None, today: date = TODAY, **settings: Any) -> Any:
    return open_synthesizer(SpeechConfig(**settings), environ or {}, today)


def test_a_key_in_the_environment_is_no_consent_to_send_a_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-there-for-something-else")
    monkeypatch.setenv("OPENAI_BASE_URL", OWN)
    config = ProcessorConfig.from_env()

    chosen = open_synthesizer(config.speech, {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": OWN}, TODAY)

    assert isinstance(chosen, InstalledProgram)
    assert chosen.offline


@pytest.mark.parametrize("provider", ["auto", "openai", "pocketsphinx"])
def test_who_hears_says_nothing_about_who_speaks(provider: str):
    assert isinstance(opened(provider=provider, model="m", base_url=OWN, api_key="sk-x"), InstalledProgram)


def test_every_program_can_be_chosen_by_its_name():
    names = [item.name for item in PROGRAMS]

    assert [opened(synthesizer=name).provider for name in names] == names
    assert {"auto", "openai", *names} == set(BUILT_IN[ProviderKind.TEXT_TO_SPEECH])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"synthesizer": "openai"}, "needs the name of a model: set SpeechConfig.synthesizer_model"),
        ({**HOSTED, "synthesizer_model": ""}, "SpeechConfig.synthesizer_model"),
        ({**HOSTED, "synthesizer_voice": None}, "needs the name of a voice: set SpeechConfig.synthesizer_voice"),
        ({"synthesizer_model": "some-model"}, "SpeechConfig.synthesizer to 'openai'"),
        ({"synthesizer_base_url": OWN}, "SpeechConfig.synthesizer_base_url is set, but nothing says that text may"),
        ({"synthesizer": "flite", "synthesizer_api_key": "sk-Canary"}, "SpeechConfig.synthesizer_api_key is set"),
        ({"synthesizer_voice": "nobody"}, "there is no voice 'nobody'; known are slt, .*, en-us"),
        ({"synthesizer": "flite", "synthesizer_voice": "en-us"}, "there is no voice 'en-us'; known are slt"),
        ({"synthesizer": "espeak-ng", "synthesizer_voice": "slt"}, "there is no voice 'slt'"),
        ({"synthesizer_voice": "/etc/passwd"}, "there is no voice"),
        ({"synthesizer_voice": "http://127.0.0.1/voice"}, "there is no voice"),
        ({"synthesizer_voice": ""}, "there is no voice"),
        ({**HOSTED, "synthesizer_timeout_s": 0}, "synthesizer_timeout_s must be above 0"),
        ({**HOSTED, "max_speech_bytes": 0}, "max_speech_bytes must be above 0"),
        ({"synthesizer": "mine", "max_speech_bytes": 0}, "max_speech_bytes must be above 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_when_the_processor_is_made(settings: Any, says: str):
    with pytest.raises(ConfigurationError, match=says) as caught:
        processor_spec(ProcessorConfig(speech=SpeechConfig(**settings)))
    assert "Canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "environ", "says"),
    [
        ({}, {}, "OPENAI_API_KEY or SpeechConfig.synthesizer_api_key"),
        ({}, {"OPENAI_API_KEY": ""}, "OPENAI_API_KEY"),
        ({"synthesizer_api_key": "two words"}, {}, "key"),
        ({"synthesizer_base_url": "ftp://127.0.0.1"}, {}, "synthesizer_base_url must be an address"),
        ({"synthesizer_base_url": "http://u:p@127.0.0.1/v1"}, {}, "give a key as SpeechConfig.synthesizer_api_key"),
        ({}, {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "file:///etc/passwd"}, "base_url"),
    ],
)  # fmt: skip
def test_a_key_or_address_that_cannot_be_used_is_named(settings: Any, environ: dict[str, str], says: str):
    with pytest.raises(ConfigurationError, match=says):
        opened(environ, **HOSTED, **settings)


@pytest.mark.parametrize("environ", [{"OPENAI_API_KEY": "sk-x"}, {"OPENAI_BASE_URL": OWN}])
def test_once_it_is_chosen_key_and_address_may_come_from_the_environment(environ: dict[str, str]):
    found = opened(environ, **HOSTED)

    assert (found.provider, found.model, found.offline) == ("openai", "some-model", False)


def test_the_key_is_never_shown():
    config = SpeechConfig(**HOSTED, synthesizer_api_key="sk-Canary0123")

    assert "Canary" not in repr(config)
    assert "Canary" not in repr(open_synthesizer(config, {}, TODAY))


def test_a_model_that_its_vendor_switched_off_is_refused_there_and_nowhere_else(caplog: pytest.LogCaptureFixture):
    ending = {**HOSTED, "synthesizer_model": "tts-1"}
    key = {"OPENAI_API_KEY": "sk-x"}

    with caplog.at_level(logging.WARNING):
        opened(today=date(2030, 1, 1), synthesizer_base_url=OWN, **ending)
        assert caplog.text == ""
        opened(key, date(2027, 1, 5), **ending)
        assert "2027-01-06" in caplog.text
    with pytest.raises(PermanentError, match="2027-01-06"):
        opened(key, date(2027, 1, 6), **ending)


# ---- the programs


class Program:
    name, voices = "robot", ("low", "high")

    def __init__(self, *, installed: bool = True) -> None:
        self.installed = installed
        self.said: list[tuple[str, str]] = []

    def available(self) -> bool:
        return self.installed

    async def speak(self, text: str, voice: str) -> bytes:
        self.said.append((text, voice))
        return b"RIFF"


async def test_the_first_program_that_is_installed_and_has_the_voice_speaks():
    missing, first, second = Program(installed=False), Program(), Program()

    chosen = InstalledProgram([missing, first, second], "high")
    await chosen.check()
    spoken = await chosen.speak("Hello — “Teddy”")

    assert spoken is not None
    assert (spoken.wav, spoken.voice, chosen.provider) == (b"RIFF", "high", "robot")
    assert (first.said, second.said) == ([('Hello , "Teddy"', "high")], [])


async def test_what_it_cannot_pronounce_is_not_spoken():
    program = Program()

    assert [await InstalledProgram([program]).speak(text) for text in ("", "你好", "😀", "...")] == [None] * 4
    assert program.said == []


async def test_without_a_program_it_says_what_to_install():
    chosen = InstalledProgram([Program(installed=False)])

    for call in (chosen.check(), chosen.speak("Hello")):
        with pytest.raises(ProcessorNotAvailableError, match=r"no offline synthesiser is installed; .* install robot"):
            await call
    assert chosen.provider == "robot"
