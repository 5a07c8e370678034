"""``spoken_answer``: what is spoken, what is refused, and what is said where nothing can be spoken."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processors.recordings import RATE, pcm, tone
from tests.results.kit import ended

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, SpeechConfig, create_task
from async_processor.config import AIConfig
from async_processor.context import DependencyResults, TaskContext
from async_processor.errors import (
    ConfigurationError,
    InvalidPayloadError,
    PermanentError,
    ProcessorNotAvailableError,
    ProviderError,
)
from async_processor.model import ProcessingTask, TaskResult, TaskStatus
from async_processor.processors import provider_registry, speech_programs
from async_processor.processors.example_sound import example_recording
from async_processor.processors.example_sound import tone as example_tone
from async_processor.processors.provider_registry import provider
from async_processor.processors.samples import to_wav
from async_processor.processors.spoken_answer import SPOKEN_ANSWER, SpokenAnswer, find_text, read_request
from async_processor.processors.synthesis import MAX_CHARS, Spoken

WAV = to_wav(pcm(tone(0.5)), RATE)
CONFIG = ProcessorConfig(speech=SpeechConfig(synthesizer="mine"), ai=AIConfig(provider="scripted"))


class Voice:
    """A synthesiser that says what it is told to."""

    provider, model, offline = "voice", "voice-1", True
    gives: Any = Spoken(wav=WAV, voice="bear")

    def __init__(self, settings: SpeechConfig) -> None:
        self.settings = settings
        self.said: list[str] = []
        self.closed = 0

    async def speak(self, text: str) -> Spoken | None:
        self.said.append(text)
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    async def check(self) -> None:
        if isinstance(self.gives, Exception):
            raise self.gives

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_registry.registry, "_factories", {})


def register(**changed: Any) -> list[Any]:
    """Bring a synthesiser named "mine", but for these attributes; gives the list of all that will be made."""
    made = []

    @provider("text_to_speech", "mine")
    def make(settings: SpeechConfig) -> object:
        made.append(type("Changed", (Voice,), changed)(settings))
        return made[-1]

    return made


async def say(payload: dict[str, Any], config: ProcessorConfig = CONFIG) -> TaskResult:
    async with AdvancedAsyncProcessor(1, 1, 1, config=config, enable_monitoring=False) as processor:
        task = create_task(SPOKEN_ANSWER, payload, max_retries=0)
        await processor.submit_task(task)
        return ended(await processor.wait_for_task(task.id, timeout=30.0))


async def test_a_brought_synthesiser_speaks_and_is_closed():
    made = register()

    result = await say({"text": "Good\n night", "child_id": "c-1"})

    assert result.unwrap() == {
        "audio_data": WAV, "duration": 0.5, "sample_rate": RATE, "provider": "voice", "model": "voice-1",
        "voice": "bear", "offline": True, "reason": None, "warnings": [],
    }  # fmt: skip
    (voice,) = made
    assert (voice.said, voice.settings, voice.closed) == (["Good night"], CONFIG.speech, 1)


async def test_it_speaks_the_reply_that_it_waited_for():
    made = register(offline=False, model=None)

    async with AdvancedAsyncProcessor(1, 1, 1, config=CONFIG, enable_monitoring=False) as processor:
        reply = create_task(ProcessingType.AI_RESPONSE, {"prompt": "I am happy today!"})
        speech = create_task(SPOKEN_ANSWER, {}, depends_on=[reply.id])
        for task in (reply, speech):
            await processor.submit_task(task)
        said = (await processor.wait_for_task(reply.id, timeout=30.0)).unwrap()["response"]
        spoken = (await processor.wait_for_task(speech.id, timeout=30.0)).unwrap()

    assert made[0].said == [said]
    assert (spoken["offline"], spoken["model"]) == (False, None)


async def test_a_long_answer_is_cut_between_words_with_a_warning():
    made = register()
    words = "bear " * 300

    result = await SpokenAnswer(CONFIG.speech)(task({}), after(words))

    assert made[0].said == ["bear " * 199 + "bear"]
    assert result["warnings"] == [f"the text has {len(words)} characters; only the first 999 were spoken"]


@pytest.mark.parametrize(
    ("gives", "error", "says"),
    [
        (WAV, PermanentError, "'voice' gave back bytes in place of Spoken"),
        (Spoken(wav="RIFF"), PermanentError, "whose wav or voice is none"),  # type: ignore[arg-type]
        (Spoken(wav=WAV, voice=3), PermanentError, "whose wav or voice is none"),  # type: ignore[arg-type]
        (Spoken(wav=b"ID3" + bytes(99)), ProviderError, "gave back something else than a WAV file"),
        (Spoken(wav=bytes(10_000_001)), ProviderError, r"more than 10000000 \(SpeechConfig.max_speech_bytes\)"),
        (ProviderError("a sore throat"), ProviderError, "a sore throat"),
        (ProcessorNotAvailableError("no voice left"), ProcessorNotAvailableError, "no voice left"),
    ],
)
async def test_what_is_no_speech_fails_the_task(gives: object, error: type[Exception], says: str):
    register(gives=gives)

    with pytest.raises(error, match=says) as caught:
        await SpokenAnswer(CONFIG.speech)(task({"text": "Good night"}), after(None))

    assert type(caught.value) is error


@pytest.mark.parametrize("changed", [{"offline": None}, {"model": ""}, {"model": 3}, {"speak": None}, {"check": None}])
async def test_one_that_does_not_say_where_it_works_or_cannot_speak_is_not_used(changed: dict[str, Any]):
    made = register(**changed)

    result = await say({"text": "Good night"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ConfigurationError")
    assert "text_to_speech 'mine' lacks" in (result.error or "")
    assert made[0].said == []


async def test_a_name_that_nobody_brings_is_refused_with_those_there_are():
    result = await say({"text": "Good night"})

    assert result.error_type == "ConfigurationError"
    assert "there is no text_to_speech 'mine'; there are: auto, espeak-ng, flite, openai" in (result.error or "")
    found = await SpokenAnswer(CONFIG.speech).readiness()
    assert (found.provider, found.offline) == ("mine", False)
    assert "there is no text_to_speech 'mine'" in (found.problem or "")


async def test_what_it_cannot_pronounce_stays_text_and_the_result_says_why():
    register(gives=None)

    results = [await SpokenAnswer(CONFIG.speech)(task({}), after(text)) for text in ("你好", "😀", "", " \n")]

    assert [result["reason"] for result in results] == [
        "the text has nothing that can be spoken", "the text has nothing that can be spoken", "the text is empty",
        "the text is empty",
    ]  # fmt: skip
    assert {result["audio_data"] for result in results} == {None}
    assert {len(result) for result in results} == {9}


# ---- where no program is installed


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)


async def test_without_a_program_the_answer_stays_text_and_the_result_says_what_to_install(bare_path: None):
    result = await say({"text": "Hello"}, ProcessorConfig())

    assert result.unwrap() == {
        "audio_data": None, "duration": None, "sample_rate": None, "provider": None, "model": None, "voice": None,
        "offline": None, "warnings": [],
        "reason": "no offline synthesiser is installed; as root: apt-get install flite",
    }  # fmt: skip
    found = await SpokenAnswer(SpeechConfig()).readiness()
    assert (found.provider, found.offline, found.problem) == ("flite", True, result.unwrap()["reason"])


async def test_a_program_that_was_chosen_and_is_not_there_is_a_failure(bare_path: None):
    config = ProcessorConfig(speech=SpeechConfig(synthesizer="espeak-ng"))

    result = await say({"text": "Hello"}, config)

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ProcessorNotAvailableError")
    assert "apt-get install espeak-ng" in (result.error or "")


def test_without_a_program_the_example_recording_is_a_tone(bare_path: None):
    assert example_recording() == example_tone()


@pytest.mark.skipif(not any(item.available() for item in speech_programs.PROGRAMS), reason="flite is missing")
async def test_without_settings_a_program_here_speaks():
    result = (await say({"text": "Hello, teddy."}, ProcessorConfig())).unwrap()

    assert (result["provider"], result["offline"], result["model"]) in (
        ("flite", True, None),
        ("espeak-ng", True, None),
    )
    assert result["duration"] > 0.3


# ---- payloads


def task(payload: dict[str, Any]) -> ProcessingTask:
    return ProcessingTask(SPOKEN_ANSWER, payload)


def after(reply: object) -> TaskContext:
    """The context of a task that depended on a reply; None for one that did not."""
    result = reply if reply is None or not isinstance(reply, str) else {"response": reply}
    done = TaskResult(task_id="r", status=TaskStatus.COMPLETED, result=result, task_type=ProcessingType.AI_RESPONSE)
    return TaskContext(task_id="s", task_type=SPOKEN_ANSWER, dependencies=DependencyResults({"r": done}))


@pytest.mark.parametrize("reply", [None, {}, {"response": None}, {"response": 7}, ["hello"], 3])
def test_without_a_text_and_a_reply_it_says_what_to_send(reply: object):
    with pytest.raises(
        InvalidPayloadError, match=r"'text'\] is missing; send what to say, or depend on an AI_RESPONSE"
    ):
        find_text({}, after(reply))


def test_the_payload_s_text_goes_before_the_reply():
    assert find_text({"text": "one"}, after("two")) == "one"
    assert find_text({"text": None}, after("two")) == "two"
    assert find_text({}, after("half \ud83d a pair")) == "half ? a pair"


@pytest.mark.parametrize("text", ["a" * (MAX_CHARS + 1), "\ud83d", 3, b"hello", ["hello"], True])
def test_a_text_that_cannot_be_spoken_is_refused(text: object):
    with pytest.raises(InvalidPayloadError) as caught:
        read_request({"text": text})
    assert caught.value.field == "text"


def anything() -> st.SearchStrategy[Any]:
    simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=1_200) | st.binary(max_size=20)
    return st.recursive(
        simple, lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3)
    )


@given(st.dictionaries(st.sampled_from(["text", "voice", "audio_data", "x"]), anything()))
def test_any_payload_is_read_or_refused(payload: dict[str, Any]):  # B21
    with contextlib.suppress(InvalidPayloadError):
        text = read_request(payload).text
        assert text is None or len(text.encode()) >= len(text)


def test_settings_that_cannot_be_used_are_refused_when_the_processor_is_made():
    with pytest.raises(ConfigurationError, match="synthesizer_voice"):
        AdvancedAsyncProcessor(config=ProcessorConfig(speech=SpeechConfig(synthesizer="openai", synthesizer_model="m")))
