"""What a payload asks for, who makes it, and by which model."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.config import ImageGenerationConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError, PermanentError
from async_processor.processors.addresses import NO_KEY
from async_processor.processors.picture_providers import choose, choose_model
from async_processor.processors.picture_request import PictureRequest, PictureSource, read_request

KEY = "sk-Canary0123"
TODAY = date(2026, 11, 24)
SETTINGS = ImageGenerationConfig()


# ---- the payload


def test_a_prompt_alone_is_enough():
    assert read_request({"prompt": "  a bear "}, SETTINGS) == PictureRequest(prompt="a bear")


@pytest.mark.parametrize(
    "size", [{"size": "640x480"}, {"size": " 640 X 480"}, {"width": 640, "height": 480.0}, {"size": "640×480"}]
)
def test_a_size_is_a_text_or_two_numbers(size: dict):
    wanted = read_request({"prompt": "a bear", **size}, SETTINGS)

    assert (wanted.width, wanted.height) == (640, 480)


def test_every_wish_is_read():
    payload = {
        "prompt": "a bear", "negative_prompt": "rain", "model": " m ", "seed": 2**32 - 1, "steps": 20,
        "guidance_scale": 7.5, "quality": "High", "child_id": "c1", "style": "vivid",
    }  # fmt: skip

    assert read_request(payload, SETTINGS) == PictureRequest(
        prompt="a bear", negative_prompt="rain", model="m", seed=2**32 - 1, steps=20, guidance_scale=7.5, quality="high"
    )


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 4_001}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "a", "size": "big"}, "size"),
        ({"prompt": "a", "size": "0x5"}, "size"),
        ({"prompt": "a", "size": "100000x100000"}, "size"),
        ({"prompt": "a", "size": "4096x4096"}, "size"),
        ({"prompt": "a", "size": 512}, "size"),
        ({"prompt": "a", "size": "64x64", "width": 64}, "size"),
        ({"prompt": "a", "width": 64}, "height"),
        ({"prompt": "a", "height": 64}, "width"),
        ({"prompt": "a", "width": 4_096, "height": 4_096}, "width"),
        ({"prompt": "a", "width": float("nan"), "height": 5}, "width"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "seed": 2**32}, "seed"),
        ({"prompt": "a", "steps": 0}, "steps"),
        ({"prompt": "a", "steps": 10**9}, "steps"),
        ({"prompt": "a", "guidance_scale": -1}, "guidance_scale"),
        ({"prompt": "a", "quality": "hd"}, "quality"),
        ({"prompt": "a", "model": 3}, "model"),
        ({"prompt": "a", "model": "m" * 201}, "model"),
    ],
)
def test_what_cannot_be_asked_for_is_named(payload: dict, field: str):
    with pytest.raises(InvalidPayloadError) as caught:
        read_request(payload, SETTINGS)

    assert caught.value.field == field
    assert "must be" in str(caught.value) or "send" in str(caught.value)


JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9) | st.just([])
)
FIELDS = ("prompt", "negative_prompt", "size", "width", "height", "model", "seed", "steps", "guidance_scale", "quality")


@given(st.fixed_dictionaries({"prompt": st.just("a bear") | JUNK}, optional=dict.fromkeys(FIELDS[1:], JUNK)))
def test_any_payload_is_a_request_or_refused(payload: dict):
    # B21
    try:
        wanted = read_request(payload, SETTINGS)
    except InvalidPayloadError as error:
        refusal = error
    else:
        assert wanted.prompt
        return
    assert refusal.field in FIELDS


def test_wishes_that_a_provider_does_not_take_are_told():
    wanted = read_request({"prompt": "a", "seed": 0, "steps": 5, "quality": "low"}, SETTINGS)

    assert wanted.unused({"quality"}, "openai") == [
        "provider 'openai' takes no 'seed': it was left out",
        "provider 'openai' takes no 'steps': it was left out",
    ]


# ---- who makes it


@pytest.mark.parametrize(
    ("settings", "environ", "provider", "base_url", "key"),
    [
        ({}, {}, "procedural", None, ""),
        ({}, {"OPENAI_API_KEY": "a"}, "openai", None, "a"),
        ({}, {"OPENAI_API_KEY": ""}, "procedural", None, ""),
        ({}, {"OPENAI_BASE_URL": "http://x/v1"}, "procedural", None, ""),
        ({}, {"ANTHROPIC_API_KEY": "a"}, "procedural", None, ""),
        ({}, {"OPENAI_API_KEY": "a", "OPENAI_BASE_URL": "http://x/v1"}, "openai", "http://x/v1", "a"),
        ({"base_url": "http://y"}, {}, "openai", "http://y", NO_KEY),
        ({"api_key": "b"}, {"OPENAI_API_KEY": "a"}, "openai", None, "b"),
        ({"model_directory": "/m"}, {"OPENAI_API_KEY": "a"}, "diffusers", None, ""),
        ({"provider": "openai"}, {"OPENAI_BASE_URL": "http://x/v1"}, "openai", "http://x/v1", NO_KEY),
        ({"provider": "a1111", "base_url": "http://y"}, {"OPENAI_API_KEY": "a"}, "a1111", "http://y", ""),
        ({"provider": "a1111", "base_url": "http://y", "api_key": "u:p"}, {}, "a1111", "http://y", "u:p"),
        ({"provider": "procedural", "base_url": "http://y"}, {"OPENAI_API_KEY": "a"}, "procedural", None, ""),
    ],
)
def test_settings_go_before_the_environment_and_that_before_a_drawing(settings, environ, provider, base_url, key):
    source = choose(ImageGenerationConfig(**settings), environ)

    assert (source.provider, source.base_url, source.api_key) == (provider, base_url, key)
    assert source.directory == ("/m" if provider == "diffusers" else "")
    assert source.for_want_of_another is (provider == "procedural" and "provider" not in settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"provider": "openai"}, "OPENAI_API_KEY"),
        ({"provider": "a1111"}, "ImageGenerationConfig.base_url"),
        ({"provider": "a1111", "base_url": "http://x", "api_key": KEY}, "user:password"),
        ({"provider": "diffusers"}, "ImageGenerationConfig.model_directory"),
        ({"base_url": f"http://user:{KEY}@x"}, "ImageGenerationConfig.api_key"),
        ({"base_url": "file:///etc/passwd"}, "base_url"),
        ({"api_key": f"{KEY}\n\nX: 1"}, "characters"),
    ],
)
def test_what_cannot_be_used_is_named_without_the_key(settings, says):
    with pytest.raises(ConfigurationError) as caught:
        choose(ImageGenerationConfig(**settings), {})

    assert says in str(caught.value)
    assert KEY not in str(caught.value)


# ---- by which model

NOBODY = PictureSource(provider="procedural", for_want_of_another=True)
DRAWING = PictureSource(provider="procedural")
VENDOR = PictureSource(provider="openai", api_key=KEY)
OWN = PictureSource(provider="openai", base_url="http://127.0.0.1:1/v1")
WEBUI = PictureSource(provider="a1111", base_url="http://127.0.0.1:1")
LOCAL = PictureSource(provider="diffusers", directory="/models/tiny")


def chosen(wished: str | None, configured: str | None, source: PictureSource):
    return choose_model(wished, ImageGenerationConfig(model=configured), source, TODAY)


def test_a_model_that_is_there_is_asked():
    for source in (VENDOR, OWN, WEBUI):
        assert chosen("gpt-image-2", None, source) == chosen(None, "gpt-image-2", source) == ("gpt-image-2", ())


def test_a_web_ui_needs_no_name_because_it_has_a_model_loaded():
    assert chosen(None, None, WEBUI) == (None, ())


def test_a_server_of_openai_protocol_needs_a_name():
    with pytest.raises(ConfigurationError, match="ASYNC_PROCESSOR_IMAGE_GENERATION_MODEL"):
        chosen(None, None, VENDOR)


@pytest.mark.parametrize("name", ["dall-e-3", "DALL-E-2", "gpt-image-1"])
def test_a_model_that_was_switched_off(name: str):
    assert chosen(name, None, OWN) == (name, ())
    with pytest.raises(PermanentError, match="was switched off by its vendor on 2026-"):
        chosen(name, None, VENDOR)
    model, (warning,) = chosen(name, "gpt-image-2", VENDOR)
    assert (model, "used 'gpt-image-2'" in warning) == ("gpt-image-2", True)
    for source in (NOBODY, DRAWING):
        model, (drawn, ended) = chosen(name, None, source)
        assert model is None
        assert "this is a drawing" in drawn
        assert "was switched off" in ended
    model, (warning,) = chosen(name, None, LOCAL)
    assert (model, "used the local 'tiny'" in warning) == ("tiny", True)


def test_a_drawing_takes_the_place_of_no_model_that_can_be_had():
    with pytest.raises(ConfigurationError, match="'gpt-image-2' was asked for, but no provider is configured"):
        chosen("gpt-image-2", None, NOBODY)
    with pytest.raises(ConfigurationError, match="'gpt-image-2'"):
        chosen("dall-e-3", "gpt-image-2", NOBODY)
    assert "this is a drawing" in chosen("gpt-image-2", None, DRAWING)[1][0]
    assert chosen(None, None, NOBODY) == (None, ())


def test_a_local_model_has_one_name():
    assert chosen(None, None, LOCAL) == chosen("tiny", None, LOCAL) == ("tiny", ())
    assert chosen("mine", "mine", LOCAL) == ("mine", ())
    with pytest.raises(ConfigurationError, match="holds 'tiny'"):
        chosen("gpt-image-2", None, LOCAL)
