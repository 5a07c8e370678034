"""What the built-in functions say of themselves: what they need, and an example that needs no key and no network."""

from __future__ import annotations

import io
import re
import shutil
import sys
import wave
from dataclasses import fields
from types import GenericAlias
from typing import Any, get_args, get_type_hints

import pytest
from tests.source_code import ROOT

from async_processor import AdvancedAsyncProcessor, ProcessorConfig, create_task
from async_processor.config import AIConfig
from async_processor.processors import example_sound
from async_processor.processors.builtin import builtin_registry
from async_processor.processors.extras import missing_extra
from async_processor.results import RESULT_CLASSES, Record

CONFIG = ProcessorConfig(ai=AIConfig(provider="scripted"))
# Notifications reach people, so they have no example; see tests/processors/notify.
TYPES = [name for name in builtin_registry(CONFIG).types() if name != "notification"]


# The table of DATA_ANALYTICS begins each row with the name of an analysis.
ANALYSES = ("summary", "group_by", "time_series", "correlation", "outliers", "sql")


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)


@pytest.mark.parametrize("task_type", TYPES)
async def test_every_function_tells_what_would_do_its_tasks_and_gives_an_example(task_type: str):
    spec = builtin_registry(CONFIG).get(task_type)
    assert spec is not None
    assert spec.readiness is not None
    assert spec.example is not None

    readiness = await spec.readiness()
    assert readiness.provider
    assert readiness.problem is None
    async with AdvancedAsyncProcessor(1, 1, 1, config=CONFIG) as processor:
        task = create_task(task_type, spec.example(), max_retries=0)
        await processor.submit_task(task)
        result = await processor.wait_for_task(task.id, timeout=50.0)
    assert result.ok, result.error
    page = (ROOT / "docs" / f"{task_type.replace('_', '-')}.md").read_text(encoding="utf-8")
    plain = result.result if isinstance(result.result, dict) and task_type != "custom" else {}
    assert [key for key in plain if f"`{key}`" not in page] == [], "every key of a result is on the page of its type"
    if task_type in RESULT_CLASSES:
        typed = RESULT_CLASSES[task_type].of(result)
        assert typed.as_dict() == result.result
        assert plain.keys() <= {item.name for item in fields(typed)}, "the class leaves out no key"


def parts(kind: type[Record]) -> set[type[Record]]:
    """A class and those of its variants and parts."""
    below = [item for item in kind.__subclasses__() if vars(sys.modules[item.__module__]).get(item.__name__) is item]
    held = [item for hint in get_type_hints(kind).values() for item in records(hint)]
    return {kind}.union(*map(parts, [*below, *held]))


def records(hint: Any) -> list[type[Record]]:
    if isinstance(hint, type) and not isinstance(hint, GenericAlias) and issubclass(hint, Record):
        return [hint]
    return [found for item in get_args(hint) for found in records(item)]


@pytest.mark.parametrize("task_type", RESULT_CLASSES)
def test_the_page_of_a_type_names_its_class_and_every_field_of_it_and_of_its_parts(task_type: str):
    page = (ROOT / "docs" / f"{task_type.replace('_', '-')}.md").read_text(encoding="utf-8")
    section = page.partition("\n## Result\n")[2].partition("\n## ")[0]
    kind = RESULT_CLASSES[task_type]
    every = parts(kind)

    assert f"{kind.__name__}.of(" in section
    named = {item.name for part in every for item in fields(part)}
    assert sorted(name for name in named if not re.search(rf'[`"]{name}[`"]', section)) == []
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)))
    assert [name for name in told if name not in named and name not in ANALYSES] == [], "the class leaves out no key"


@pytest.mark.parametrize(
    ("task_type", "extra"),
    [("audio_transcription", "voice"), ("emotion_analysis", "voice"), ("data_analytics", "data")],
)
async def test_a_missing_library_is_a_problem_with_the_line_that_installs_it(
    task_type: str, extra: str, without_libraries: None
):
    spec = builtin_registry(CONFIG).get(task_type)
    assert spec is not None
    assert spec.readiness is not None

    problem = (await spec.readiness()).problem

    assert (
        problem
        == f"{task_type.upper()} needs the optional extra {extra!r}: pip install 'advanced-async-processor[{extra}]'"
    )


async def test_functions_in_payloads_need_nothing_but_closures_do(without_libraries: None):
    spec = builtin_registry(CONFIG).get("custom")
    assert spec is not None
    assert spec.readiness is not None

    readiness = await spec.readiness()

    assert readiness.problem is None
    assert "[closures]" in readiness.remarks[0]


def test_an_extra_is_missing_when_one_of_its_modules_is():
    assert missing_extra("voice", "X", "json", "asyncio") is None
    assert "[voice]" in (missing_extra("voice", "X", "json", "no_such_module") or "")


def frames(recording: bytes) -> int:
    with wave.open(io.BytesIO(recording), "rb") as opened:
        assert (opened.getnchannels(), opened.getsampwidth()) == (1, 2)
        return opened.getnframes()


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs the program flite: apt-get install flite")
async def test_the_example_recording_is_spoken_also_when_asked_for_on_a_loop():
    assert frames(example_sound.example_recording()) != frames(example_sound.tone())


async def test_without_a_voice_the_example_is_a_tone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")

    recording = example_sound.example_recording()

    assert recording == example_sound.tone()
    assert frames(recording) == 16_000
