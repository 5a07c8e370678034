"""Who answers, and with which model."""

from __future__ import annotations

from datetime import date

import pytest

from async_processor.config import AIConfig
from async_processor.errors import ConfigurationError, PermanentError
from async_processor.processors.ai_response import choose_model
from async_processor.processors.chat_providers import NO_KEY, Endpoint, choose
from async_processor.processors.model_names import ending_model

KEY = "sk-Canary0123"
TODAY = date(2026, 11, 24)
OPENAI = Endpoint(provider="openai", api_key=KEY)
ANTHROPIC = Endpoint(provider="anthropic", api_key=KEY)
OWN_SERVER = Endpoint(provider="openai", base_url="http://127.0.0.1:11434/v1")
SCRIPTED = Endpoint(provider="scripted")
NOBODY = Endpoint(provider="scripted", for_want_of_another=True)


@pytest.mark.parametrize(
    ("settings", "environ", "provider", "base_url", "key"),
    [
        ({}, {}, "scripted", None, ""),
        ({}, {"OPENAI_API_KEY": "a"}, "openai", None, "a"),
        ({}, {"OPENAI_API_KEY": ""}, "scripted", None, ""),
        ({}, {"OPENAI_API_KEY": "a", "OPENAI_BASE_URL": "http://x/v1"}, "openai", "http://x/v1", "a"),
        ({}, {"OPENAI_BASE_URL": "http://x/v1"}, "openai", "http://x/v1", NO_KEY),
        ({}, {"ANTHROPIC_API_KEY": "b"}, "anthropic", None, "b"),
        ({}, {"ANTHROPIC_API_KEY": "b", "ANTHROPIC_BASE_URL": "http://y"}, "anthropic", "http://y", "b"),
        ({}, {"ANTHROPIC_API_KEY": "b", "OPENAI_API_KEY": "a"}, "openai", None, "a"),
        ({"base_url": "http://x/v1"}, {}, "openai", "http://x/v1", NO_KEY),
        ({"base_url": "http://x/v1", "api_key": "c"}, {"OPENAI_API_KEY": "a"}, "openai", "http://x/v1", "c"),
        ({"provider": "anthropic"}, {"ANTHROPIC_API_KEY": "b", "OPENAI_API_KEY": "a"}, "anthropic", None, "b"),
        ({"provider": "anthropic", "api_key": "c"}, {}, "anthropic", None, "c"),
        ({"provider": "openai", "api_key": "c"}, {}, "openai", None, "c"),
        ({"provider": "openai", "api_key": " c\n"}, {}, "openai", None, "c"),
        ({"provider": "scripted", "api_key": "c"}, {"OPENAI_API_KEY": "a"}, "scripted", None, ""),
    ],
)
def test_settings_go_before_the_environment_and_that_before_the_script(settings, environ, provider, base_url, key):
    chosen = choose(AIConfig(**settings), environ)

    assert (chosen.provider, chosen.base_url, chosen.api_key) == (provider, base_url, key)
    assert chosen.for_want_of_another is (provider == "scripted" and "provider" not in settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"provider": "openai"}, "OPENAI_API_KEY"),
        ({"provider": "anthropic"}, "ANTHROPIC_API_KEY"),
        ({"provider": "anthropic", "base_url": "http://x"}, "ANTHROPIC_API_KEY"),
        ({"api_key": KEY}, "AIConfig.provider"),
        ({"provider": "openai", "api_key": f"{KEY}\nX-Evil: 1"}, "characters"),
        ({"provider": "openai", "api_key": f"{KEY}é"}, "characters"),
        ({"provider": "openai", "api_key": "  "}, "empty"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": "x"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://x:port"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://x/v1\n"}, "base_url"),
        ({"base_url": f"http://user:{KEY}@x/v1"}, "password"),
        ({"base_url": f"http://x/v1?key={KEY}"}, "parameters"),
    ],
)
def test_what_cannot_be_used_is_named_without_the_key(settings, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        choose(AIConfig(**settings), {})

    assert KEY not in str(caught.value)


def test_no_key_is_shown_by_an_endpoint():
    assert KEY not in repr(OPENAI)


@pytest.mark.parametrize(
    ("endpoint", "at_vendor"),
    [
        (OPENAI, True),
        (ANTHROPIC, True),
        (SCRIPTED, False),
        (OWN_SERVER, False),
        (Endpoint(provider="openai", base_url="https://eu.api.openai.com/v1"), True),
        (Endpoint(provider="openai", base_url="https://api.openai.com.evil.example/v1"), False),
        (Endpoint(provider="openai", base_url="https://notopenai.com/v1"), False),
    ],
)
def test_the_vendors_own_service_is_told_by_its_host(endpoint, at_vendor):
    assert endpoint.at_vendor is at_vendor


# Models


def test_the_payloads_wish_goes_before_the_configured_model():
    assert choose_model("wish", "configured", OPENAI, TODAY) == ("wish", ())
    assert choose_model(None, "configured", OPENAI, TODAY) == ("configured", ())


def test_without_a_name_a_hosted_model_cannot_be_asked_and_none_is_made_up():
    with pytest.raises(ConfigurationError, match="ASYNC_PROCESSOR_AI_MODEL"):
        choose_model(None, None, ANTHROPIC, TODAY)


def test_a_model_that_was_switched_off_is_refused_before_it_is_sent():
    with pytest.raises(PermanentError, match=r"2026-10-23.*AIConfig\.model"):
        choose_model("gpt-3.5-turbo", None, OPENAI, TODAY)
    with pytest.raises(PermanentError, match="2026-10-23"):
        choose_model("gpt-3.5-turbo", "gpt-4", OPENAI, TODAY)
    with pytest.raises(PermanentError, match="2026-10-23"):
        choose_model(None, "gpt-4", OPENAI, TODAY)


def test_a_model_that_was_switched_off_gives_way_to_the_configured_one_with_a_warning():
    for endpoint in (OPENAI, OWN_SERVER):
        model, (warning,) = choose_model("gpt-3.5-turbo", "configured", endpoint, TODAY)

        assert model == "configured"
        assert "gpt-3.5-turbo" in warning
        assert "configured" in warning


def test_a_server_of_ones_own_may_give_any_name_to_its_model():
    assert choose_model("gpt-3.5-turbo", None, OWN_SERVER, TODAY) == ("gpt-3.5-turbo", ())


def test_a_model_with_an_end_to_come_is_asked_with_a_warning():
    model, (warning,) = choose_model("gpt-5", None, OPENAI, TODAY)

    assert model == "gpt-5"
    assert "will be switched off by its vendor on 2026-12-11" in warning
    assert choose_model("gpt-3.5-turbo", None, OPENAI, date(2026, 10, 22))[0] == "gpt-3.5-turbo"


def test_the_script_has_no_model_and_says_which_was_asked_for():
    assert choose_model(None, None, SCRIPTED, TODAY) == (None, ())

    model, warnings = choose_model("some-model", None, SCRIPTED, TODAY)
    assert model is None
    assert ["some-model" in warning for warning in warnings] == [True]

    _, warnings = choose_model("gpt-3.5-turbo", None, SCRIPTED, TODAY)
    assert "was switched off" in warnings[1]


@pytest.mark.parametrize(
    ("wished", "configured"),
    [("some-model", None), (None, "some-model"), ("some-model", "gpt-3.5-turbo"), ("gpt-3.5-turbo", "some-model")],
)
def test_where_nobody_has_models_one_that_can_be_had_is_not_replaced_by_the_script(wished, configured):
    with pytest.raises(ConfigurationError, match=r"'some-model'.*OPENAI_API_KEY.*AIConfig\.provider to 'scripted'"):
        choose_model(wished, configured, NOBODY, TODAY)


def test_where_nobody_has_models_the_script_answers_for_one_that_was_switched_off_or_for_none():
    assert choose_model(None, None, NOBODY, TODAY) == (None, ())
    assert choose_model("gpt-3.5-turbo", None, NOBODY, TODAY) == choose_model("gpt-3.5-turbo", None, SCRIPTED, TODAY)
    assert choose_model(None, "gpt-3.5-turbo", NOBODY, TODAY)[0] is None


@pytest.mark.parametrize(
    ("name", "kind", "ends"),
    [
        ("gpt-3.5-turbo", "chat", date(2026, 10, 23)),
        (" GPT-3.5-Turbo ", "chat", date(2026, 10, 23)),
        ("dall-e-3", "image", date(2026, 5, 12)),
        ("gpt-image-1", "image", date(2026, 10, 23)),
        ("whisper-1", "transcription", date(2027, 2, 26)),
        ("tts-1", "speech", date(2027, 1, 6)),
    ],
)
def test_the_table_knows_when_a_name_ends_and_what_kind_must_follow(name, kind, ends):
    found = ending_model(name)

    assert (found.kind, found.ends) == (kind, ends)
    assert f"a current {kind} model" in found.notice(TODAY)


def test_a_name_that_is_not_in_the_table_has_no_end():
    assert ending_model("llama3") is None
    assert ending_model("") is None
