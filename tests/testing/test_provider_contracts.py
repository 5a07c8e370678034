"""The checks for providers: a good one passes all, and each fault is found by the check that is there for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.processors import pictures as make

from async_processor.errors import ProviderError
from async_processor.processors.chat import ChatReply, ChatRequest
from async_processor.processors.emotion_analyzer import EmotionFinding, EmotionRequest
from async_processor.processors.moderation import Verdict
from async_processor.processors.notifier import Delivery, Notification, Refusal
from async_processor.processors.picture_request import GeneratedPicture, PictureRequest
from async_processor.processors.recognition import HostedText
from async_processor.processors.samples import to_wav
from async_processor.processors.synthesis import Spoken
from async_processor.testing import provider_contracts
from async_processor.testing.provider_contracts import (
    Check,
    ContractBroken,
    chat_model_checks,
    emotion_analyzer_checks,
    image_generator_checks,
    moderator_checks,
    notifier_checks,
    provider_checks,
    recognizer_checks,
    run_checks,
    synthesizer_checks,
)

NOTIFICATION = Notification(key="k", message="Hello", recipients=("a", "b"))


LABELLED = {"provider": "good", "offline": True, "model": "m-1"}


class Good:
    """A provider of no kind in particular; tests break it in one way each."""

    provider = "good"
    result: Any = LABELLED

    async def use(self) -> object:
        await asyncio.sleep(0)
        return self.result

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


class Broken(Good):
    async def use(self) -> object:
        raise ProviderError("the server is not there")


class GoodChat(Good):
    reply_with: Any = ChatReply(
        text="Hello", provider="good", model=None, tokens_used=None, finish_reason="stop", offline=True, generated=False
    )

    async def reply(self, _request: ChatRequest) -> ChatReply:
        return self.reply_with


class GoodNotifier(Good):
    delivery: Any = Delivery(
        provider="good", delivered=("a",), refused=(Refusal(recipient="b", reason="moved"),), message_id="k"
    )

    async def send(self, _notification: Notification) -> Delivery:
        return self.delivery


class GoodRecognizer(Good):
    offline: Any = True
    model: Any = None
    hears: Any = HostedText("hello", None)

    async def recognise(self, _file_name: str, _recording: bytes, _language: str | None) -> HostedText:
        return self.hears


class GoodVoice(Good):
    offline: Any = True
    model: Any = None
    gives: Any = Spoken(wav=to_wav(b"\1\0" * 800, 16_000), voice="bear")

    async def speak(self, _text: str) -> Spoken | None:
        return self.gives


class GoodAnalyzer(Good):
    offline: Any = False
    model: Any = "m-1"
    finding: Any = EmotionFinding(primary_emotion="happy", basis=("text", "audio"))

    async def analyse(self, _request: EmotionRequest) -> EmotionFinding:
        return self.finding


class GoodModerator(Good):
    offline = True
    stopped: Any = Verdict(False, ("carrots",))
    passed: Any = Verdict(True)

    async def judge(self, text: str, _stage: str) -> Verdict:
        return self.stopped if text == "carrot" else self.passed


PICTURE = {
    "data": make.png(8, 6), "format": "PNG", "width": 8, "height": 6, "provider": "good", "offline": True,
    "generated": False,
}  # fmt: skip


class GoodGenerator(Good):
    takes: Any = ("seed",)
    picture: Any = GeneratedPicture(**PICTURE)

    async def generate(self, _request: PictureRequest) -> GeneratedPicture:
        return self.picture


def general(kind: type[Good], broken: type[Good] = Broken) -> list[Check]:
    return provider_checks(kind, lambda provider: provider.use(), broken=broken)


def but(kind: type[Good], **attributes: Any) -> type[Any]:
    """The same, but for these attributes."""
    return type("Changed", (kind,), attributes)


async def broken_at(checks: list[Check]) -> dict[str, str]:
    """What does not hold, and how it is told."""
    found = {}
    for check in checks:
        try:
            await check()
        except ContractBroken as error:
            found[check.name] = str(error)
    return found


async def test_good_providers_pass_and_the_names_of_the_checks_are_given():
    kinds = (
        chat_model_checks(GoodChat),
        notifier_checks(GoodNotifier, NOTIFICATION),
        recognizer_checks(GoodRecognizer),
        synthesizer_checks(GoodVoice),
        emotion_analyzer_checks(GoodAnalyzer),
        moderator_checks(GoodModerator, "carrot"),
        image_generator_checks(GoodGenerator),
    )
    for checks in (general(Good), *kinds):
        names = await run_checks(checks)

        assert names == [str(check) for check in checks]
        assert len(names) >= 8


async def test_the_first_fault_ends_a_run():
    class Unnamed(Good):
        provider = " "

    with pytest.raises(ContractBroken, match="provider must be a name"):
        await run_checks(general(Unnamed))


async def test_results_of_dicts_and_objects_are_read_alike():
    unsaid = but(Good, result={"provider": "good", "offline": None})
    mislabelled = but(Good, result=Delivery(provider="somebody else"))
    unnamed = but(Good, result={"provider": "good", "offline": True, "model": ""})

    for kind, says in ((unsaid, "'offline'"), (mislabelled, "the provider's name"), (unnamed, "'model'")):
        found = await broken_at(general(kind))
        assert list(found) == ["what_it_gives_is_labelled"]
        assert says in found["what_it_gives_is_labelled"]


async def test_a_name_that_changes_is_found():
    class Changing(Good):
        made = 0

        def __init__(self) -> None:
            Changing.made += 1
            self.provider = f"good-{Changing.made}"

    assert "it_has_a_name" in await broken_at(general(Changing))


async def test_a_call_that_swallows_its_cancel_is_found():
    class Stubborn(Good):
        async def use(self) -> object:
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                raise ValueError("not now") from None
            return self.result

    found = await broken_at(general(Stubborn))

    assert "must end as cancelled" in found["a_cancelled_call_ends_at_once_and_leaves_nothing_behind"]


async def test_a_call_that_does_not_end_when_cancelled_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_contracts, "AT_ONCE_S", 0.05)
    release = asyncio.Event()

    class Deaf(Good):
        async def use(self) -> object:
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                await release.wait()
            return self.result

    found = await broken_at(general(Deaf))
    release.set()

    assert "must end at once" in found["a_cancelled_call_ends_at_once_and_leaves_nothing_behind"]


async def test_a_call_that_leaves_something_running_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provider_contracts, "AT_ONCE_S", 0.05)
    release = asyncio.Event()
    running = []

    class Littering(Good):
        async def use(self) -> object:
            running.append(asyncio.ensure_future(release.wait()))
            await asyncio.sleep(0)
            return self.result

    found = await broken_at(general(Littering))
    release.set()
    await asyncio.gather(*running)

    assert "left 1 tasks behind" in found["a_cancelled_call_ends_at_once_and_leaves_nothing_behind"]


async def test_a_foreign_error_and_a_pretended_success_are_found():
    class Foreign(Broken):
        async def use(self) -> object:
            raise OSError("no route")

    class Silent(Broken):
        async def use(self) -> object:
            raise ProviderError("")

    for broken, says in ((Foreign, "not OSError"), (Silent, "what was wrong"), (Good, "must raise")):
        found = await broken_at(general(Good, broken))
        assert list(found) == ["a_failure_is_one_of_the_library_s_errors"]
        assert says in found["a_failure_is_one_of_the_library_s_errors"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": " Hello"}, "without space"),
        ({"text": ""}, "must have words"),
        ({"finish_reason": "bored"}, "'bored' is none"),
        ({"generated": None}, "'generated'"),
        ({"generated": True, "tokens_used": 0}, "never made up"),
        ({"generated": True, "tokens_used": 1.5}, "never made up"),
        ({"tokens_used": 5}, "nobody counted"),
    ],
)
async def test_a_reply_that_is_not_complete_is_found(change: dict[str, Any], says: str):
    reply = {
        "text": "Hello", "provider": "good", "model": None, "tokens_used": None, "finish_reason": "stop",
        "offline": True, "generated": False,
    }  # fmt: skip

    found = await broken_at(chat_model_checks(but(GoodChat, reply_with=ChatReply(**reply | change))))

    assert list(found) == ["a_reply_is_complete"]
    assert says in found["a_reply_is_complete"]


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        (Delivery(provider="good", delivered=("a",), message_id="k"), "of 2 recipients 1"),
        (Delivery(provider="good", delivered=("a",), refused=(Refusal(recipient="b", reason=""),)), "for a reason"),
    ],
)
async def test_a_delivery_that_loses_somebody_is_found(delivery: Delivery, says: str):
    found = await broken_at(notifier_checks(but(GoodNotifier, delivery=delivery), NOTIFICATION))

    assert list(found) == ["a_delivery_accounts_for_every_recipient"]
    assert says in found["a_delivery_accounts_for_every_recipient"]


async def test_an_id_that_changes_with_every_attempt_is_found():
    class Bad(GoodNotifier):
        sent = 0

        async def send(self, _notification: Notification) -> Delivery:
            self.sent += 1
            return Delivery(provider="good", delivered=("a", "b"), message_id=f"m-{self.sent}")

    assert list(await broken_at(notifier_checks(Bad, NOTIFICATION))) == ["the_same_message_has_the_same_id"]


async def test_something_else_than_a_reply_or_a_delivery_is_found():
    bare = {"provider": "good", "offline": True, "message_id": "k"}
    chat, notifier = but(GoodChat, reply_with=bare), but(GoodNotifier, delivery=bare)

    assert "not dict" in (await broken_at(chat_model_checks(chat)))["a_reply_is_complete"]
    found = await broken_at(notifier_checks(notifier, NOTIFICATION))
    assert "not dict" in found["a_delivery_accounts_for_every_recipient"]


@pytest.mark.parametrize(
    ("hears", "says"),
    [
        ("hello", "not str"),
        (HostedText(None, None), "must be a text"),  # type: ignore[arg-type]
        (HostedText("hello ", None), "no space around"),
        (HostedText("hello", ""), "a language has a name"),
        (HostedText("hello", 7), "a language has a name"),  # type: ignore[arg-type]
    ],
)
async def test_something_heard_that_is_no_text_is_found(hears: object, says: str):
    found = await broken_at(recognizer_checks(but(GoodRecognizer, hears=hears)))

    assert list(found) == ["what_is_heard_is_a_text"]
    assert says in found["what_is_heard_is_a_text"]


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        ({"primary_emotion": "happy"}, "not dict"),
        (EmotionFinding(primary_emotion="glee", basis=("text",)), "primary_emotion"),
        (EmotionFinding(primary_emotion="happy", basis=("stars",)), "what was given (audio, text)"),
        (EmotionFinding(primary_emotion="neutral", basis=()), "reason must be"),
    ],
)
async def test_a_finding_that_cannot_be_used_is_found(finding: object, says: str):
    found = await broken_at(emotion_analyzer_checks(but(GoodAnalyzer, finding=finding)))

    assert list(found) == ["a_finding_is_within_bounds_and_rests_on_what_was_given"]
    assert says in found["a_finding_is_within_bounds_and_rests_on_what_was_given"]


async def test_one_that_does_not_say_where_it_works_is_found():
    class Restless(GoodRecognizer):
        asked = 0

        async def recognise(self, *_: object) -> HostedText:
            self.asked += 1
            self.model = f"m-{self.asked}"
            return self.hears

    for kind, says in ((but(GoodRecognizer, offline=None), "'offline', a bool"), (Restless, "stay what they were")):
        found = await broken_at(recognizer_checks(kind))
        assert list(found) == ["what_it_gives_is_labelled"]
        assert says in found["what_it_gives_is_labelled"]


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (None, "not NoneType"),
        (b"RIFF", "not bytes"),
        (Spoken(wav="RIFF"), "wav must be bytes, not str"),  # type: ignore[arg-type]
        (Spoken(wav=b"ID3" + bytes(50)), "it gave something else than a WAV file"),
        (Spoken(wav=to_wav(b"", 16_000)), "it gave no sound"),
        (Spoken(wav=to_wav(bytes(800), 16_000)), "all of its samples are zero"),
        (Spoken(wav=GoodVoice.gives.wav, voice=""), "a voice has a name, or is None"),
    ],
)
async def test_what_is_no_sound_is_found(gives: object, says: str):
    found = await broken_at(synthesizer_checks(but(GoodVoice, gives=gives)))

    assert list(found) == ["what_is_spoken_is_a_sound"]
    assert says in found["what_is_spoken_is_a_sound"]


async def test_what_the_checks_ask_is_what_they_were_made_with():
    asked: list[object] = []

    class Asked(GoodRecognizer):
        async def recognise(self, *request: object) -> HostedText:
            asked.append(request)
            return self.hears

    await run_checks(recognizer_checks(Asked, recording=b"sound", file_name="a.ogg", language="de"))

    assert set(asked) == {("a.ogg", b"sound", "de")}


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        ({"offline": None}, "what_it_gives_is_labelled", "'offline'"),
        ({"stopped": Verdict(0, ("carrots",))}, "a_verdict_is_complete", "True or False"),
        ({"passed": Verdict("yes")}, "a_verdict_is_complete", "True or False"),
        ({"stopped": Verdict(False, ["carrots"])}, "a_verdict_is_complete", "tuple of names"),
        ({"stopped": Verdict(False, ("",))}, "a_verdict_is_complete", "tuple of names"),
        ({"stopped": Verdict(False, (5,))}, "a_verdict_is_complete", "tuple of names"),
        ({"stopped": Verdict(True)}, "what_is_harmful_is_stopped", "must be stopped"),
        ({"stopped": Verdict(False, ("carrot",))}, "what_is_harmful_is_stopped", "never what was said"),
        ({"passed": Verdict(False)}, "what_is_harmless_passes", "must pass"),
        ({"passed": Verdict(True, ("carrots",))}, "what_is_harmless_passes", "nothing is wrong"),
    ],
)
async def test_a_moderator_that_falls_short_is_found(change: dict[str, Any], check: str, says: str):
    found = await broken_at(moderator_checks(but(GoodModerator, **change), "carrot"))

    assert list(found) == [check]
    assert says in found[check]


async def test_a_moderator_that_looks_at_one_stage_only_is_found():
    class Half(GoodModerator):
        async def judge(self, text: str, stage: str) -> Verdict:
            return await super().judge(text, stage) if stage == "input" else Verdict(True)

    assert list(await broken_at(moderator_checks(Half, "carrot"))) == ["what_is_harmful_is_stopped"]


@pytest.mark.parametrize("takes", ["seed", ["size"], None])
async def test_a_generator_that_takes_what_is_no_wish_is_found(takes: Any):
    assert list(await broken_at(image_generator_checks(but(GoodGenerator, takes=takes)))) == ["it_says_what_it_takes"]


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        ({"provider": "other"}, "what_it_gives_is_labelled", "the provider's name"),
        ({"offline": None}, "what_it_gives_is_labelled", "'offline'"),
        ({"generated": None}, "a_picture_is_complete", "'generated'"),
        ({"seed": -1}, "a_picture_is_complete", "a seed is"),
        ({"seed": 2**32}, "a_picture_is_complete", "a seed is"),
        ({"seed": True}, "a_picture_is_complete", "a seed is"),
        ({"data": "text"}, "a_picture_is_what_it_says", "not str"),
        ({"data": b"a poem"}, "a_picture_is_what_it_says", "no format that is read here"),
        ({"data": make.saved(make.gradient(8, 6), "GIF")}, "a_picture_is_what_it_says", "PNG, JPEG or WebP"),
        ({"format": "JPEG"}, "a_picture_is_what_it_says", "its header"),
        ({"width": 9}, "a_picture_is_what_it_says", "its header"),
        ({"height": 9}, "a_picture_is_what_it_says", "its header"),
    ],
)
async def test_a_picture_that_is_not_what_it_says_is_found(change: dict[str, Any], check: str, says: str):
    found = await broken_at(image_generator_checks(but(GoodGenerator, picture=GeneratedPicture(**PICTURE | change))))

    assert list(found) == [check]
    assert says in found[check]


async def test_something_else_than_a_verdict_or_a_picture_is_found():
    bare = {"provider": "good", "offline": True}

    found = await broken_at(moderator_checks(but(GoodModerator, stopped=bare), "carrot"))
    assert "not dict" in found["a_verdict_is_complete"]
    found = await broken_at(image_generator_checks(but(GoodGenerator, picture=bare)))
    assert "not dict" in found["a_picture_is_what_it_says"]
