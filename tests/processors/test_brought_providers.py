"""Recognisers and emotion analysers that other code brings, in a real processor."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from typing import Any

import pytest
from tests.processors.recordings import RATE, pcm, tone
from tests.results.kit import ended

from async_processor import AdvancedAsyncProcessor, ProcessorConfig, SpeechConfig, TaskResult, TaskStatus, create_task
from async_processor.config import EmotionConfig
from async_processor.errors import InvalidPayloadError, ProviderError
from async_processor.model import ProcessingType
from async_processor.processors import provider_registry
from async_processor.processors.audio_transcription import processor_spec
from async_processor.processors.emotion_analyzer import (
    EmotionFinding,
    EmotionRequest,
    SecondaryEmotion,
    fault_in,
)
from async_processor.processors.emotion_providers import emotion_readiness
from async_processor.processors.provider_registry import provider
from async_processor.processors.recognition import HostedText

SOUND = {"audio_data": pcm(tone(0.5)), "sample_rate": RATE}
TRANSCRIBE, JUDGE = ProcessingType.AUDIO_TRANSCRIPTION, ProcessingType.EMOTION_ANALYSIS
FINDING = EmotionFinding(
    primary_emotion="happy",
    confidence=0.75,
    arousal=0.5,
    valence=-1,
    secondary_emotions=(SecondaryEmotion(name="glee", score=0.5), SecondaryEmotion(name="calm")),
    basis=("text",),
)


class Ear:
    """A recogniser that hears what it is told to."""

    provider, model, offline = "ear", "ear-1", True
    hears: Any = HostedText("hello teddy", "en")

    def __init__(self, settings: SpeechConfig) -> None:
        self.settings = settings
        self.asked: list[tuple[str, bytes, str | None]] = []
        self.closed = 0

    async def recognise(self, file_name: str, recording: bytes, language: str | None) -> HostedText:
        self.asked.append((file_name, recording, language))
        return self.hears

    async def check(self) -> None: ...

    async def aclose(self) -> None:
        self.closed += 1


class Heart:
    """An emotion analyser that finds what it is told to."""

    provider, model, offline = "heart", None, False
    finds: Any = FINDING

    def __init__(self, settings: EmotionConfig) -> None:
        self.settings = settings
        self.asked: list[EmotionRequest] = []
        self.closed = 0

    async def analyse(self, request: EmotionRequest) -> EmotionFinding:
        self.asked.append(request)
        if isinstance(self.finds, Exception):
            raise self.finds
        return self.finds

    async def check(self) -> None:
        if isinstance(self.finds, Exception):
            raise self.finds

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_registry.registry, "_factories", {})


def register(kind: str, factory: type[Any], **changed: Any) -> list[Any]:
    """Bring a provider named "mine", but for these attributes; gives the list of all that will be made."""
    made = []

    @provider(kind, "mine")
    def make(settings: object) -> object:
        made.append(type("Changed", (factory,), changed)(settings))
        return made[-1]

    return made


CONFIG = ProcessorConfig(speech=SpeechConfig(provider="mine"), emotion=EmotionConfig(provider="mine"))


async def run(*tasks: tuple[ProcessingType, dict[str, Any]], config: ProcessorConfig = CONFIG) -> list[TaskResult]:
    """One after the other, in one slot."""
    async with AdvancedAsyncProcessor(1, 1, 1, config=config, enable_monitoring=False) as processor:
        results = []
        for task_type, payload in tasks:
            task = create_task(task_type, payload, max_retries=0)
            await processor.submit_task(task)
            results.append(ended(await processor.wait_for_task(task.id, timeout=30.0)))
        return results


# ---- recognisers


async def test_a_recogniser_gets_the_whole_recording_and_its_words_are_the_result():
    made = register("speech_to_text", Ear)

    (result,) = await run((TRANSCRIBE, {**SOUND, "language": "de-AT"}))

    assert result.unwrap() == {
        "transcription": "hello teddy",
        "confidence": None,
        "score": None,
        "language": "de-AT",
        "duration": 0.5,
        "speech_duration": None,
        "segments": [],
        "reason": None,
        "sample_rate": RATE,
        "provider": "ear",
        "model": "ear-1",
        "offline": True,
    }
    assert result.worker_id is not None
    assert result.worker_id.startswith("async")
    (ear,) = made
    ((file_name, recording, language),) = ear.asked
    with wave.open(io.BytesIO(recording)) as file:
        assert (file.getframerate(), file.readframes(RATE)) == (RATE, SOUND["audio_data"])
    assert (file_name, language, ear.settings, ear.closed) == ("recording.wav", "de-AT", CONFIG.speech, 1)


async def test_a_recogniser_that_is_not_offline_says_so_in_its_results():
    register("speech_to_text", Ear, offline=False, model=None, hears=HostedText("", None))

    (result,) = await run((TRANSCRIBE, SOUND))

    assert {name: result.unwrap()[name] for name in ("offline", "model", "language", "reason")} == {
        "offline": False,
        "model": None,
        "language": None,
        "reason": "no words were heard in the recording",
    }


@pytest.mark.parametrize("hears", ["hello", None, HostedText(None, "en"), HostedText("hello", 7)])  # type: ignore[arg-type]
async def test_what_is_no_text_fails_the_task_for_good(hears: object):
    register("speech_to_text", Ear, hears=hears)

    (result,) = await run((TRANSCRIBE, SOUND))

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "PermanentError")
    assert "provider 'ear' gave back" in (result.error or "")


async def test_a_recogniser_gets_nothing_that_is_refused():
    made = register("speech_to_text", Ear)
    config = replace(CONFIG, speech=SpeechConfig(provider="mine", max_upload_bytes=1_000))

    with pytest.raises(InvalidPayloadError, match="max_upload_bytes"):
        await run((TRANSCRIBE, SOUND), config=config)
    (good,) = await run((TRANSCRIBE, {**SOUND, "audio_data": bytes(500)}), config=config)

    assert good.ok
    assert [len(ear.asked) for ear in made] == [1]


@pytest.mark.parametrize("kind", ["speech_to_text", "emotion_analyzer"])
@pytest.mark.parametrize(
    "changed", [{"offline": None}, {"offline": 1}, {"model": ""}, {"model": 3}, {"recognise": None, "analyse": None}]
)
async def test_one_that_does_not_say_where_it_works_or_with_what_is_not_used(kind: str, changed: dict[str, Any]):
    made = register(kind, Ear if kind == "speech_to_text" else Heart, **changed)

    (result,) = await run((TRANSCRIBE, SOUND) if kind == "speech_to_text" else (JUDGE, {"text": "hello"}))

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ConfigurationError")
    assert f"{kind} 'mine' lacks" in (result.error or "")
    assert made[0].asked == []


async def test_a_name_that_nobody_brings_is_refused_with_those_there_are():
    ear, heart = await run((TRANSCRIBE, SOUND), (JUDGE, {"text": "hello"}))

    assert (ear.error_type, heart.error_type) == ("ConfigurationError", "ConfigurationError")
    assert "there is no speech_to_text 'mine'; there are: auto, openai, pocketsphinx, whisper" in (ear.error or "")
    assert "there is no emotion_analyzer 'mine'; there are: chat, hume, offline" in (heart.error or "")


@pytest.mark.parametrize(("offline", "remarks"), [(True, ()), (False, ("recordings leave this machine",))])
async def test_readiness_tells_whether_recordings_leave(offline: bool, remarks: tuple[str, ...]):
    register("speech_to_text", Ear, offline=offline)
    spec = processor_spec(CONFIG)
    assert spec.readiness is not None
    assert spec.aclose is not None

    found = await spec.readiness()
    await spec.aclose()

    assert (found.provider, found.offline, found.problem, found.remarks) == ("mine", offline, None, remarks)


# ---- emotion analysers


async def test_an_analyser_s_finding_is_a_result_with_the_keys_of_all():
    made = register("emotion_analyzer", Heart)

    (result,) = await run((JUDGE, {"text": " I am happy ", "baseline": {"pitch_hz": 200.0}}))

    assert result.unwrap() == {
        "primary_emotion": "happy",
        "confidence": 0.75,
        "secondary_emotions": [{"emotion": "glee", "score": 0.5}, {"emotion": "calm", "score": None}],
        "arousal": 0.5,
        "valence": -1,
        "analysis_method": "text",
        "basis": ["text"],
        "baseline_used": False,
        "features": {},
        "reason": None,
        "provider": "heart",
        "model": None,
        "offline": False,
        "warnings": ["not used, because only the offline analysis does: payload['baseline']"],
    }
    (heart,) = made
    assert heart.asked == [EmotionRequest(text="I am happy")]
    assert (heart.settings, heart.closed) == (CONFIG.emotion, 1)


@pytest.mark.parametrize(
    ("analysis_type", "words", "recording"),
    [("comprehensive", True, True), ("text", True, False), ("prosody", False, True), ("audio", False, True)],
)
async def test_an_analyser_gets_what_is_to_be_judged_and_no_more(analysis_type: str, words: bool, recording: bool):
    basis = (*(["text"] * words), *(["audio"] * recording))
    made = register("emotion_analyzer", Heart, finds=replace(FINDING, basis=basis))
    # "language" is no field of this type: what stands there is the caller's own.
    payload = {**SOUND, "text": "hello", "analysis_type": analysis_type, "language": "Deutsch!"}

    (result,) = await run((JUDGE, payload))

    assert result.unwrap()["analysis_method"] == "+".join(basis)
    ((asked),) = made[0].asked
    assert (asked.text, asked.heard) == ("hello" if words else None, False)
    assert (asked.recording is not None, asked.file_name) == (recording, "recording.wav" if recording else None)


async def test_an_analyser_gets_the_words_that_a_transcription_heard():
    register("speech_to_text", Ear, hears=HostedText("so happy " * 1_000, "en"))
    made = register("emotion_analyzer", Heart)
    heard = create_task(TRANSCRIBE, SOUND)
    judged = create_task(JUDGE, {}, depends_on=[heard.id])

    async with AdvancedAsyncProcessor(1, 1, 1, config=CONFIG, enable_monitoring=False) as processor:
        for task in (heard, judged):
            await processor.submit_task(task)
        result = (await processor.wait_for_task(judged.id, timeout=30.0)).unwrap()

    assert made[0].asked == [EmotionRequest(text=("so happy " * 1_000)[:5_000], heard=True)]
    assert result["warnings"] == ["the transcript has 8999 characters; only the first 5000 were used"]


async def test_where_nothing_was_said_nobody_is_asked():
    made = register("emotion_analyzer", Heart)

    (result,) = await run((JUDGE, {"text": " \n"}))

    assert made == []
    assert (result.unwrap()["primary_emotion"], result.unwrap()["reason"]) == ("neutral", "no words were found")
    assert (result.unwrap()["confidence"], result.unwrap()["provider"]) == (0.0, "none")


@pytest.mark.parametrize("finds", [{"primary_emotion": "happy"}, replace(FINDING, arousal=2.0)])
async def test_a_finding_that_cannot_be_used_fails_for_good(finds: object):
    register("emotion_analyzer", Heart, finds=finds)

    bad, silent = await run((JUDGE, {"text": "hello"}), (JUDGE, {"text": ""}))

    assert (bad.status, bad.error_type) == (TaskStatus.FAILED, "PermanentError")
    assert "provider 'heart' gave back" in (bad.error or "")
    assert silent.ok, "the slot is free afterwards"


@pytest.mark.parametrize("payload", [{}, {"text": 3}, {"text": "hi", "analysis_type": "prosody"}, {"audio_data": 1}])
async def test_a_payload_that_cannot_be_judged_is_refused_before_the_analyser_is_made(payload: dict[str, Any]):
    made = register("emotion_analyzer", Heart)

    with pytest.raises(InvalidPayloadError):
        await run((JUDGE, payload))

    assert made == []


async def test_an_analyser_s_readiness_is_asked_and_it_is_closed_again():
    made = register("emotion_analyzer", Heart)
    ready = await emotion_readiness(CONFIG, {})
    register_failing = type("Failing", (Heart,), {"finds": ProviderError("its heart is broken"), "offline": True})
    provider("emotion_analyzer", "broken")(register_failing)

    broken = await emotion_readiness(ProcessorConfig(emotion=EmotionConfig(provider="broken")), {})

    assert (ready.provider, ready.offline, ready.problem) == ("mine", False, None)
    assert "may send words and recordings away" in ready.remarks[0]
    assert (broken.offline, broken.problem, broken.remarks) == (True, "its heart is broken", ())
    assert [heart.closed for heart in made] == [1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"primary_emotion": "glee"}, "primary_emotion must be one of neutral, happy"),
        ({"primary_emotion": ["happy"]}, "primary_emotion"),
        ({"confidence": -0.1}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"arousal": 1.01}, "arousal"),
        ({"arousal": float("nan")}, "arousal"),
        ({"valence": "0.5"}, "valence"),
        ({"secondary_emotions": [SecondaryEmotion(name="a")]}, "secondary_emotions must be a tuple"),
        ({"secondary_emotions": (SecondaryEmotion(name="a"),) * 11}, "at most 10"),
        ({"secondary_emotions": ("glee",)}, "secondary_emotions"),
        ({"secondary_emotions": (SecondaryEmotion(name="a" * 61),)}, "secondary_emotions"),
        ({"secondary_emotions": (SecondaryEmotion(name=""),)}, "secondary_emotions"),
        ({"secondary_emotions": (SecondaryEmotion(name="a", score=1.5),)}, "secondary_emotions"),
        ({"basis": ("audio",)}, "basis must be a tuple of what was given (text)"),
        ({"basis": ("text", "text")}, "basis"),
        ({"basis": ([],)}, "basis"),
        ({"basis": "text"}, "basis"),
        ({"basis": ()}, "reason must be a text"),
        ({"basis": (), "reason": "x" * 501}, "reason"),
        ({"reason": "no idea"}, "reason"),
    ],
)
def test_each_fault_in_a_finding_is_told(change: dict[str, Any], says: str):
    request = EmotionRequest(text="hello")

    assert fault_in(FINDING, request) is None
    assert fault_in(replace(FINDING, basis=(), reason="nobody speaks"), request) is None
    assert says in (fault_in(replace(FINDING, **change), request) or "")
