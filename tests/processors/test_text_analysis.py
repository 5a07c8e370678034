"""TEXT_ANALYSIS: what it finds in texts, what it says where it finds nothing, and texts that were made to hurt."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import math
import pickle
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.results.kit import typed

from async_processor import AdvancedAsyncProcessor, TaskPriority, TaskStatus, create_task
from async_processor.config import ProcessorConfig, TextConfig
from async_processor.context import DependencyResults, TaskContext
from async_processor.errors import ConfigurationError, InvalidPayloadError, PermanentError, SizeLimitError
from async_processor.model import LaneName, ProcessingTask, ProcessingType, TaskResult
from async_processor.processors.providers import yake_keywords
from async_processor.processors.text_analysis import ANALYSES, processor_spec, read_request

pytestmark = pytest.mark.alone

SPEC = processor_spec(ProcessorConfig())
ALWAYS = {"statistics", "text_source", "analysed_as", "language_source", "reasons", "provider", "model", "offline"}
ZOO = (
    "Yesterday we went to the zoo. The baby elephant was wonderful, and we loved the baby elephant most of all! "
    "Mr. Bear said that elephants never forget."
)
REVIEWS = ["The toy is great, my daughter loves it.", "It broke on the first day. I am very disappointed.", ZOO]


def analyse(text=None, *results, spec=SPEC, **fields):
    """What comes of a payload, after the tasks of these results."""
    given = {} if text is None else {"text": text}
    task = ProcessingTask(ProcessingType.TEXT_ANALYSIS, {**given, **fields})
    dependencies = DependencyResults({item.task_id: item for item in results})
    result = spec.func(task, TaskContext(task_id=task.id, task_type=task.task_type, dependencies=dependencies))
    assert result.keys() >= ALWAYS
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert all((result[name] is None) == (name in result["reasons"]) for name in ANALYSES if name in result)
    _assert_plain(result)
    return typed(task.task_type, result)


def _assert_plain(value):
    """Not even a float of NumPy, which would pass for one."""
    assert type(value) in (str, int, float, bool, type(None), list, dict)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _assert_plain(part)


# What is found


def test_all_is_found_unless_something_else_is_asked_for():
    result = analyse(ZOO)

    assert result.keys() == ALWAYS | set(ANALYSES)
    assert result["sentiment"]["label"] == "positive"
    assert "baby elephant" in [item["keyword"] for item in result["keywords"][:3]]
    assert result["language"] == {"code": "en", "confidence": pytest.approx(1.0, abs=0.01)}
    assert result["readability"]["flesch_reading_ease"] == pytest.approx(75, abs=10)
    assert result["statistics"] == {"characters": len(ZOO), "words": 27, "sentences": 3}
    assert (result["provider"], result["model"], result["offline"]) == ("vader+yake+py3langid+flesch", None, True)
    assert (result["analysed_as"], result["language_source"], result["reasons"]) == ("en", "text", {})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("all", set(ANALYSES)), ("sentiment", {"sentiment"}), ("KEYWORDS", {"keywords"}), (["language"], {"language"}),
        (("readability", "sentiment"), {"readability", "sentiment"}), (["all", "language"], set(ANALYSES)),
        (["sentiment", "sentiment"], {"sentiment"}), (None, set(ANALYSES)),
    ],
)  # fmt: skip
def test_only_what_is_asked_for_is_looked_for(asked, found):
    assert analyse(ZOO, analysis_type=asked).keys() - ALWAYS == found


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love this teddy bear!", "positive"),
        ("This is the worst toy ever.", "negative"),
        ("The box is on the table.", "neutral"),
        # VADER has these the other way round.
        ("nobody wants to play with me", "negative"),
        ("I can't wait for my birthday", "positive"),
        ("😍😍", "positive"),
    ],
)
def test_sentiment(text, label):
    sentiment = analyse(text, analysis_type="sentiment", language="en")["sentiment"]

    assert sentiment["label"] == label
    assert -1 <= sentiment["compound"] <= 1
    assert sentiment["positive"] + sentiment["negative"] + sentiment["neutral"] == pytest.approx(1, abs=0.002)
    assert label == "neutral" or sentiment[label] > 0


def test_sentiment_is_the_mean_over_sentences():
    good, bad = "I love it!", "I hate it!"

    def compound(text):
        return analyse(text, analysis_type="sentiment", language="en")["sentiment"]["compound"]

    assert compound(f"{good} {bad}") == pytest.approx((compound(good) + compound(bad)) / 2, abs=1e-4)
    assert compound(f"{good} " * 50) == pytest.approx(compound(good), abs=1e-4)


def test_keywords_come_best_first_as_they_are_written():
    text = "teddy bears are made in Paris. we sell teddy bears in Paris and in London. teddy bears sell well."
    found = analyse(text, analysis_type="keywords", max_keywords=4)["keywords"]

    assert len(found) == 4
    assert found == sorted(found, key=lambda item: item["score"])
    assert all(item["keyword"] in text for item in found)
    assert "teddy bears" in [item["keyword"] for item in found]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Ich habe heute Angst im Dunkeln", "de"), ("tengo miedo de la oscuridad", "es"), ("j'ai peur du noir", "fr"),
        ("я боюсь темноты", "ru"), ("今日はとても楽しい", "ja"), ("나는 오늘 아주 행복해", "ko"),
        ("i'm scared of the dark", "en"),
    ],
)  # fmt: skip
def test_the_language_of_three_words_is_told(text, code):
    result = analyse(text)

    assert result["language"]["code"] == result["analysed_as"] == code
    assert 0.2 <= result["language"]["confidence"] <= 1
    assert (result["sentiment"] is None) == (code != "en")


def test_stopwords_are_those_of_the_language():
    german = "Der Bär und der Hund und der Hase wohnen in dem Wald. Der Hase und der Bär sind Freunde."

    words = {word for item in analyse(german)["keywords"] for word in item["keyword"].split()}
    assert {"Bär", "Hase"} <= words
    assert not {"und", "der", "Der", "dem"} & {item["keyword"] for item in analyse(german)["keywords"]}


# Where nothing can be told


@pytest.mark.parametrize("text", ["hi", "hello teddy", "123 456 789", "😀😀😀 😀 😀"])
def test_the_language_of_fewer_than_three_words_is_not_guessed(text):
    result = analyse(text)

    assert result["language"] is None
    assert result["reasons"]["language"] == "fewer than 3 words do not tell a language"
    assert (result["analysed_as"], result["language_source"]) == ("en", "assumed")


def test_words_of_no_language_are_taken_for_none():
    assert analyse("zzz qqq xxx")["reasons"] == {"language": "the words are not recognised as any language"}


def test_only_english_is_judged():
    reasons = analyse("Ich habe heute Angst im Dunkeln")["reasons"]

    assert reasons == dict.fromkeys(
        ("sentiment", "readability"), "only English can be judged, and the text is taken for 'de'"
    )
    # Too short to be recognised, but no English.
    assert "its letters" in analyse("привет мишка")["reasons"]["sentiment"]


@pytest.mark.parametrize("text", ["", "  \n", "...", "\0\0"])
def test_a_text_without_words_has_nothing_to_tell(text):
    result = analyse(text)

    assert (result["sentiment"], result["language"], result["readability"], result["keywords"]) == (
        None,
        None,
        None,
        [],
    )
    assert result["statistics"]["words"] == result["statistics"]["sentences"] == 0


def test_a_given_language_goes_before_what_the_words_tell():
    result = analyse("Ich habe heute Angst im Dunkeln", language="EN-us")

    assert (result["analysed_as"], result["language_source"]) == ("en", "payload")
    assert result["language"]["code"] == "de"
    assert result["sentiment"] is not None


def test_the_assumed_language_is_a_setting():
    german = processor_spec(ProcessorConfig(text=TextConfig(assumed_language="de")))

    assert analyse("Guten Tag", spec=german)["analysed_as"] == "de"


def test_languages_without_spaces_have_no_keywords():
    assert analyse("今日はとても楽しい")["reasons"]["keywords"].startswith("'ja' is written without spaces")


# Payloads and settings


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "text"), ({"text": None}, "text"), ({"text": 7}, "text"), ({"text": b"bytes"}, "text"),
        ({"text": "\ud800"}, "text"), ({"text": "a" * 100_001}, "text"),
        ({"text": "a", "analysis_type": 3}, "analysis_type"), ({"text": "a", "analysis_type": []}, "analysis_type"),
        ({"text": "a", "analysis_type": "mood"}, "analysis_type"),
        ({"text": "a", "analysis_type": ["all"] * 9}, "analysis_type"),
        ({"text": "a", "analysis_type": ["sentiment", 3]}, "analysis_type"),
        ({"text": "a", "analysis_type": {"sentiment": True}}, "analysis_type"),
        ({"text": "a", "max_keywords": 0}, "max_keywords"), ({"text": "a", "max_keywords": 51}, "max_keywords"),
        ({"text": "a", "max_keywords": math.nan}, "max_keywords"), ({"text": "a", "max_keywords": "5"}, "max_keywords"),
        ({"text": "a", "language": "english"}, "language"), ({"text": "a", "language": ""}, "language"),
        ({"text": "a", "language": 3}, "language"), ({"text": "a", "language": "en-" + "x" * 10_000}, "language"),
    ],
)  # fmt: skip
def test_a_payload_without_use_is_refused_by_field(payload, field):
    with pytest.raises(InvalidPayloadError, match=r"must be|send") as caught:
        SPEC.check(create_task(ProcessingType.TEXT_ANALYSIS, payload))
    assert caught.value.field == field
    with pytest.raises(InvalidPayloadError) as later:
        analyse(**payload)
    assert later.value.message == caught.value.message


@pytest.mark.parametrize("name", ["entities", "NER", ["sentiment", "entities"]])
def test_entities_are_refused_with_what_there_is(name):
    with pytest.raises(InvalidPayloadError, match="register a function of your own"):
        read_request({"text": "Teddy lives in Paris", "analysis_type": name}, TextConfig())


def test_a_payload_is_read_without_any_of_the_libraries():
    code = (
        "import sys\n"
        "for name in ('yake', 'py3langid', 'vaderSentiment', 'numpy'): sys.modules[name] = None\n"
        "from async_processor.config import ProcessorConfig, TextConfig\n"
        "from async_processor.context import TaskContext\n"
        "from async_processor.errors import MissingExtraError\n"
        "from async_processor.model import ProcessingTask\n"
        "from async_processor.processors import text_analysis as ta\n"
        "print(ta.read_request({'text': 'hello'}, TextConfig()).analyses)\n"
        "spec = ta.processor_spec(ProcessorConfig())\n"
        "context = TaskContext(task_id='t', task_type='x')\n"
        "for name in ta.ANALYSES[:3]:\n"
        "    payload = {'text': 'one two three', 'analysis_type': name, 'language': 'en'}\n"
        "    try: print(spec.func(ProcessingTask('x', payload), context))\n"
        "    except MissingExtraError as error: print(error)\n"
        "payload = {'text': 'one two three', 'analysis_type': 'readability', 'language': 'en'}\n"
        "print(spec.func(ProcessingTask('x', payload), context)['readability']['words'])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)

    lines = done.stdout.splitlines()
    assert lines[0] == "('sentiment', 'keywords', 'language', 'readability')"
    assert [line.endswith("pip install 'advanced-async-processor[text]'") for line in lines[1:4]] == [True] * 3
    assert lines[4:] == ["3"]


@pytest.mark.parametrize(
    "text_config",
    [TextConfig(max_text_chars=0), TextConfig(assumed_language="english"), TextConfig(assumed_language="EN")],
)
def test_settings_that_cannot_work_are_refused_at_once(text_config):
    with pytest.raises(ConfigurationError, match="TextConfig"):
        processor_spec(ProcessorConfig(text=text_config))


async def test_it_runs_in_the_process_lane_and_says_that_it_is_ready():
    assert SPEC.lane is LaneName.PROCESS
    again = pickle.loads(pickle.dumps(SPEC.func))  # noqa: S301 - our own bytes
    assert (again.func, again.keywords) == (SPEC.func.func, SPEC.func.keywords)

    readiness = await SPEC.readiness()
    assert (readiness.provider, readiness.offline, readiness.problem) == ("vader+yake+py3langid+flesch", True, None)
    assert analyse(**SPEC.example())["reasons"] == {}


async def test_it_says_what_to_install_where_it_is_not_ready(monkeypatch):
    monkeypatch.setitem(sys.modules, "yake", None)

    assert "[text]" in (await SPEC.readiness()).problem


# Libraries behind it


def test_what_yake_fails_on_is_neither_logged_nor_passed_over(monkeypatch, caplog):
    import yake.core.yake as library

    def fail(*_arguments, **_options):
        raise ZeroDivisionError("CANARY")

    monkeypatch.setattr(library, "DataCore", fail)
    with caplog.at_level(logging.DEBUG), pytest.raises(PermanentError) as caught:
        yake_keywords.keywords([("CANARY", "words", "said")], "en", 5)

    assert "CANARY" not in f"{caught.value}{caplog.text}"


def test_yake_keeps_no_words_for_later():
    from yake.core.yake import KeywordExtractor
    from yake.data.utils import get_tag

    assert analyse(ZOO)["keywords"]

    assert get_tag.cache_info().currsize == 0
    assert KeywordExtractor._ultra_fast_similarity.cache_info().currsize == 0


# Words of tasks that went before


def ended(task_type, result, status=TaskStatus.COMPLETED):
    return TaskResult(task_id=f"t-{task_type}", task_type=task_type, result=result, status=status)


HEARD = ended(ProcessingType.AUDIO_TRANSCRIPTION, {"transcription": "I love the zoo!", "language": "en"})
ANSWERED = ended(ProcessingType.AI_RESPONSE, {"response": "I hate the rain.", "provider": "scripted"})
SILENT = ended(ProcessingType.AUDIO_TRANSCRIPTION, {"transcription": "", "reason": "no speech was found"})
NOT_HEARD = ended(ProcessingType.AUDIO_TRANSCRIPTION, None, TaskStatus.FAILED)


@pytest.mark.parametrize(
    ("text", "results", "label", "source"),
    [
        (None, [HEARD], "positive", "audio_transcription"),
        (None, [ANSWERED], "negative", "ai_response"),
        (None, [ANSWERED, HEARD], "positive", "audio_transcription"),
        (None, [NOT_HEARD, ANSWERED], "negative", "ai_response"),
        (None, [SILENT, ANSWERED], None, "audio_transcription"),
        ("I hate mud.", [HEARD], "negative", "payload"),
        ("", [HEARD], None, "payload"),
    ],
)
def test_a_payload_without_a_text_takes_that_of_a_task_before(text, results, label, source):
    result = analyse(text, *results, analysis_type="sentiment", language="en")

    assert (result["sentiment"] or {"label": None})["label"] == label
    assert result["text_source"] == source


@pytest.mark.parametrize(
    "results", [[], [NOT_HEARD], [ended("mine", {"transcription": "hello"})], [ended("ai_response", {"response": 3})]]
)
def test_without_any_text_it_says_where_one_may_come_from(results):
    with pytest.raises(InvalidPayloadError, match="or depend on an AUDIO_TRANSCRIPTION or AI_RESPONSE task") as caught:
        analyse(None, *results)

    assert caught.value.field == "text"


def test_a_text_of_a_task_before_has_the_same_limit():
    spec = processor_spec(ProcessorConfig(text=TextConfig(max_text_chars=14)))

    with pytest.raises(SizeLimitError, match=r"audio_transcription .* 15 characters; at most 14 .*max_text_chars"):
        analyse(None, HEARD, spec=spec)


def test_half_a_character_from_a_task_before_is_replaced():
    odd = ended(ProcessingType.AUDIO_TRANSCRIPTION, {"transcription": "I love \ud800 it"})

    assert analyse(None, odd)["statistics"]["words"] == 3


async def test_a_task_analyses_what_one_before_it_heard():
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        processor.register_processor(ProcessingType.AUDIO_TRANSCRIPTION, lambda _task: {"transcription": ZOO})
        before = create_task(ProcessingType.AUDIO_TRANSCRIPTION, {"file": 5})
        task = create_task(ProcessingType.TEXT_ANALYSIS, {"child_id": "child-1"}, depends_on=[before.id])
        await processor.submit_task(task)
        await processor.submit_task(before)
        result = await processor.wait_for_task(task.id, timeout=50)

    assert result.unwrap()["statistics"]["characters"] == len(ZOO)
    assert result.unwrap()["text_source"] == "audio_transcription"


PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=200) | st.text(alphabet="aA. '-!\n", max_size=200) | st.integers() | st.binary(),
        "analysis_type": st.sampled_from(["all", "sentiment", ["keywords", "language"], "x", [], 3]),
        "max_keywords": st.integers(-2, 60) | st.floats() | st.text(max_size=3),
        "language": st.sampled_from(["en", "de", "zh", "br", "xx", "nolang", "", 5]),
        "another": st.integers(),
    },
)


def check_payload(payload):
    try:
        SPEC.check(create_task(ProcessingType.TEXT_ANALYSIS, payload))
    except InvalidPayloadError as error:
        assert error.permanent  # noqa: PT017 - the other outcome is as good
        return

    request = read_request(payload, TextConfig())
    result = analyse(**payload)
    assert result["analysed_as"] == (request.language or result["analysed_as"])
    assert "keywords" not in result or len(result["keywords"] or ()) <= request.max_keywords


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(PAYLOADS)
def test_any_payload_is_analysed_or_refused(payload):  # B9, B21
    check_payload(payload)


@pytest.mark.nightly
@pytest.mark.timeout(1_200)
@settings(max_examples=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(PAYLOADS)
def test_any_of_20_000_payloads_is_analysed_or_refused(payload):  # B9, B21
    check_payload(payload)


# Texts that were made to hurt. Beyond the limit is refused; up to it, time is linear.

HOSTILE = {
    "prose": "The bear went to the wood, and in the wood it met a fox. ", "one sentence": "bear fox wood ",
    "words of which none comes twice": " ".join(map("".join, itertools.permutations("bedigokum", 5))),
    "a letter": "a", "letters": "a ", "capitals": "A", "short sentences": "a. ", "full stops": ". ",
    "abbreviations": "Mr. ",
    "endings": ".\"", "brackets": ".)", "apostrophes": "'", "contractions": "don't ", "half contractions": "n't",
    "hyphens": "-", "hyphenated": "a-", "line ends": "\n", "blank lines": "\n ", "tabs": "\t ",
    "marks of two kinds": "\u0315\u0316", "letters with marks": "e\u0315\u0316", "emoji": "😀😁😂🥰",
    "emoji joined": "👨\u200d👩\u200d👧", "NUL": "\0", "right to left": "\u202e", "joined sentences": "x. and y. ",
    "small without a capital": "\u0138 ab. ", "characters": "今日。", "addresses": "http://a.b/ a@b ",
    "numbers": "1. 2,3 ",
    "vowels": "ia", "silent vowels": "abely", "nearly a phrase": "nobody wants to ",
    "nearly a feeling": "i am so very ",
    "denied": "no not never ", "monster": "monster a ", "praise": "but happy ", "capital I with a dot": "\u0130 ",
}  # fmt: skip


def best_seconds(text: str, fields: dict[str, str]) -> float:
    """Of the processor's time, the least of several runs: what the machine does besides does not count."""
    times = []
    for _ in range(3):
        started = time.process_time()
        analyse(text, **fields)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_in_the_text(name):  # B9: time(2n)/time(n) <= 2.5
    fields = {"language": "en", "analysis_type": "all"}

    def text(n: int) -> str:
        return (HOSTILE[name] * (n // len(HOSTILE[name]) + 1))[:n]

    gc.disable()  # its runs grow with what all the other tests left behind
    try:
        # Once is enough: what the machine does besides may come on top of one of the times.
        assert any(best_seconds(text(12_000), fields) / best_seconds(text(6_000), fields) <= 2.5 for _ in range(4))
    finally:
        gc.enable()


async def run_all(processor: AdvancedAsyncProcessor, payloads: list[dict[str, object]], **options: object):
    tasks = [create_task(ProcessingType.TEXT_ANALYSIS, payload, **options) for payload in payloads]
    for task in tasks:
        await processor.submit_task(task)
    return [await processor.wait_for_task(task.id, timeout=50) for task in tasks]


async def test_hostile_texts_are_refused_or_end_and_do_not_hold_up_the_loop():  # B9: loop lag <= 50 ms
    """10 MB, a million marks, half a surrogate pair; then each of the others; and the slot is free for a good one."""
    async with AdvancedAsyncProcessor(1, 1, 1) as processor:
        lags: list[float] = []
        (warm,) = await run_all(processor, [{"text": ZOO}])
        ticker = asyncio.create_task(tick(lags))
        for hostile in ("a b " * 2_500_000, "e" + "\u0301" * 1_000_000, "a\ud800", "\udfff"):
            with pytest.raises(InvalidPayloadError, match="'text'"):
                await run_all(processor, [{"text": hostile}])
        ended = await run_all(processor, [{"text": (piece * 5_000)[:5_000]} for piece in HOSTILE.values()])
        (good,) = await run_all(processor, [{"text": ZOO}])
        ticker.cancel()

    assert {item.status for item in ended} == {TaskStatus.COMPLETED}
    assert good.result == warm.result
    # The machine is shared: what comes once in a hundred wake-ups is its doing, and ours would come with every text.
    lags.sort()
    assert lags[len(lags) * 98 // 100] <= 0.05, lags[-5:]


async def tick(lags: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.002)
        lags.append(time.perf_counter() - started - 0.002)


async def test_a_hundred_texts_in_a_batch_are_all_analysed():
    async with AdvancedAsyncProcessor(2, 2, 2) as processor:
        payloads = [{"text": f"{REVIEWS[n % 3]} This was review number {n}."} for n in range(100)]

        results = await run_all(processor, payloads, priority=TaskPriority.BATCH)

    assert [item.status for item in results] == [TaskStatus.COMPLETED] * 100
    assert [item.result["sentiment"]["label"] for item in results[:3]] == ["positive", "negative", "positive"]
    assert [item.result["statistics"]["characters"] for item in results] == [len(item["text"]) for item in payloads]
