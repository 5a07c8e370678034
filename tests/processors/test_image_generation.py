"""IMAGE_GENERATION through a real processor: drawn, by a server, and refused."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.processors.ai import server as act
from tests.processors.pictures import opened
from tests.processors.test_picture_servers import PICTURE, shows
from tests.results.kit import ended

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskResult, TaskStatus, create_task
from async_processor.config import ImageConfig, ImageGenerationConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError
from async_processor.model import LaneName
from async_processor.processors.image_generation import Artist, processor_spec
from async_processor.processors.picture_scene import seed_of
from async_processor.testing import VirtualClock


@pytest.fixture
async def server():
    loopback = act.LoopbackServer(shows())
    await loopback.start()
    yield loopback
    await loopback.aclose()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """No key or address of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def run(payload: dict, *, retries: int = 0, config: ProcessorConfig | None = None, **settings: Any) -> TaskResult:
    made = config or ProcessorConfig(image_generation=ImageGenerationConfig(**settings), retry_base_s=0.01)
    async with AdvancedAsyncProcessor(1, 1, 1, config=made) as processor:
        task = create_task(ProcessingType.IMAGE_GENERATION, payload, max_retries=retries)
        good = create_task(ProcessingType.CUSTOM, {"processor": len})
        await processor.submit_task(task)
        result = await processor.wait_for_task(task.id, timeout=50.0)
        await processor.submit_task(good)
        assert (await processor.wait_for_task(good.id, timeout=50.0)).status is TaskStatus.COMPLETED
    return ended(result)


# ---- drawn


async def test_without_a_provider_the_prompt_is_drawn_and_says_so():
    prompt = "a bear with a red balloon"
    result = (await run({"prompt": prompt, "size": "320x200"})).unwrap()

    data = result.pop("image_data")
    assert json.loads(json.dumps(result)) == result == {
        "format": "PNG", "width": 320, "height": 200, "seed": seed_of(prompt), "provider": "procedural", "model": None,
        "generated": False, "offline": True,
        "warnings": ["drawn from words of the prompt, not made by an image model"],
    }  # fmt: skip
    image = opened(data)
    assert (type(data), image.format, image.size, image.info) == (bytes, "PNG", (320, 200), {})
    assert (214, 48, 49) in {colour for _, colour in image.getcolors(100_000)}, "the balloon is red"


async def test_a_drawing_is_the_same_for_the_same_prompt_and_seed():
    first, again, other = [
        (await run({"prompt": "a garden", "width": 64, "height": 64, "seed": seed})).unwrap()["image_data"]
        for seed in (1, 1, 2)
    ]

    assert first == again != other


async def test_wishes_that_a_drawing_does_not_take_are_told():
    result = (await run({"prompt": "a bear", "steps": 20, "size": "64x64"})).unwrap()

    assert result["warnings"][1:] == ["provider 'procedural' takes no 'steps': it was left out"]


async def test_a_model_that_was_switched_off_is_drawn_with_its_date():
    result = (await run({"prompt": "a bear", "model": "dall-e-3", "size": "64x64"})).unwrap()

    assert result["generated"] is False
    assert "2026-05-12" in result["warnings"][-1]


async def test_a_model_that_nobody_has_is_not_replaced_by_a_drawing():
    result = await run({"prompt": "a bear", "model": "gpt-image-2"}, retries=3)

    assert (result.status, result.error_type, result.attempts) == (TaskStatus.FAILED, "ConfigurationError", 1)
    assert "OPENAI_API_KEY" in (result.error or "")


async def test_a_bad_payload_is_not_accepted():
    with pytest.raises(InvalidPayloadError, match="'size'"):
        await run({"prompt": "a bear", "size": "100000x100000"}, retries=3)


# ---- by a server


async def test_a_key_in_the_environment_is_enough(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-Canary0123")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base_url}/v1")

    result = (await run({"prompt": "a bear", "model": "gpt-image-2", "seed": 3})).unwrap()

    assert result == {
        "image_data": PICTURE, "format": "PNG", "width": 64, "height": 48, "seed": None, "provider": "openai",
        "model": "gpt-image-2", "generated": True, "offline": False,
        "warnings": ["provider 'openai' takes no 'seed': it was left out"],
    }  # fmt: skip


async def test_a_web_ui_makes_a_picture(server):
    result = (await run({"prompt": "a bear", "seed": 3}, provider="a1111", base_url=server.base_url)).unwrap()

    assert (result["image_data"], result["provider"], result["model"], result["seed"]) == (PICTURE, "a1111", None, 77)


async def test_too_many_requests_are_tried_again_after_the_wait(server):
    async def busy_once(exchange: act.Exchange) -> None:
        refusal = act.refuses(429, "rate_limit_exceeded", "Retry-After: 0.05")
        await (refusal if len(server.received) == 1 else shows())(exchange)

    server.behaviour = busy_once

    result = await run({"prompt": "a bear", "model": "m"}, retries=2, base_url=f"{server.base_url}/v1")

    assert (result.status, result.attempts) == (TaskStatus.COMPLETED, 2)


async def test_an_address_in_an_answer_is_not_fetched_nor_asked_for_again(server):  # B19
    inside = act.LoopbackServer(shows())
    await inside.start()
    server.behaviour = act.answers(200, {"data": [{"url": f"{inside.base_url}/secret"}]})

    result = await run({"prompt": "a bear", "model": "m"}, retries=3, base_url=f"{server.base_url}/v1")

    assert (result.status, result.error_type, result.attempts) == (TaskStatus.FAILED, "PermanentError", 1)
    assert (inside.connections, len(server.received)) == (0, 1)
    await inside.aclose()


async def test_nothing_is_sent_for_a_payload_that_is_refused_or_a_model_that_is_gone(server):
    settings = {"base_url": f"{server.base_url}/v1"}

    with pytest.raises(InvalidPayloadError, match="4001 characters"):
        await run({"prompt": "x" * 4_001, "model": "m"}, **settings)
    unnamed = await run({"prompt": "a bear"}, **settings)

    assert unnamed.error_type == "ConfigurationError"
    assert server.connections == 0


# ---- where it runs, and whether it could


def artist(environ: dict[str, str] | None = None, **settings: Any) -> Artist:
    clock = VirtualClock(wall=datetime(2026, 11, 24, tzinfo=UTC))
    return Artist(ImageGenerationConfig(**settings), ImageConfig(), environ=environ or {}, clock=clock)


def test_the_lane_is_that_of_whoever_makes_the_picture():
    wished = {"prompt": "a bear"}

    assert artist().resolve(wished).lane is LaneName.THREAD
    assert artist({"OPENAI_API_KEY": "k"}).resolve(wished).lane is LaneName.ASYNC
    assert artist(provider="a1111", base_url="http://127.0.0.1:1").resolve(wished).lane is LaneName.ASYNC
    assert artist(model_directory="/m").resolve(wished).lane is LaneName.PROCESS


def test_no_key_travels_to_a_worker():
    spec = artist(model_directory="/m", api_key="sk-Canary0123").resolve({"prompt": "a bear"})

    assert "sk-Canary0123" not in repr(vars(spec.func)) + str(spec.func.keywords["settings"].api_key)  # type: ignore[attr-defined]


async def test_a_drawing_is_always_ready_and_says_what_would_be_better():
    ready = await artist().readiness()
    chosen = await artist(provider="procedural").readiness()

    assert (ready.provider, ready.offline, ready.problem) == ("procedural", True, None)
    assert "no image model is configured" in ready.remarks[0]
    assert chosen.remarks == ()


async def test_readiness_asks_the_server(server):
    asked = artist(base_url=f"{server.base_url}/v1", api_key="k")

    ready = await asked.readiness()
    server.behaviour = act.refuses(401, "invalid_api_key")
    refused = await asked.readiness()
    await asked.aclose()

    assert (ready.provider, ready.offline, ready.problem) == ("openai", False, None)
    assert "check the key" in (refused.problem or "")


async def test_what_is_missing_is_told_by_readiness():
    assert "OPENAI_API_KEY" in ((await artist(provider="openai").readiness()).problem or "")
    local = await artist(model_directory="/nowhere").readiness()
    assert (local.provider, local.offline) == ("diffusers", True)
    assert local.problem


async def test_the_example_works():
    spec = processor_spec(ProcessorConfig())
    assert spec.example is not None

    assert (await run(spec.example())).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("name", ["request_timeout_s", "max_prompt_chars", "max_pixels", "max_steps"])
def test_bounds_that_leave_no_room_are_refused(name):
    with pytest.raises(ConfigurationError, match=f"ImageGenerationConfig.{name} must be above 0"):
        processor_spec(ProcessorConfig(image_generation=ImageGenerationConfig(**{name: 0})))


WITHOUT = """
import asyncio, sys
sys.modules["PIL"] = None
from async_processor.config import ImageConfig, ImageGenerationConfig, ProcessorConfig
from async_processor.context import TaskContext
from async_processor.errors import MissingExtraError
from async_processor.model import ProcessingTask
from async_processor.processors import image_generation, image_processing
assert not {"openai", "httpx2", "torch", "diffusers"} & sys.modules.keys()
processing = image_processing.processor_spec(ProcessorConfig())
settings = ImageGenerationConfig(provider="procedural")
artist = image_generation.Artist(settings, ImageConfig(), environ={})
drawing = artist.resolve({"prompt": "a bear"})
for spec, payload in ((processing, processing.example()), (drawing, {"prompt": "a bear"})):
    task = ProcessingTask("x", payload)
    context = [TaskContext(task_id=task.id, task_type="x")] if spec.wants_context else []
    try:
        spec.func(task, *context)
    except MissingExtraError as error:
        print(error)
for readiness in (processing.readiness, artist.readiness):
    print(asyncio.run(readiness()).problem)
"""


def test_without_pillow_everything_says_what_to_install():
    ran = subprocess.run([sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True, timeout=50)

    assert ran.stdout.count("pip install 'advanced-async-processor[images]'") == 4, ran.stdout
