"""``async-processor doctor`` and ``showcase``: what they say of what is there, and of what is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.source_code import ROOT
from typer.testing import CliRunner

from async_processor import ProcessingType, ProcessorConfig
from async_processor.cli import findings
from async_processor.cli.app import app
from async_processor.cli.columns import in_columns
from async_processor.cli.exit_code import ExitCode
from async_processor.cli.findings import in_short
from async_processor.processors import builtin
from async_processor.processors.registry import ProcessorRegistry, Readiness, inspect_function

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("ASYNC_PROCESSOR_") and not name.endswith(("_API_KEY", "_BASE_URL"))
}
INSTALL = "X needs the optional extra 'x': pip install 'advanced-async-processor[x]'"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cli.command", *arguments],
        env=ENVIRONMENT | environment, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip


def table(text: str) -> dict[str, str]:
    """The first block of lines by their first word."""
    return {line.split()[0]: line for line in text.partition("\n\n")[0].splitlines()}


# ---- as users run it


def test_the_doctor_has_a_line_for_every_type():
    ran = command("doctor")

    assert (ran.returncode, ran.stderr) == (0, "")
    lines = table(ran.stdout)
    assert list(lines) == ["type", *(item.value for item in ProcessingType), "spoken_answer"]
    assert lines["audio_transcription"].split()[1:] == ["yes", "pocketsphinx", "offline"]
    assert lines["data_analytics"].split()[1:] == ["yes", "duckdb", "offline"]
    assert lines["spoken_answer"].split()[2:4] in (["flite", "offline"], ["espeak-ng", "offline"])


def test_a_hosted_voice_that_lacks_its_key_is_told_with_what_to_set():
    ran = command(
        "doctor", ASYNC_PROCESSOR_SPEECH_SYNTHESIZER="openai", ASYNC_PROCESSOR_SPEECH_SYNTHESIZER_MODEL="m",
        ASYNC_PROCESSOR_SPEECH_SYNTHESIZER_VOICE="bear",
    )  # fmt: skip

    line = table(ran.stdout)["spoken_answer"]
    assert line.split()[1:4] == ["no", "openai", "hosted"]
    assert "set OPENAI_API_KEY or SpeechConfig.synthesizer_api_key" in line


def test_every_example_that_can_be_tried_works():
    ran = command("doctor", "--run", "--json")

    assert (ran.returncode, ran.stderr) == (0, "")
    found = {item["type"]: item for item in json.loads(ran.stdout)}
    tried = [name for name, item in found.items() if item["ready"]]
    assert {"audio_transcription", "emotion_analysis", "ai_response", "data_analytics", "custom"} <= set(tried)
    assert [found[name]["example"]["error"] for name in tried] == [None] * len(tried)
    assert found["emotion_analysis"]["example"]["result"].startswith("primary_emotion: happy")
    assert found["audio_transcription"]["example"]["worker"].startswith("process-")
    assert all(item["example"] is None for name, item in found.items() if name not in tried)


def test_the_showcase_asks_nobody_whatever_keys_there_are():
    # The address refuses connections: an example that went there would fail.
    ran = command("showcase", OPENAI_API_KEY="sk-hunter2", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert (ran.returncode, ran.stderr) == (0, "")
    lines = table(ran.stdout)
    assert list(lines) == ["type", *(item.value for item in ProcessingType), "spoken_answer"]
    assert "scripted" in lines["ai_response"]
    assert "hunter2" not in ran.stdout


def test_a_key_without_a_model_is_told_before_a_task_meets_it():
    ran = command("doctor", OPENAI_API_KEY="sk-hunter2", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert ran.returncode == 0
    line = table(ran.stdout)["ai_response"]
    assert line.split()[1:4] == ["no", "openai", "hosted"]
    assert "ASYNC_PROCESSOR_AI_MODEL" in line
    assert "hunter2" not in ran.stdout


@pytest.mark.parametrize("name", ["doctor", "showcase"])
def test_a_setting_that_cannot_be_used_is_a_wrong_call(name: str):
    ran = command(name, ASYNC_PROCESSOR_MAX_RESULTS="many")

    assert (ran.returncode, ran.stdout) == (ExitCode.USAGE, "")
    assert ran.stderr.startswith(f"async-processor {name}: ASYNC_PROCESSOR_MAX_RESULTS must be a number")


# ---- on functions of our own, good and bad


def telling(**fields: Any) -> Callable[[], Any]:
    async def readiness() -> Readiness:
        return Readiness(**fields)

    return readiness


async def fine(task: Any) -> dict[str, Any]:
    return {"answer": task.payload["n"] * 2, "provider": "the very one", "offline": True}


async def broken(_task: Any) -> None:
    raise ValueError("it \x1b[2J broke")


async def cannot_tell() -> Readiness:
    raise OSError("no such device")


def no_payload() -> dict[str, Any]:
    raise OSError("no microphone")


def payload() -> dict[str, Any]:
    return {"n": 21}


HERE = {"provider": "lib", "offline": True}
FINE = inspect_function(fine, readiness=telling(**HERE, remarks=("faster with y",)), example=payload)


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> dict[ProcessingType, Any]:
    """The built-in functions, for tests to fill in."""
    specs: dict[ProcessingType, Any] = {ProcessingType.CUSTOM: FINE}
    for module in (findings, builtin):
        monkeypatch.setattr(module, "builtin_registry", lambda _config: ProcessorRegistry(specs))
    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    return specs


def run(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, list(arguments))
    return ran.exit_code, ran.stdout


def test_what_is_missing_is_told_with_the_line_that_installs_it(functions: dict[ProcessingType, Any]):
    functions[ProcessingType.TEXT_ANALYSIS] = inspect_function(
        fine, readiness=telling(**HERE, problem=INSTALL), example=payload
    )

    for arguments in (("doctor",), ("doctor", "--run"), ("showcase",)):
        code, text = run(*arguments)
        assert code == ExitCode.OK, "what is not installed is no failure"
        assert INSTALL in table(text)["text_analysis"]
        assert "no built-in function" in table(text)["notification"]


def test_the_outcome_of_every_example_is_told(functions: dict[ProcessingType, Any]):
    functions |= {
        ProcessingType.TEXT_ANALYSIS: inspect_function(broken, readiness=telling(**HERE), example=payload),
        ProcessingType.NOTIFICATION: inspect_function(fine, readiness=telling(**HERE), example=no_payload),
        ProcessingType.IMAGE_PROCESSING: inspect_function(fine, readiness=telling(**HERE)),
        ProcessingType.IMAGE_GENERATION: inspect_function(fine, readiness=cannot_tell, example=payload),
        ProcessingType.DATABASE_OPERATION: inspect_function(fine),
    }

    code, text = run("doctor", "--run")

    first, remarks, last = text.split("\n\n")
    assert code == ExitCode.FAILED
    assert remarks == "custom  faster with y"
    assert "could not be found out: OSError: no such device" in table(first)["image_generation"]
    assert "it does not tell what it needs" in table(first)["database_operation"]
    lines = {name: " ".join(line.split()[1:]) for name, line in table(last).items()}
    assert lines.pop("custom").startswith("works 0.0")
    assert lines.pop("type") == "example time result"
    failed = lines.pop("text_analysis")
    assert failed.startswith("failed 0.0")
    assert failed.endswith("s ValueError: it \\x1b[2J broke")
    assert lines == {
        "image_generation": "left out it is not ready",
        "image_processing": "left out there is no example",
        "database_operation": "left out there is no example",
        "notification": "failed 0.000 s OSError: no example: no microphone",
    }


def test_an_example_that_the_settings_do_not_allow_has_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASYNC_PROCESSOR_TEXT_MAX_TEXT_CHARS", "10")
    specs = {ProcessingType.TEXT_ANALYSIS: builtin.builtin_registry(ProcessorConfig.from_env()).get("text_analysis")}
    for module in (findings, builtin):
        monkeypatch.setattr(module, "builtin_registry", lambda _config: ProcessorRegistry(specs))

    (code, text), (second, short) = run("doctor", "--run"), run("showcase")

    assert (code, second) == (ExitCode.FAILED, ExitCode.FAILED)
    last = table(text.split("\n\n")[-1])["text_analysis"]
    assert " ".join(last.split()[1:4]) == "failed 0.000 s"
    assert last.endswith("payload['text'] has 73 characters; send at most 10")
    assert "is not accepted: payload['text'] has 73 characters" in table(short)["text_analysis"]


def test_the_showcase_leaves_out_what_is_hosted(functions: dict[ProcessingType, Any]):
    functions |= {
        ProcessingType.TEXT_ANALYSIS: inspect_function(
            broken, readiness=telling(provider="far", offline=False), example=payload
        ),
        ProcessingType.NOTIFICATION: inspect_function(fine, readiness=telling(**HERE)),
    }

    code, text = run("showcase")

    assert code == ExitCode.OK
    lines = table(text)
    assert "far" in lines["text_analysis"]
    assert "(hosted: left out here)" in lines["text_analysis"]
    assert "(there is no example)" in lines["notification"]
    assert lines["custom"].split()[1:4] == ["the", "very", "one"]
    assert lines["custom"].endswith("answer: 42")


def test_the_showcase_fails_with_its_examples(functions: dict[ProcessingType, Any]):
    functions[ProcessingType.CUSTOM] = inspect_function(broken, readiness=telling(**HERE), example=payload)

    code, text = run("showcase")

    assert code == ExitCode.FAILED
    assert "(failed: it \\x1b[2J broke)" in table(text)["custom"]


def test_a_signal_ends_it(functions: dict[ProcessingType, Any]):
    async def waits() -> Readiness:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()
        raise AssertionError

    functions[ProcessingType.CUSTOM] = inspect_function(fine, readiness=waits, example=payload)

    assert run("doctor")[0] == ExitCode.TERMINATED


# ---- in one line


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"a": 1, "provider": "x", "model": "y", "offline": True, "b": None, "c": [], "d": False}, "a: 1, d: False"),
        ({"image": b"12345"}, "image: 5 bytes"),
        ({"x": 0.123456789, "rows": [["a", 1]]}, "x: 0.123457, rows: [['a', 1]]"),
        ({"rows": list(range(100))}, "rows: 100 items"),
        ({"long": "word " * 50, "more": 1}, "long: word word word word word word word..."),
        ({"first": "a" * 25, "second": "b" * 25}, "first: " + "a" * 25),
        ({"bad": "a\x1b[2J\nb"}, "bad: a\\x1b[2J b"),
        (7, "7"),
        (None, "None"),
    ],
)  # fmt: skip
def test_a_result_in_short_is_its_beginning(result: object, told: str):
    assert in_short(result, 40) == told


def test_columns_are_as_wide_as_their_widest_cell():
    assert list(in_columns([("a", "bbb", "c"), ("aa", "b", ""), ("", "", "\x07")])) == [
        "a   bbb  c",
        "aa  b",
        "         \\x07",
    ]
