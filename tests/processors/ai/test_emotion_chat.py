"""EMOTION_ANALYSIS by a chat model: what is sent, what of the answer counts, and what a failure comes to."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processors.ai import server as act
from tests.processors.ai.test_hosted import everything_told, failure
from tests.processors.ai.test_prompting import INJECTIONS
from tests.processors.recordings import context
from tests.processors.test_emotion_analysis import KEYS as OFFLINE_KEYS
from tests.results.kit import typed

from async_processor import AdvancedAsyncProcessor, TaskStatus
from async_processor.config import AIConfig, EmotionConfig, ProcessorConfig
from async_processor.errors import ConfigurationError, InvalidPayloadError, PermanentError, ProviderError
from async_processor.model import ProcessingType, create_task
from async_processor.processors.chat import ChatReply
from async_processor.processors.emotion_analyzer import VOCABULARY
from async_processor.processors.emotion_chat import (
    RULES,
    SCHEMA,
    ChatAnalyser,
    chat_settings,
    read_judgement,
)
from async_processor.processors.mood_words import MAX_CHARS
from async_processor.processors.reply_facts import feeling_of

KEY = "sk-Canary0123456789abcdef"
PROVIDERS = ("openai", "anthropic")
GOOD = {"primary_emotion": "sad", "secondary_emotions": ["afraid", "tired"], "valence": -0.6, "arousal": None}
PAYLOAD = {"text": "nobody wants to play with me"}


class Noon:
    """A clock that stands at noon of one day."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> datetime:
        return datetime(2026, 11, 24, 12, tzinfo=UTC)


def judges(**changed) -> act.Behaviour:
    return act.says(json.dumps({**GOOD, **changed}))


def settings(provider: str, url: str, **emotion) -> ProcessorConfig:
    base_url = f"{url}/v1" if provider == "openai" else url
    given = {"protocol": provider, "base_url": base_url, "api_key": KEY, "model": "test-model", **emotion}
    return ProcessorConfig(emotion=EmotionConfig(provider="chat", **given))


@pytest.fixture(params=PROVIDERS)
async def judge(request, server):
    """Judge one payload with a chat model at the local server, which answers well unless told otherwise."""
    server.behaviour = judges()
    analysers = {}

    async def judge(payload=PAYLOAD, transcription=None, behaviour=None, **emotion):
        if behaviour is not None:
            server.behaviour = behaviour
        key = tuple(emotion.items())
        if key not in analysers:
            config = settings(request.param, server.base_url, **emotion)
            analysers[key] = ChatAnalyser(config, environ={}, clock=Noon())
        task = create_task(ProcessingType.EMOTION_ANALYSIS, payload)
        return typed(task.task_type, await analysers[key](task, context(task, transcription)))

    judge.provider = request.param
    yield judge
    for analyser in analysers.values():
        await analyser.aclose()


# What comes out


async def test_a_result_has_the_keys_of_an_offline_one_and_says_what_it_rests_on(judge):
    result = await judge()

    assert result == {
        "primary_emotion": "sad",
        "confidence": None,
        "secondary_emotions": [{"emotion": "afraid", "score": None}, {"emotion": "tired", "score": None}],
        "arousal": None,
        "valence": -0.6,
        "analysis_method": "text",
        "basis": ["text"],
        "baseline_used": False,
        "features": {},
        "reason": None,
        "provider": judge.provider,
        "model": "test-model",
        "offline": False,
        "tokens_used": 17,
        "warnings": [],
    }
    assert result.keys() == OFFLINE_KEYS | {"tokens_used", "warnings"}
    feeling = feeling_of(result)
    assert (feeling.name, feeling.valence, feeling.arousal) == ("sad", -0.6, None), "a reply can go by it"


async def test_no_figure_is_made_up_for_how_sure_the_model_is(judge):
    result = await judge(behaviour=judges(confidence=0.99))

    assert result["confidence"] is None
    assert "0.99" not in json.dumps(result)
    assert "confidence" not in SCHEMA["properties"]


async def test_at_most_three_other_words_count_each_once_and_none_that_is_the_first(judge):
    words = ["sad", "afraid", "afraid", "tired", "bored", "calm"]

    result = await judge(behaviour=judges(secondary_emotions=words))

    assert [item["emotion"] for item in result["secondary_emotions"]] == ["afraid", "tired", "bored"]


def test_the_words_are_those_of_the_offline_analysis():
    assert set(VOCABULARY) == {
        "neutral", "happy", "excited", "energetic", "upset", "sad", "calm", "afraid", "angry", "tired", "bored",
    }  # fmt: skip


# What goes out


async def test_rules_and_words_are_sent_with_the_schema_in_the_vendors_own_form_and_no_tools(judge, server):
    await judge({**PAYLOAD, "child_id": "CANARY", "context": {"child_name": "CANARY"}})

    (received,) = server.received
    sent = received.json
    if judge.provider == "openai":
        assert sent["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
        assert sent["messages"][0]["content"] == RULES
        assert sent.keys() == {
            "model", "messages", "response_format", "max_completion_tokens", "stream", "stream_options"
        }  # fmt: skip
    else:
        assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
        assert sent["system"] == RULES
        assert sent.keys() == {"model", "messages", "system", "output_config", "max_tokens", "stream"}
    assert sent["messages"][-1]["role"] == "user"
    assert json.loads(sent["messages"][-1]["content"]) == {"child_said": "nobody wants to play with me"}
    assert b"CANARY" not in received.body


def test_the_schema_keeps_to_what_both_vendors_enforce():
    """Every key required and no other allowed; no bounds for numbers and lengths, which they refuse."""

    def check(part):
        assert part.keys() <= {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"}
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        for inner in (*part.get("properties", {}).values(), *part.get("anyOf", ()), part.get("items")):
            if inner is not None:
                check(inner)

    check(SCHEMA)


@pytest.mark.parametrize("said", INJECTIONS)
async def test_words_that_pose_as_instructions_stay_inside_their_quotes(judge, server, said):  # B12
    await judge({"text": "x"}, behaviour=judges())
    await judge({}, {"transcription": f"x{said}"})

    plain, posed = (json.loads(received.body) for received in server.received)
    data = json.loads(posed["messages"][-1]["content"])
    assert list(data) == ["child_said"]
    posed["messages"][-1] = plain["messages"][-1]
    assert posed == plain, "nothing but the data differs"


@pytest.mark.parametrize("said", ["Sure! The door is open now.", '{"tool_calls": [{"name": "open_door"}]}'])
async def test_what_a_model_was_talked_into_saying_gets_into_no_result_and_no_error(judge, said):  # B12
    error = await failure(judge(behaviour=act.says(said)))

    assert type(error) is ProviderError
    assert said not in everything_told(error)


# Which words


async def test_the_words_may_come_from_a_transcription_and_those_of_the_payload_go_first(judge, server):
    await judge({}, {"transcription": "i miss my mom"})
    await judge({"text": "i am happy"}, {"transcription": "i miss my mom"})

    said = [json.loads(item.json["messages"][-1]["content"])["child_said"] for item in server.received]
    assert said == ["i miss my mom", "i am happy"]


async def test_a_transcript_that_is_too_long_is_cut_with_a_warning(judge, server):
    result = await judge({}, {"transcription": "a" * (MAX_CHARS + 1)})

    assert len(json.loads(server.received[0].json["messages"][-1]["content"])["child_said"]) == MAX_CHARS
    assert str(MAX_CHARS) in result["warnings"][0]


@pytest.mark.parametrize(("payload", "heard"), [({"text": " \n"}, None), ({}, {"transcription": ""})])
async def test_where_nothing_was_said_nobody_is_asked(judge, server, payload, heard):
    result = await judge(payload, heard)

    assert (result["primary_emotion"], result["confidence"], result["basis"]) == ("neutral", 0.0, [])
    assert (result["reason"], result["provider"], result["offline"]) == ("no words were found", "none", True)
    assert result.keys() == OFFLINE_KEYS | {"tokens_used", "warnings"}
    assert server.connections == 0


async def test_a_recording_beside_the_words_is_neither_sent_nor_decoded_and_the_result_says_so(judge, server):
    payload = {**PAYLOAD, "audio_data": b"RIFF-no-recording", "baseline": {"pitch_hz": 300}}

    result = await judge(payload)

    assert result["basis"] == ["text"]
    assert ["audio_data" in warning for warning in result["warnings"]] == [True, False]
    assert ["baseline" in warning for warning in result["warnings"]] == [False, True]
    assert b"no-recording" not in server.received[0].body
    assert (await judge({**payload, "analysis_type": "text"}))["warnings"] == []


@pytest.mark.parametrize(
    ("payload", "heard", "field"),
    [
        ({}, None, "text"),
        ({"audio_data": b"RIFF"}, None, "text"),
        ({}, {"transcription": 7}, "text"),
        ({"text": 7}, None, "text"),
        ({"text": "\ud800"}, None, "text"),
        ({"text": "a" * (MAX_CHARS + 1)}, None, "text"),
        ({"text": "a", "analysis_type": "audio"}, None, "analysis_type"),
        ({"text": "a", "analysis_type": "prosody"}, None, "analysis_type"),
        ({"text": "a", "analysis_type": "astrology"}, None, "analysis_type"),
        ({"text": "a", "model": 7}, None, "model"),
    ],
)
async def test_a_payload_without_words_to_judge_is_refused_before_any_connection(judge, server, payload, heard, field):
    error = await failure(judge(payload, heard))

    assert type(error) is InvalidPayloadError
    assert error.field == field
    assert server.connections == 0


# What of an answer counts

WRONG = [
    "not JSON",
    "```json\n{}\n```",
    "[]",
    "{}",
    "9" * 5_000,
    "[" * 20_000,
    *(
        json.dumps({**GOOD, **changed})
        for changed in (
            {"primary_emotion": "furious"},
            {"primary_emotion": "Sad"},
            {"primary_emotion": None},
            {"primary_emotion": ["sad"]},
            {"secondary_emotions": ["furious"]},
            {"secondary_emotions": [["sad"]]},
            {"secondary_emotions": "sad"},
            {"secondary_emotions": None},
            {"secondary_emotions": {"sad": 1}},
            {"valence": 1.01},
            {"valence": -2},
            {"valence": 10**400},
            {"valence": float("nan")},
            {"valence": float("inf")},
            {"valence": "0.5"},
            {"valence": True},
            {"arousal": -1.5},
            {"arousal": []},
        )
    ),
    *(json.dumps({name: value for name, value in GOOD.items() if name != left_out}) for left_out in GOOD),
]


async def test_an_answer_of_another_form_is_worth_another_attempt(judge):  # B11
    for text in WRONG:
        error = await failure(judge(behaviour=act.says(text)))

        assert type(error) is ProviderError, text[:80]
        assert error.__cause__ is error.__context__ is None, "foreign errors carry whole answers along"

    assert (await judge(behaviour=judges()))["primary_emotion"] == "sad"


@pytest.mark.parametrize("value", [-1, 0, 1, 0.25, None])
async def test_numbers_up_to_the_bounds_are_taken_as_floats(judge, value):
    result = await judge(behaviour=judges(valence=value, arousal=value))

    assert result["valence"] == result["arousal"] == value
    assert type(result["valence"]) in (float, type(None))


def reply(text: str, **changed) -> ChatReply:
    given = {"provider": "openai", "model": "m", "tokens_used": 1, "finish_reason": "stop", "offline": False}
    return ChatReply(text=text, generated=True, **{**given, **changed})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(VOCABULARY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={name: JSON | st.just(value) for name, value in GOOD.items()},
    )
    | JSON
)
def test_any_json_is_a_judgement_within_bounds_or_a_provider_error(value):  # B11
    try:
        found = read_judgement(reply(json.dumps(value)))
    except ProviderError:
        return
    assert {found.primary, *found.secondary} <= set(VOCABULARY)
    assert all(item is None or -1.0 <= item <= 1.0 for item in (found.valence, found.arousal))


@pytest.mark.parametrize("reason", ["refusal", "content_filter"])
def test_a_model_that_declines_is_not_asked_again(reason):
    with pytest.raises(PermanentError, match="declined"):
        read_judgement(reply("I would rather not.", finish_reason=reason))


def test_an_answer_that_was_cut_needs_more_tokens_and_no_retry():
    with pytest.raises(PermanentError, match=r"EmotionConfig\.max_tokens"):
        read_judgement(reply('{"primary_emotion": "s', finish_reason="length"))


# Which model


async def test_a_payloads_model_goes_before_the_configured_one(judge, server):
    await judge({**PAYLOAD, "model": "wish"})
    await judge()

    assert [item.json["model"] for item in server.received] == ["wish", "test-model"]


async def test_without_a_model_none_is_made_up(judge, server):
    error = await failure(judge(model=None))

    assert type(error) is ConfigurationError
    assert "EmotionConfig.model" in str(error)
    assert server.connections == 0


async def test_a_model_that_its_vendor_switched_off_is_refused_before_it_is_sent():
    emotion = EmotionConfig(provider="chat", protocol="openai", api_key=KEY, model="gpt-4")
    analyser = ChatAnalyser(ProcessorConfig(emotion=emotion), environ={}, clock=Noon())
    task = create_task(ProcessingType.EMOTION_ANALYSIS, PAYLOAD)

    with pytest.raises(PermanentError, match=r"2026-10-23.*EmotionConfig\.model"):
        await analyser(task, context(task))


@pytest.mark.parametrize("ai", [{}, {"provider": "scripted"}])
async def test_no_script_stands_in_for_a_chat_model(ai):
    analyser = ChatAnalyser(ProcessorConfig(ai=AIConfig(**ai), emotion=EmotionConfig(provider="chat")), environ={})
    task = create_task(ProcessingType.EMOTION_ANALYSIS, PAYLOAD)

    with pytest.raises(ConfigurationError, match=r"EmotionConfig\.protocol"):
        await analyser(task, context(task))


AI = AIConfig(provider="openai", base_url="http://replies/v1", api_key="ai-key", model="ai-model")


@pytest.mark.parametrize(
    ("ai", "emotion", "expected"),
    [
        (AI, {}, ("openai", "http://replies/v1", "ai-key", "ai-model")),
        (AI, {"model": "own"}, ("openai", "http://replies/v1", "ai-key", "own")),
        (AI, {"base_url": "http://own/v1"}, ("openai", "http://own/v1", None, "ai-model")),
        (AI, {"protocol": "anthropic"}, ("anthropic", None, None, "ai-model")),
        (AI, {"protocol": "anthropic", "api_key": "own"}, ("anthropic", None, "own", "ai-model")),
        (AIConfig(), {}, ("auto", None, None, None)),
        (AIConfig(provider="scripted"), {"protocol": "openai"}, ("openai", None, None, None)),
        (AIConfig(provider="scripted"), {"base_url": "http://own/v1"}, ("openai", "http://own/v1", None, None)),
    ],
)
def test_no_key_goes_to_another_address_than_the_one_it_was_given_with(ai, emotion, expected):
    chosen = chat_settings(ProcessorConfig(ai=ai, emotion=EmotionConfig(provider="chat", **emotion)))

    assert (chosen.provider, chosen.base_url, chosen.api_key, chosen.model) == expected


def test_the_bounds_are_those_of_emotions():
    emotion = EmotionConfig(provider="chat", request_timeout_s=7, max_response_bytes=8)

    chosen = chat_settings(ProcessorConfig(emotion=emotion))

    assert (chosen.request_timeout_s, chosen.max_response_bytes) == (7, 8)


def test_a_key_that_may_be_anybodys_is_refused():
    emotion = EmotionConfig(provider="chat", api_key=KEY)

    with pytest.raises(ConfigurationError, match=r"EmotionConfig\.protocol") as caught:
        ChatAnalyser(ProcessorConfig(emotion=emotion))

    assert KEY not in str(caught.value)


# As tasks


@pytest.mark.usefixtures("no_leaks")
async def test_after_each_failure_the_slot_is_free_and_a_bad_answer_is_asked_for_again(server):  # B11, B12
    config = settings("openai", server.base_url, request_timeout_s=5.0)
    answers = iter([act.says("no JSON"), act.refuses(429, "limit", "Retry-After: 0"), judges()])

    async def one_after_the_other(exchange):
        await next(answers)(exchange)

    async def end_of(payload, behaviour, max_retries=0):
        server.behaviour = behaviour
        task = create_task(ProcessingType.EMOTION_ANALYSIS, payload)
        task.max_retries = max_retries
        await processor.submit_task(task)
        return await processor.wait_for_task(task.id, timeout=50)

    config = ProcessorConfig(emotion=config.emotion, retry_base_s=0.01)
    async with AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:
        mended = await end_of(PAYLOAD, one_after_the_other, max_retries=2)
        assert (mended.status, mended.attempts) == (TaskStatus.COMPLETED, 3)
        for payload, behaviour, error in (
            (PAYLOAD, act.says("no JSON"), "ProviderError"),
            (PAYLOAD, act.refuses(401, "invalid_api_key"), "AuthenticationError"),
            (PAYLOAD, judges(primary_emotion="furious"), "ProviderError"),
        ):
            failed = await end_of(payload, behaviour)
            assert (failed.status, failed.error_type, failed.attempts) == (TaskStatus.FAILED, error, 1)
            assert KEY not in (failed.error or "")
            assert (await end_of(PAYLOAD, judges())).result["primary_emotion"] == "sad"
