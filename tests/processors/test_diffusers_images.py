"""A local diffusion model, with the real libraries and random weights. They take 1.3 GB, so only where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.processors.pictures import opened

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskStatus, create_task
from async_processor.config import ImageGenerationConfig

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
WISH = {"prompt": "a bear", "size": "64x64", "steps": 3, "seed": 7}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("torch", "diffusers", "transformers"):
        pytest.importorskip(name, reason="needs the extra 'diffusers' (1.3 GB): pip install '.[diffusers]'")
    from tests.processors.tiny_diffusion import make_tiny_pipeline

    directory = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny_pipeline(directory)
    return directory


def settings(model: Path) -> ProcessorConfig:
    return ProcessorConfig(image_generation=ImageGenerationConfig(model_directory=str(model)))


async def run(processor: AdvancedAsyncProcessor, payload: dict, **options: object):
    task = create_task(ProcessingType.IMAGE_GENERATION, payload, **options)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=300.0)


async def test_a_local_model_makes_the_same_picture_for_the_same_seed(model: Path):
    async with AdvancedAsyncProcessor(1, 1, 1, config=settings(model)) as processor:
        first, again, other, unseeded = [
            (await run(processor, {**WISH, **change})).unwrap() for change in ({}, {}, {"seed": 8}, {"seed": None})
        ]

    data = first["image_data"]
    assert data == again["image_data"] != other["image_data"]
    assert {name: value for name, value in first.items() if name != "image_data"} == {
        "format": "PNG", "width": 64, "height": 64, "seed": 7, "provider": "diffusers", "model": "tiny",
        "generated": True, "offline": True, "warnings": [],
    }  # fmt: skip
    image = opened(data)
    assert (image.size, image.mode) == ((64, 64), "RGB")
    repeated = {**WISH, "seed": unseeded["seed"]}
    async with AdvancedAsyncProcessor(1, 1, 1, config=settings(model)) as processor:
        assert (await run(processor, repeated)).unwrap()["image_data"] == unseeded["image_data"]


async def test_a_picture_that_takes_too_long_is_stopped_and_the_slot_is_free(model: Path):
    async with AdvancedAsyncProcessor(1, 1, 1, config=settings(model)) as processor:
        assert (await run(processor, WISH)).status is TaskStatus.COMPLETED  # libraries and model are loaded
        slow = {**WISH, "size": "1024x1024", "steps": 150}  # minutes

        assert (await run(processor, slow, timeout=2.0, max_retries=0)).status is TaskStatus.TIMEOUT
        assert (await run(processor, WISH)).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("change", [{"size": "65x64"}, {"size": "64x63"}])
async def test_a_size_that_the_model_cannot_make_is_refused_once(model: Path, change: dict):
    async with AdvancedAsyncProcessor(1, 1, 1, config=settings(model)) as processor:
        result = await run(processor, {**WISH, **change})

    assert (result.status, result.error_type, result.attempts) == (TaskStatus.FAILED, "PermanentError", 1)


async def test_weights_that_fit_no_part_are_refused_once(model: Path, tmp_path: Path):  # B20
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    shutil.copy(broken / "vae" / "diffusion_pytorch_model.safetensors", broken / "unet")
    async with AdvancedAsyncProcessor(1, 1, 1, config=settings(broken)) as processor:
        result = await run(processor, WISH)

    assert (result.status, result.error_type, result.attempts) == (TaskStatus.FAILED, "PermanentError", 1)
    assert "the weights of 'unet'" in (result.error or "")
