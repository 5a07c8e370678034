"""Directories that hold no model, half of one, or one that would run code."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskStatus, create_task
from async_processor.config import ImageGenerationConfig
from async_processor.errors import AsyncProcessorError, ConfigurationError, PermanentError
from async_processor.processors.model_directory import check_directory

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def weights() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"a": "b"}})
    return struct.pack("<Q", len(header)) + header.encode() + bytes(8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for part in ("scheduler", "tokenizer", "unet"):
        (tmp_path / part).mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(INDEX))
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights())
    return tmp_path


def problem(model: Path) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        check_directory(str(model))
    assert caught.value.permanent
    return caught.value


def test_a_whole_model_is_one(model: Path):
    check_directory(str(model))


@pytest.mark.parametrize("missing", ["model_index.json", "unet/diffusion_pytorch_model.safetensors"])
def test_a_missing_file_is_named(model: Path, missing: str):  # B20
    (model / missing).unlink()

    error = problem(model)

    assert isinstance(error, ConfigurationError)
    assert missing.rpartition(".")[2] in str(error)


def test_a_missing_directory_is_named(model: Path):  # B20
    assert "'/nowhere'" in str(problem(Path("/nowhere")))
    (model / "scheduler").rmdir()
    assert "lacks its part 'scheduler'" in str(problem(model))


class Ran:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.bin", "model.ckpt", "unet/m.PT", "pipeline.py", "a/x.pkl"]
)
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(model: Path, tmp_path: Path, name: str):  # B20
    mark = tmp_path / "ran"
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(pickle.dumps(Ran(mark)))

    error = problem(model)

    assert type(error) is PermanentError
    assert "safetensors" in str(error)
    assert not mark.exists()


@pytest.mark.parametrize(
    "entry",
    [["my_library", "UNet"], ["os", "system"], ["diffusers", 5], ["diffusers"], ["unet_code", "UNet"], [3, None]],
)
def test_parts_from_elsewhere_are_refused(model: Path, entry: list):  # B20
    (model / "model_index.json").write_text(json.dumps({**INDEX, "unet": entry}))

    assert "from elsewhere" in str(problem(model))


@pytest.mark.parametrize("part", ["../unet", "/etc", "a/b", ".."])
def test_parts_lie_in_the_directory(model: Path, part: str):  # B20
    (model / "model_index.json").write_text(json.dumps({**INDEX, part: ["diffusers", "UNet"]}))

    assert "from elsewhere" in str(problem(model))


BROKEN = {
    "empty": b"",
    "a few bytes": b"abc",
    "cut off": weights()[:-1],
    "longer": weights() + b"x",
    "a header longer than the file": struct.pack("<Q", 10**6) + bytes(100),
    "an endless header": b"\xff" * 100,
    "no JSON": struct.pack("<Q", 4) + b"junk",
    "no mapping": struct.pack("<Q", 4) + b"[1] ",
    "a pickle": pickle.dumps({"w": [0.0] * 100}),
    "nested": struct.pack("<Q", 100_000) + b"[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_weights_are_named(model: Path, name: str):  # B20
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(BROKEN[name])

    error = problem(model)

    assert type(error) is PermanentError
    assert "damaged" in str(error)


@pytest.mark.parametrize("index", [b"", b"[]", b"{", b"[" * 100_000, b'{"_class_name": "x"}', b"\xff\xfe"])
def test_a_damaged_index_is_named(model: Path, index: bytes):  # B20
    (model / "model_index.json").write_bytes(index)

    assert type(problem(model)) is PermanentError


@pytest.mark.parametrize("kind", ["missing", "pickled"])
async def test_a_bad_model_fails_its_task_once_and_the_slot_is_free(model: Path, kind: str):  # B20
    (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    if kind == "pickled":
        (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Ran(model / "ran")))
    settings = ImageGenerationConfig(model_directory=str(model))
    async with AdvancedAsyncProcessor(1, 1, 1, config=ProcessorConfig(image_generation=settings)) as processor:
        bad = create_task(ProcessingType.IMAGE_GENERATION, {"prompt": "a bear"})
        good = create_task(ProcessingType.CUSTOM, {"processor": len}, cpu_intensive=True)
        for task in (bad, good):
            await processor.submit_task(task)

        failed = await processor.wait_for_task(bad.id, timeout=50.0)
        after = await processor.wait_for_task(good.id, timeout=50.0)

    assert (failed.status, failed.attempts) == (TaskStatus.FAILED, 1)
    assert failed.error_type == ("ConfigurationError" if kind == "missing" else "PermanentError")
    assert "safetensors" in (failed.error or "")
    assert after.status is TaskStatus.COMPLETED
    assert not (model / "ran").exists()
