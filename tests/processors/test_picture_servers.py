"""Servers that make pictures, through their real clients, against one that does its worst."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.processors import pictures as make
from tests.processors.ai import server as act
from tests.processors.ai.test_hosted import everything_told

from async_processor.config import ImageConfig, ImageGenerationConfig
from async_processor.errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from async_processor.processors.picture_providers import open_generator
from async_processor.processors.picture_request import ImageGenerator, PictureRequest, PictureSource
from async_processor.testing.provider_contracts import image_generator_checks

PROVIDERS = ("openai", "a1111")
KEYS = {"openai": "sk-Canary0123456789abcdef", "a1111": "bear:Canary0123456789abcdef"}
WANTED = PictureRequest(
    prompt="a bear that waves", negative_prompt="rain", width=64, height=48, model="test-model", seed=5, steps=3,
    guidance_scale=7.0, quality="low",
)  # fmt: skip
PICTURE = make.saved(make.gradient(64, 48))


def shows(data: bytes | str = PICTURE, **more: Any) -> act.Behaviour:
    """Answer well, in the protocol that the path belongs to."""
    encoded = data if isinstance(data, str) else base64.b64encode(data).decode()

    async def behave(exchange: act.Exchange) -> None:
        path = exchange.received.path
        answer: Any = {"object": "list", "data": [{"id": "test-model"}]}
        if path.endswith("/images/generations"):
            answer = {"created": 1, "data": [{"b64_json": encoded}], **more}
        elif path.endswith("/txt2img"):
            answer = {"images": [encoded], "parameters": {}, "info": json.dumps({"seed": 77}), **more}
        await exchange.answer(200, json.dumps(answer).encode())

    return behave


@pytest.fixture
async def server():
    loopback = act.LoopbackServer(shows())
    await loopback.start()
    yield loopback
    await loopback.aclose()


def generator(provider: str, url: str, images: ImageConfig | None = None, **settings: Any) -> ImageGenerator:
    base_url = f"{url}/v1" if provider == "openai" else url
    source = PictureSource(provider=provider, base_url=base_url, api_key=KEYS[provider])
    config = ImageGenerationConfig(**{"request_timeout_s": 10.0, **settings})
    return open_generator(source, config, images or ImageConfig())


@pytest.fixture(params=PROVIDERS)
async def ask(request, server):
    """Ask a provider for one picture; the server's behaviour may be changed before, and the bounds given."""
    opened = []

    async def ask(behaviour=None, images: ImageConfig | None = None, **settings):
        if behaviour is not None:
            server.behaviour = behaviour
        if not opened or settings or images:
            opened.append(generator(request.param, server.base_url, images, **settings))
        return await opened[-1].generate(WANTED)

    ask.provider = request.param
    yield ask
    for item in opened:
        await item.aclose()


async def failure(awaitable) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await awaitable
    return caught.value


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", [check.name for check in image_generator_checks(lambda: generator("a1111", ""))])
async def test_a_server_s_generator_keeps_the_contract(server, provider, name):
    nowhere = "http://127.0.0.1:9"  # the discard port: nobody listens there
    checks = image_generator_checks(
        lambda: generator(provider, server.base_url), request=WANTED, broken=lambda: generator(provider, nowhere)
    )

    await {check.name: check for check in checks}[name]()


# ---- what is asked and what comes back


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_comes_back_as_it_was_sent(ask, form):
    data = make.saved(make.gradient(64, 48), form)

    picture = await ask(shows(data))

    assert (picture.data, picture.format, picture.width, picture.height) == (data, form, 64, 48)
    assert (picture.model, picture.seed) == ("test-model", 77 if ask.provider == "a1111" else None)


async def test_openai_is_asked_for_one_picture_and_no_response_format(server):
    opened = generator("openai", server.base_url)

    await opened.generate(WANTED)
    await opened.aclose()

    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/v1/images/generations")
    assert sent.json == {
        "model": "test-model", "prompt": "a bear that waves", "n": 1, "size": "64x48", "quality": "low",
    }  # fmt: skip
    assert sent.headers["authorization"] == f"Bearer {KEYS['openai']}"


async def test_a_web_ui_is_asked_for_one_picture_that_it_does_not_keep(server):
    opened = generator("a1111", f"{server.base_url}/")

    await opened.generate(WANTED)
    await opened.aclose()

    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/sdapi/v1/txt2img")
    assert sent.json == {
        "prompt": "a bear that waves", "negative_prompt": "rain", "width": 64, "height": 48, "seed": 5, "steps": 3,
        "cfg_scale": 7.0, "batch_size": 1, "n_iter": 1, "send_images": True, "save_images": False,
        "override_settings": {"sd_model_checkpoint": "test-model"},
    }  # fmt: skip
    assert sent.headers["authorization"] == f"Basic {base64.b64encode(KEYS['a1111'].encode()).decode()}"


async def test_what_is_not_wished_for_is_left_to_the_server(server):
    for provider in PROVIDERS:
        opened = generator(provider, server.base_url)
        await opened.generate(PictureRequest(prompt="a bear", model="m"))
        await opened.aclose()

    openai, web_ui = (received.json for received in server.received)
    assert openai == {"model": "m", "prompt": "a bear", "n": 1}
    assert web_ui.keys().isdisjoint({"width", "height", "seed", "steps", "cfg_scale", "negative_prompt"})


async def test_texts_in_a_picture_are_left_out_because_servers_write_the_prompt_there(ask):
    text = make.png_chunk(b"tEXt", b"parameters\0a bear that waves")
    origin = make.png_chunk(b"caBX", b"made by a machine")

    picture = await ask(shows(make.png(9, 9, text, origin)))

    assert picture.data == make.png(9, 9, origin)


async def test_a_picture_may_come_as_a_data_address(server):
    server.behaviour = shows("data:image/png;base64," + base64.b64encode(PICTURE).decode())
    opened = generator("a1111", server.base_url)

    assert (await opened.generate(WANTED)).data == PICTURE
    await opened.aclose()


@pytest.mark.parametrize(
    "info", [None, "junk", "{}", '{"seed": -1}', '{"seed": "x"}', "[" * 100_000, 5, {"seed": True}]
)
async def test_a_seed_that_the_server_does_not_tell_is_the_one_asked_for(server, info):
    server.behaviour = shows(info=info)
    opened = generator("a1111", server.base_url)

    assert (await opened.generate(WANTED)).seed == 5
    await opened.aclose()


async def test_check_asks_for_the_models(server):
    for provider in PROVIDERS:
        opened = generator(provider, server.base_url)
        await opened.check()
        await opened.aclose()

    assert [received.path for received in server.received] == ["/v1/models", "/sdapi/v1/sd-models"]


async def test_check_tells_of_refused_credentials(server):
    server.behaviour = act.refuses(401, "invalid_api_key")
    for provider in PROVIDERS:
        opened = generator(provider, server.base_url)
        assert type(await failure(opened.check())) is AuthenticationError
        await opened.aclose()


async def test_it_may_be_closed_twice_and_asked_again(ask, server):
    for provider in PROVIDERS:
        opened = generator(provider, server.base_url)
        await opened.aclose()
        await opened.generate(WANTED)
        await opened.aclose()
        await opened.aclose()
        assert (await opened.generate(WANTED)).data == PICTURE
        await opened.aclose()


# ---- an address in place of a picture


@pytest.mark.usefixtures("no_leaks")
async def test_an_address_in_an_answer_is_never_fetched(ask):  # B19
    inside = act.LoopbackServer(shows())
    await inside.start()
    url = f"{inside.base_url}/secret.png"
    answer = {"data": [{"url": url, "revised_prompt": "x"}], "images": [url]}

    error = await failure(ask(act.answers(200, answer)))

    assert type(error) is PermanentError
    assert "not fetched" in str(error)
    assert url not in everything_told(error)
    assert inside.connections == 0
    await inside.aclose()


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.1/x", "data:text/html;base64,PGI+", "data:image/png,x"],
)
async def test_other_addresses_are_no_pictures_either(ask, url):  # B19
    assert type(await failure(ask(act.answers(200, {"data": [{"b64_json": url}], "images": [url]})))) is ProviderError


# ---- answers that are no picture, as B11


HOSTILE = {
    "a page": act.answers(200, b"<html>Please log in</html>", kind="text/html"),
    "nothing": act.answers(200, b""),
    "half": act.answers_in_halves,
    "a reset": act.resets,
    "null": act.answers(200, None),
    "a list": act.answers(200, [1]),
    "brackets 100,000 deep": act.answers(200, b"[" * 100_000),
    "an empty object": act.answers(200, {}),
    "no pictures": act.answers(200, {"data": [], "images": []}),
    "pictures of a wrong kind": act.answers(200, {"data": "abc", "images": "abc"}),
    "numbers": act.answers(200, {"data": [1], "images": [1]}),
    "an empty text": shows(""),
    "no base64": shows("§§§"),
    "base64 with line breaks": shows("AAAA\nAAAA"),
    "no picture": shows(b"hello, this is not a picture"),
    "half a header": shows(PICTURE[:20]),
    "SVG": shows(b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "GIF": shows(make.gif(1)),
    "a picture bomb": shows(make.jpeg_claiming(60_000, 60_000)),
    "an animation of 10,000 frames": shows(make.webp_claiming(9, 9, frames=10_000)),
    "a PNG of very many pieces": shows(make.png(9, 9, *[make.png_chunk(b"abCd")] * 20_000)),
    "a compressed answer": act.answers(200, b"\x1f\x8b" + bytes(20), "Content-Encoding: gzip"),
    "an endless answer": act.endless,
    "a gigabyte": act.huge,
    "endless headers": act.endless_headers,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_answer_that_is_no_picture_is_a_provider_error(ask, name):  # B11
    assert type(await failure(ask(HOSTILE[name], max_response_bytes=500_000))) is ProviderError


async def test_a_larger_picture_than_allowed_is_not_handed_on(ask):
    error = await failure(ask(shows(), images=ImageConfig(max_pixels=64 * 48 - 1)))

    assert "ImageConfig" in str(error)


async def test_a_larger_answer_than_allowed_names_the_setting(ask):
    error = await failure(ask(act.huge, max_response_bytes=1_000))

    assert "ImageGenerationConfig.max_response_bytes" in str(error)


@pytest.mark.usefixtures("no_leaks")
async def test_a_drip_of_bytes_ends_at_the_deadline(ask):  # B11
    assert "0.3 s" in str(await failure(ask(act.drips, request_timeout_s=0.3)))


async def test_a_redirect_is_not_followed(ask, server):  # B11
    elsewhere = act.LoopbackServer(shows())
    await elsewhere.start()

    error = await failure(ask(act.answers(307, {}, f"Location: {elsewhere.base_url}/v1/images/generations")))

    assert type(error) is PermanentError
    assert (elsewhere.connections, len(server.received)) == (0, 1)
    await elsewhere.aclose()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limit_exceeded", ProviderError),
        (429, "insufficient_quota", PermanentError),
        (500, "server_error", ProviderError),
        (503, "overloaded", ProviderError),
        (401, "invalid_api_key", AuthenticationError),
        (403, "forbidden", AuthenticationError),
        (400, "moderation_blocked", PermanentError),
        (422, "validation_error", PermanentError),
        (404, "model_not_found", PermanentError),
    ],
)
async def test_each_refusal_is_of_its_class(ask, status, code, kind):  # B11
    assert type(await failure(ask(act.refuses(status, code)))) is kind


async def test_the_wait_that_a_server_asks_for_is_kept_and_it_is_asked_once(ask, server):  # B11
    for header, wait in (("Retry-After: 7", 7.0), ("Retry-After: -5", 0.0), ("Retry-After: 1000000000", 1e9)):
        assert (await failure(ask(act.refuses(429, "rate_limit_exceeded", header)))).retry_after == wait

    assert len(server.received) == 3


async def test_an_unknown_model_is_told_with_where_to_name_another(ask):
    error = str(await failure(ask(act.refuses(404, "model_not_found"))))

    assert "'test-model'" in error
    assert "ASYNC_PROCESSOR_IMAGE_GENERATION_MODEL" in error


ECHOES = {
    "message": lambda secret: act.refuses(400, "bad", message=f"your key is {secret} indeed"),
    "code": lambda secret: act.refuses(400, secret.lower().replace("-", "_")),
    "body": lambda secret: act.answers(401, secret.encode(), kind="text/plain"),
    "page": lambda secret: act.answers(200, f"<html>{secret}</html>".encode(), kind="text/html"),
    "picture": shows,
    "location": lambda secret: act.answers(302, {}, f"Location: https://{secret.replace(':', '.')}.example/"),
}


@pytest.mark.parametrize("name", ECHOES)
async def test_an_echoed_key_or_prompt_is_in_no_error(ask, name, caplog):  # B11
    caplog.set_level(logging.INFO)

    for secret in (KEYS[ask.provider], WANTED.prompt.replace(" ", "-")):
        error = await failure(ask(ECHOES[name](secret)))

        assert secret.lower() not in everything_told(error).lower()
        assert error.__cause__ is error.__context__ is None
        assert secret.lower() not in caplog.text.lower()


async def test_a_server_that_is_not_there_is_a_provider_error():
    gone = act.LoopbackServer(shows())
    await gone.start()
    await gone.aclose()
    for provider in PROVIDERS:
        opened = generator(provider, f"http://127.0.0.1:{gone.port}")

        assert type(await failure(opened.generate(WANTED))) is ProviderError
        await opened.aclose()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_requests_cancelled_at_any_moment_leave_nothing_open(server, provider):  # B22
    dice = random.Random(22)
    opened = generator(provider, server.base_url)
    await opened.generate(WANTED)

    for _ in range(50):
        task = asyncio.ensure_future(opened.generate(WANTED))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert (await opened.generate(WANTED)).data == PICTURE
    await opened.aclose()


@pytest.mark.parametrize(("provider", "library"), [("openai", "openai"), ("a1111", "httpx2")])
def test_a_missing_library_is_named_with_the_line_that_installs_it(provider, library):
    program = (
        "import asyncio, sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from async_processor.config import ImageConfig, ImageGenerationConfig\n"
        "from async_processor.errors import MissingExtraError\n"
        "from async_processor.processors.picture_providers import open_generator\n"
        "from async_processor.processors.picture_request import PictureRequest, PictureSource\n"
        f"source = PictureSource(provider={provider!r}, base_url='http://127.0.0.1:1')\n"
        "opened = open_generator(source, ImageGenerationConfig(), ImageConfig())\n"
        "try:\n"
        "    asyncio.run(opened.generate(PictureRequest(prompt='a bear')))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).parents[2]

    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root)

    assert "pip install 'advanced-async-processor[ai]'" in ran.stdout
