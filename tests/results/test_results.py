"""The classes of results: to a plain dict and back, and what is said where that cannot be."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor import AdvancedAsyncProcessor, ProcessingTask, TaskContext, create_task
from async_processor.config import AIConfig, ProcessorConfig
from async_processor.errors import (
    InvalidResultError,
    PermanentError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
)
from async_processor.model import ProcessingType, TaskResult, TaskStatus
from async_processor.processors.builtin import builtin_registry
from async_processor.results import (
    RESULT_CLASSES,
    AIResponseResult,
    AudioEnhancementResult,
    AudioTranscriptionResult,
    ChatEmotionResult,
    DataAnalyticsResult,
    DatabaseOperationResult,
    EmotionAnalysisResult,
    Record,
    Result,
    RowsResult,
    SqlResult,
    TextAnalysisResult,
    TransactionResult,
    read_result,
)
from async_processor.results.base import OPTIONAL
from async_processor.storage.codec import decode_value, encode_value

HEARD: dict[str, Any] = {
    "transcription": "hello", "confidence": None, "score": 0.5, "language": "en", "duration": 1.5,
    "speech_duration": 1.0,
    "segments": [
        {
            "text": "hello", "start": 0.1, "end": 0.4,
            "words": [{"text": "hello", "start": 0.1, "end": 0.4, "score": 0.5}],
        },
    ],
    "reason": None, "sample_rate": 16_000, "provider": "pocketsphinx", "model": "en-us", "offline": True,
}  # fmt: skip


def ended(result: Any, **fields: Any) -> TaskResult:
    return TaskResult(**{"task_id": "t", "status": TaskStatus.COMPLETED, "result": result} | fields)


def concrete(kind: type[Record]) -> list[type[Any]]:
    """The classes that say what a result or a part of one holds."""
    below = [found for item in kind.__subclasses__() for found in concrete(item)]
    return [kind, *below] if dataclasses.is_dataclass(kind) else below


# ``slots=True`` makes a class anew, and the first one stays among the subclasses until it is collected.
CLASSES = [item for item in concrete(Record) if vars(sys.modules[item.__module__]).get(item.__name__) is item]


def generated(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Instances of a class, by the types of its fields."""
    hints = typing.get_type_hints(kind)
    return st.fixed_dictionaries({name: values(hint) for name, hint in hints.items()}).map(lambda found: kind(**found))


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5), int: st.integers(-(2**63), 2**64 - 1), bool: st.booleans(), bytes: st.binary(max_size=5),
    float: st.floats(allow_nan=False), types.NoneType: st.none(),
    Any: st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
}  # fmt: skip


def values(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    inner = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(values, inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(values(inner[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
    return generated(hint)


def stored(plain: Any) -> Any:
    return decode_value(encode_value(plain, "result"))


def is_plain(plain: Any) -> bool:
    """Whether nothing of ours is left in a plain value."""
    if isinstance(plain, dict):
        return all(map(is_plain, plain.values()))
    return all(map(is_plain, plain)) if isinstance(plain, list) else not isinstance(plain, tuple | Record)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda item: item.__name__)
@given(data=st.data())
def test_a_plain_dict_is_read_as_what_it_was_made_of(kind: type[Any], data: st.DataObject):
    made = data.draw(generated(kind))
    plain = made.as_dict()

    assert is_plain(plain)
    assert stored(plain) == plain, "a store keeps it as it is"
    # No operation results in what all of them have, and no more.
    if issubclass(kind, Result) and kind is not DatabaseOperationResult:
        again = kind.from_dict(stored(plain))
        assert again.as_dict() == plain
        known = [name for name in plain if getattr(made, name) == getattr(again, name)]
        assert known == list(plain)
        assert {item.name for item in dataclasses.fields(kind)} >= plain.keys()
        lacking = {item.name for item in dataclasses.fields(kind)} - plain.keys()
        assert all("optional" in kind.__dataclass_fields__[name].metadata for name in lacking)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda item: item.__name__)
def test_every_class_is_a_frozen_record_with_slots_and_says_what_it_holds(kind: type[Any]):
    parameters = kind.__dataclass_params__

    assert parameters.frozen
    assert "__slots__" in vars(kind)
    assert all(item.kw_only for item in dataclasses.fields(kind))
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "this is what dataclass writes where there is nothing"


def test_every_class_of_optional_keys_reads_them_as_none_where_there_are_none():
    optional = [
        item for kind in CLASSES for item in dataclasses.fields(kind) if OPTIONAL.items() <= item.metadata.items()
    ]

    assert optional
    assert [item.name for item in optional if item.default is not None] == []


def test_there_is_a_class_for_every_built_in_type_but_for_functions_of_ones_own():
    types_of_tasks = set(builtin_registry(ProcessorConfig()).types())

    assert types_of_tasks - {ProcessingType.CUSTOM} == set(RESULT_CLASSES)


def test_a_result_is_read_as_its_class():
    heard = AudioTranscriptionResult.of(ended(HEARD))

    start: float = heard.segments[0].words[0].start
    assert start == 0.1
    assert heard.as_dict() == HEARD
    assert list(heard.as_dict()) == list(HEARD)


async def test_a_result_is_read_after_a_restart_as_before_it(tmp_path: Path):
    settings = ProcessorConfig(ai=AIConfig(provider="scripted"))
    task = create_task(ProcessingType.AI_RESPONSE, {"prompt": "Hello teddy"})
    async with AdvancedAsyncProcessor(config=settings, store=f"sqlite:///{tmp_path}/tasks.db") as processor:
        await processor.submit_task(task)
        before = await processor.wait_for_task(task.id, timeout=30.0)

    async with AdvancedAsyncProcessor(config=settings, store=f"sqlite:///{tmp_path}/tasks.db") as processor:
        after = await processor.get_task_result(task.id)

    assert after is not None
    reply = AIResponseResult.of(after)
    assert reply == AIResponseResult.of(before)
    assert reply.moderation.passed
    assert reply.as_dict() == before.result


async def test_a_function_reads_what_it_depends_on():
    async def shout(_task: ProcessingTask, context: TaskContext) -> str:
        told = context.dependencies.first(ProcessingType.AI_RESPONSE)
        return AIResponseResult.from_dict(told).response.upper()

    async with AdvancedAsyncProcessor(config=ProcessorConfig(ai=AIConfig(provider="scripted"))) as processor:
        processor.register_processor("shout", shout)
        reply = create_task(ProcessingType.AI_RESPONSE, {"prompt": "Hello teddy"})
        task = create_task("shout", depends_on=[reply.id])
        await processor.submit_task(reply)
        await processor.submit_task(task)
        shouted = (await processor.wait_for_task(task.id, timeout=30.0)).unwrap()
        said = AIResponseResult.of(await processor.wait_for_task(reply.id, timeout=30.0))

    assert said.response
    assert shouted == said.response.upper()


def test_the_type_of_the_task_tells_the_class():
    read = read_result(ended(HEARD, task_type=ProcessingType.AUDIO_TRANSCRIPTION))

    assert read == AudioTranscriptionResult.from_dict(HEARD)
    with pytest.raises(InvalidResultError, match=r"'custom' have no class .* use result\.unwrap") as caught:
        read_result(ended(21))
    assert caught.value.task_id == "t"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (TaskStatus.FAILED, TaskFailedError),
        (TaskStatus.TIMEOUT, TaskTimeoutError),
        (TaskStatus.CANCELLED, TaskCancelledError),
    ],
)
def test_what_did_not_complete_raises_its_own_error(status: TaskStatus, error: type[TaskFailedError]):
    with pytest.raises(error, match="the microphone burned"):
        AudioTranscriptionResult.of(ended(None, status=status, error="the microphone burned"))


def test_keys_of_a_newer_version_are_left_alone():
    newer = HEARD | {"speakers": 2, "segments": [HEARD["segments"][0] | {"speaker": "bear"}]}

    assert AudioTranscriptionResult.from_dict(newer) == AudioTranscriptionResult.from_dict(HEARD)


SECRET = "my secret"


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"transcription": 7}, "transcription", "at transcription, it must be str, not int"),
        ({"offline": 1}, "offline", "at offline, it must be bool, not int"),
        ({"duration": SECRET}, "duration", "at duration, it must be float | null, not str"),
        ({"segments": None}, "segments", "at segments, it must be array, not null"),
        ({"segments": [{}]}, "segments[0].text", "at segments[0].text, it is missing"),
        (
            {"segments": [HEARD["segments"][0] | {"words": [{"text": "a", "start": SECRET, "end": 1, "score": 1}]}]},
            "segments[0].words[0].start",
            "at segments[0].words[0].start, it must be float, not str",
        ),
    ],
)
def test_a_wrong_value_is_named_by_its_place_and_type_and_never_repeated(
    changed: dict[str, Any], field: str, message: str
):
    with pytest.raises(InvalidResultError) as caught:
        AudioTranscriptionResult.of(ended(HEARD | changed))

    assert str(caught.value) == f"the result of task 't' is no AudioTranscriptionResult: {message}"
    assert (caught.value.field, caught.value.task_id) == (field, "t")
    assert isinstance(caught.value, PermanentError), "in a function that reads a dependency, no retry would help"


@pytest.mark.parametrize("value", [None, SECRET, [HEARD], 3.5])
def test_what_is_no_dict_at_all_is_refused(value: object):
    with pytest.raises(
        InvalidResultError, match=rf"^the result is no \w+: it must be object, not {type(value).__name__}$"
    ) as caught:
        AudioTranscriptionResult.from_dict(value)
    assert caught.value.field is None


def test_a_missing_key_is_named():
    with pytest.raises(InvalidResultError, match="at model, it is missing"):
        AudioTranscriptionResult.from_dict({name: value for name, value in HEARD.items() if name != "model"})


def test_a_name_that_is_none_of_the_known_is_not_repeated():
    told = {"label": SECRET, "compound": 0.0, "positive": 0.0, "negative": 0.0, "neutral": 1.0}

    with pytest.raises(InvalidResultError, match="it is none of the values that are known") as caught:
        TextAnalysisResult.from_dict(TEXT | {"sentiment": told})
    assert SECRET not in str(caught.value)


def test_bytes_are_neither_copied_nor_made_of_text():
    sound = bytes(1_000)
    levels = {"before": -60.0, "after": None}
    plain = {
        "audio_data": sound, "sample_rate": 16_000, "duration": 1.0, "channels": 1, "noise_floor_db": levels,
        "loudness_lufs": levels, "peak_db": levels, "gain_db": 1.0, "limiting_db": 0.0, "remarks": [],
        "provider": "p", "model": None, "offline": True,
    }  # fmt: skip

    read = AudioEnhancementResult.from_dict(plain)

    assert read.audio_data is sound
    assert read.as_dict()["audio_data"] is sound
    assert len(repr(read)) < 1_000
    with pytest.raises(InvalidResultError, match="at audio_data, it must be bytes, not str"):
        AudioEnhancementResult.from_dict(plain | {"audio_data": "QUJD"})


TEXT: dict[str, Any] = {
    "statistics": {"characters": 1, "words": 1, "sentences": 1}, "text_source": "payload", "analysed_as": "en",
    "language_source": "text", "reasons": {}, "provider": "none", "model": None, "offline": True,
}  # fmt: skip


def test_a_section_of_a_text_is_there_if_it_was_asked_for():
    untold = TEXT | {"language": None, "reasons": {"language": "too few words"}}

    assert TextAnalysisResult.from_dict(TEXT).as_dict() == TEXT
    assert TextAnalysisResult.from_dict(untold).as_dict() == untold


EMOTION: dict[str, Any] = {
    "primary_emotion": "sad", "confidence": None, "secondary_emotions": [], "arousal": None, "valence": -0.5,
    "analysis_method": "text", "basis": ["text"], "baseline_used": False, "features": {}, "reason": None,
    "provider": "openai", "model": "m", "offline": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, EmotionAnalysisResult),
        ({"warnings": ["x"]}, EmotionAnalysisResult),
        ({"warnings": [], "tokens_used": None}, ChatEmotionResult),
        ({"warnings": [], "tokens_used": 12}, ChatEmotionResult),
    ],
)
def test_an_emotion_has_the_keys_of_whoever_judged(more: dict[str, Any], kind: type[EmotionAnalysisResult]):
    read = EmotionAnalysisResult.from_dict(EMOTION | more)

    assert type(read) is kind
    assert read.as_dict() == EMOTION | more


STATEMENT: dict[str, Any] = {
    "rows": [{"answer": datetime(2026, 1, 1, tzinfo=UTC)}], "columns": ["answer"], "row_count": 1, "truncated": False,
    "keys": [],
}  # fmt: skip
OPERATION: dict[str, Any] = {
    "already_done": False, "connection": "c", "duration_s": 0.1, "provider": "sqlite", "offline": True,
}  # fmt: skip


def test_an_operation_of_one_statement_holds_its_rows_as_they_are():
    plain = STATEMENT | OPERATION | {"operation": "select"}

    read = DatabaseOperationResult.from_dict(plain)

    assert isinstance(read, RowsResult)
    assert read.as_dict() == plain
    assert read.as_dict()["rows"] is read.rows


def test_a_transaction_holds_what_each_of_its_statements_gave():
    plain = OPERATION | {"operation": "transaction", "row_count": 1, "results": [STATEMENT]}

    read = DatabaseOperationResult.from_dict(plain)

    assert isinstance(read, TransactionResult)
    assert read.results[0].rows == STATEMENT["rows"]
    assert read.as_dict() == plain
    with pytest.raises(InvalidResultError, match="is no RowsResult: at rows, it is missing"):
        RowsResult.from_dict(plain)


ANALYTICS: dict[str, Any] = {
    "row_count": 3, "truncated": False, "warnings": [], "provider": "duckdb", "offline": True,
}  # fmt: skip


def test_an_analysis_is_of_its_own_class_and_one_that_is_not_known_of_what_all_have():
    plain = ANALYTICS | {"analysis_type": "sql", "columns": ["a"], "rows": [[1]]}
    newer = ANALYTICS | {"analysis_type": "forecast", "columns": [3]}

    read = DataAnalyticsResult.from_dict(plain)

    assert isinstance(read, SqlResult)
    assert read.as_dict() == plain
    assert type(DataAnalyticsResult.from_dict(newer)) is DataAnalyticsResult
    with pytest.raises(InvalidResultError, match="is no SqlResult"):
        SqlResult.from_dict(newer)
