"""Whisper through faster-whisper, on a model of its own format with random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.processors.recordings import (
    RATE,
    context,
    encode,
    pcm,
    sample,
    sample_payload,
    sample_signal,
    silence,
    tone,
    white_noise,
)

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskStatus, create_task
from async_processor.config import ProcessorConfig, SpeechConfig
from async_processor.errors import InvalidPayloadError, MissingExtraError, ProcessorNotAvailableError
from async_processor.model import ProcessingTask
from async_processor.processors.audio_transcription import transcribe as transcribe_task

pytest.importorskip("faster_whisper", reason="needs the extra 'whisper'")

from tests.processors.whisper_model import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-random")


@pytest.fixture(scope="module")
def english_folder(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-random.en", multilingual=False)


def transcribe(folder, payload):
    task = ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, payload)
    result = transcribe_task(task, context(task), config=SpeechConfig(whisper_model_dir=str(folder)))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_a_result_has_the_keys_that_pocketsphinx_gives(folder):
    payload = {**sample_payload("goforward.raw"), "language": "en", "child_id": "child-1"}

    result = transcribe(folder, payload)

    task = ProcessingTask(ProcessingType.AUDIO_TRANSCRIPTION, payload)
    assert result.keys() == transcribe_task(task, context(task), config=SpeechConfig()).keys()
    assert (result["provider"], result["model"], result["offline"]) == ("faster-whisper", "tiny-random", True)
    assert (result["language"], result["reason"], result["confidence"]) == ("en", None, None)
    assert (result["sample_rate"], result["duration"]) == (RATE, pytest.approx(2.786, abs=0.001))


def test_segments_hold_the_words_with_their_times(folder):
    result = transcribe(folder, {**sample_payload("goforward.raw"), "language": "en"})

    (segment,) = result["segments"]
    words = segment["words"]
    assert result["transcription"] == segment["text"] == " ".join(word["text"] for word in words)
    assert words
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert 0 <= segment["start"] == times[0] <= times[-1] == segment["end"] <= result["duration"]
    assert all(0 <= word["score"] <= 1 for word in words)
    assert result["score"] == pytest.approx(sum(word["score"] for word in words) / len(words), abs=1e-3)


def test_utterances_far_apart_become_segments_at_their_places(folder):
    one = sample_signal("goforward.raw")

    signal = np.concatenate([silence(2), one, silence(4), one, silence(2)])
    result = transcribe(folder, {"audio_data": pcm(signal), "sample_rate": RATE, "language": "en"})

    first, second = result["segments"]
    gap = len(one) / RATE + 4
    assert second["start"] - first["start"] == pytest.approx(gap, abs=0.2)
    assert 1.9 < first["start"] < first["end"] < second["start"]


def test_a_recording_is_heard_the_same_whoever_spoke_before(folder):
    payload = {**sample_payload("goforward.raw"), "language": "en"}
    first = transcribe(folder, payload)
    transcribe(folder, {**sample_payload("one-two-three.wav"), "language": "de"})

    assert transcribe(folder, payload) == first


SOUNDS = {
    "silence": silence(2),
    "white noise": white_noise(2, 0.3),
    "tone": tone(2),
    "a constant": np.full(2 * RATE, 0.5, np.float32),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_what_is_no_speech_gives_no_words_and_says_why(folder, name):
    result = transcribe(folder, {"audio_data": encode(SOUNDS[name])})

    assert (result["transcription"], result["segments"], result["language"]) == ("", [], None)
    assert result["reason"] == "no speech was found in the recording"


# Languages


@pytest.mark.parametrize(("asked", "heard"), [("de", "de"), ("de-AT", "de"), ("FR", "fr"), ("en-US", "en")])
def test_the_language_asked_for_is_the_one_heard(folder, asked, heard):
    assert transcribe(folder, {**sample_payload("goforward.raw"), "language": asked})["language"] == heard


def test_without_a_language_it_is_found_out(folder):
    language = transcribe(folder, sample_payload("goforward.raw"))["language"]

    assert language.isalpha()
    assert 2 <= len(language) <= 3


@pytest.mark.parametrize("signal", [silence(1), None], ids=["silence", "speech"])
def test_a_language_that_the_model_does_not_know_is_refused_with_those_that_it_does(folder, english_folder, signal):
    sound = sample_payload("goforward.raw") if signal is None else {"audio_data": encode(signal)}

    with pytest.raises(InvalidPayloadError, match=r"must be one of 'af', 'am',.* not 'xx'") as caught:
        transcribe(folder, {**sound, "language": "xx"})
    assert caught.value.field == "language"
    with pytest.raises(InvalidPayloadError, match="must be one of 'en', not 'de'"):
        transcribe(english_folder, {**sound, "language": "de"})


def test_a_model_of_english_hears_english(english_folder):
    assert transcribe(english_folder, sample_payload("goforward.raw"))["language"] == "en"


# What is missing or broken


def broken(folder: Path, tmp_path: Path, name: str, content: bytes | None) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(folder, copy)
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    return copy


PICKLE = b"\x80\x04cos\nsystem\n(S'echo run > ran'\ntR."
FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")
BROKEN = {
    **{f"no {name}": (name, None, f"has no {name}") for name in FILES},
    **{f"an empty {name}": (name, b"", f"has no {name}") for name in FILES},
    **{f"half a {name}": (name, b'{"a": [', "broken|cannot be used") for name in FILES},
    **{f"a {name} of nothing": (name, b"{}", "cannot be used") for name in FILES},
    **{f"a pickle for {name}": (name, PICKLE, "broken|cannot be used") for name in FILES},
    "a config.json that is a list": ("config.json", b"[]", "config.json in .* is broken"),
    "an empty vocabulary": ("vocabulary.json", b"[]", "cannot be used"),
    "model.bin of zeros": ("model.bin", bytes(5_000), "cannot be used"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_is_missing_or_broken_is_a_clear_error_without_a_retry(folder, tmp_path, name):  # B20
    file, content, says = BROKEN[name]
    copy = broken(folder, tmp_path, file, content)

    with pytest.raises(ProcessorNotAvailableError, match=says) as caught:
        transcribe(copy, {"audio_data": encode(silence(1))})
    assert caught.value.permanent
    assert "SpeechConfig.whisper_model_dir" in str(caught.value)
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("part", [3, 100, 100_000, -5])
def test_a_model_that_was_cut_off_is_a_clear_error(folder, tmp_path, part):  # B20
    copy = broken(folder, tmp_path, "model.bin", (folder / "model.bin").read_bytes()[:part])

    with pytest.raises(ProcessorNotAvailableError, match="cannot be used"):
        transcribe(copy, {"audio_data": encode(silence(1))})


def test_a_folder_that_is_none_is_not_taken_for_the_name_of_a_model_to_fetch(tmp_path):  # B20
    for name in ("tiny", str(tmp_path / "nothing"), "openai/whisper-tiny"):
        with pytest.raises(ProcessorNotAvailableError, match="there is no folder"):
            transcribe(name, {"audio_data": encode(silence(1))})


def test_a_folder_that_is_mended_works_without_a_restart(folder, tmp_path):
    copy = broken(folder, tmp_path, "model.bin", b"junk")
    with pytest.raises(ProcessorNotAvailableError):
        transcribe(copy, {"audio_data": encode(silence(1))})

    shutil.copy(folder / "model.bin", copy)

    assert transcribe(copy, {"audio_data": encode(silence(1))})["model"] == "broken"


def test_nothing_is_asked_of_the_network(folder):
    """Not even where the library would: it is loaded in a process in which every connection is an error."""
    program = (
        "import socket, sys\n"
        "def refuse(*arguments, **options):\n"
        "    raise SystemExit(f'asked the network: {arguments}')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from tests.processors.test_whisper import sample_payload, transcribe\n"
        "import os\n"
        "print(bool(transcribe(sys.argv[1], sample_payload('goforward.raw'))['transcription']))\n"
        "import huggingface_hub.constants as constants\n"
        "print(constants.HF_HUB_OFFLINE)\n"
    )

    sample("goforward.raw")
    ran = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False, timeout=50,
        env={name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
    )  # fmt: skip

    assert (ran.stdout.split(), ran.returncode) == (["True", "True"], 0), ran.stderr


# Where it runs


async def run(processor, payload):
    task = create_task(ProcessingType.AUDIO_TRANSCRIPTION, payload, io_bound=True)
    await processor.submit_task(task)
    return await processor.wait_for_task(task.id, timeout=50)


async def test_it_runs_in_a_worker_process_and_keeps_its_model_there(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = ProcessorConfig(speech=SpeechConfig(whisper_model_dir=str(copy)))
    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        bad = await run(processor, {"audio_data": b"RIFF" + bytes(40)})
        first = await run(processor, sample_payload("goforward.raw"))
        shutil.rmtree(copy)
        second = await run(processor, sample_payload("goforward.raw"))

    assert (bad.status, bad.error_type, bad.attempts) == (TaskStatus.FAILED, "InvalidPayloadError", 1)
    assert first.worker_id == second.worker_id == "process-0"
    assert first.result == second.result


async def test_a_broken_model_fails_a_task_once_and_a_whole_one_works_in_the_same_slot(folder, tmp_path):  # B20
    copy = broken(folder, tmp_path, "model.bin", b"junk")
    config = ProcessorConfig(speech=SpeechConfig(whisper_model_dir=str(copy)))
    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        failed = await run(processor, sample_payload("goforward.raw"))
        shutil.copy(folder / "model.bin", copy)
        good = await run(processor, sample_payload("goforward.raw"))

    assert (failed.status, failed.attempts) == (TaskStatus.FAILED, 1)
    assert failed.error_type == "ProcessorNotAvailableError"
    assert good.status is TaskStatus.COMPLETED
    assert good.result["transcription"]


async def test_readiness_looks_at_the_folder(folder, tmp_path):
    from async_processor.processors.audio_transcription import processor_spec

    async def problem(path):
        spec = processor_spec(ProcessorConfig(speech=SpeechConfig(whisper_model_dir=str(path))))
        return (await spec.readiness()).problem

    assert await problem(folder) is None
    assert "has no model.bin" in await problem(broken(folder, tmp_path, "model.bin", None))


def test_a_missing_library_is_named_with_the_line_that_installs_it(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    copy = shutil.copytree(folder, tmp_path / "not loaded yet")

    with pytest.raises(MissingExtraError, match=r"pip install 'advanced-async-processor\[whisper\]'"):
        transcribe(copy, {"audio_data": encode(silence(1))})
