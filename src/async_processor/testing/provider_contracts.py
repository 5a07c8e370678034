"""What holds for every provider, as checks that any provider can be put through. See docs/providers.md.

A check is a coroutine function without arguments, with a name; it raises ``ContractBroken`` where the provider falls
short. They need no test framework: loop over them, or hand them to one as parameters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, get_args

from ..errors import AsyncProcessorError
from ..processors.chat import ChatModel, ChatReply, ChatRequest, Feeling, FinishReason
from ..processors.emotion_analyzer import EmotionAnalyzer, EmotionFinding, EmotionRequest, fault_in
from ..processors.image_headers import GIF, HeaderError, ImageHeader, read_header
from ..processors.moderation import Moderator, Stage, Verdict
from ..processors.notifier import Delivery, Notification, Notifier
from ..processors.picture_request import MAX_SEED, OPTIONAL, GeneratedPicture, ImageGenerator, PictureRequest
from ..processors.provider_registry import is_labelled
from ..processors.recognition import HostedRecognizer, HostedText
from ..processors.samples import to_wav
from ..processors.synthesis import SpeechSynthesizer, Spoken
from ..processors.wav_sound import WavError, read_wav

CHAT_REQUEST = ChatRequest(
    system="You are a toy bear.",
    message="Say hello.",
    model="test-model",
    max_tokens=50,
    words="hello teddy",
    feeling=Feeling(name="happy", valence=0.5, arousal=0.5),
    age=5,
)
"""What a chat model is asked unless the checks are made with another request."""

SILENCE = to_wav(bytes(2 * 16_000), 16_000)
"""A WAV file with a second of silence: what a recogniser hears unless the checks are made with another recording."""

EMOTION_REQUEST = EmotionRequest(text="I am happy today!", recording=SILENCE, file_name="recording.wav")
"""What an emotion analyser is asked unless the checks are made with another request."""
PICTURE_REQUEST = PictureRequest(prompt="a bear that waves", width=64, height=64, model="test-model", seed=5)
"""What an image generator is asked unless the checks are made with another request."""

AT_ONCE_S = 1.0
"""How long a cancelled call may take to end, and what it started to be gone."""


class ContractBroken(AssertionError):  # noqa: N818 - it is a failed test, not an error of the library
    """A provider does not keep its contract; the message says in what."""


class Provider(Protocol):
    """What all kinds of providers have."""

    @property
    def provider(self) -> str: ...

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


P = TypeVar("P", bound=Provider)


@dataclass(slots=True, frozen=True)
class Check:
    """One thing that must hold."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]

    async def __call__(self) -> None:
        await self.run()

    def __str__(self) -> str:
        return self.name


async def run_checks(checks: list[Check]) -> list[str]:
    """Run all, and tell their names in order; the first that does not hold ends it with ``ContractBroken``."""
    for check in checks:
        await check()
    return [check.name for check in checks]


def provider_checks(
    make: Callable[[], P], call: Callable[[P], Awaitable[object]], *, broken: Callable[[], P] | None = None
) -> list[Check]:
    """The checks for a provider of any kind.

    Args:
        make: makes a provider that can work, anew for each check.
        call: uses it once, and gives back what it gave.
        broken: makes one that cannot work, such as one whose server is not there.
    """
    return _checks_of(_Common(make, call, broken))


def chat_model_checks(
    make: Callable[[], ChatModel],
    *,
    request: ChatRequest = CHAT_REQUEST,
    broken: Callable[[], ChatModel] | None = None,
) -> list[Check]:
    """The checks for a chat model."""

    async def call(model: ChatModel) -> ChatReply:
        return await model.reply(request)

    return _checks_of(_ChatModel(make, call, broken, request))


def notifier_checks(
    make: Callable[[], Notifier], notification: Notification, *, broken: Callable[[], Notifier] | None = None
) -> list[Check]:
    """The checks for a notifier, which send ``notification`` some ten times: to a server of the test's."""

    async def call(notifier: Notifier) -> Delivery:
        return await notifier.send(notification)

    return _checks_of(_Notifier(make, call, broken, notification))


def recognizer_checks(
    make: Callable[[], HostedRecognizer],
    *,
    recording: bytes = SILENCE,
    file_name: str = "recording.wav",
    language: str | None = None,
    broken: Callable[[], HostedRecognizer] | None = None,
) -> list[Check]:
    """The checks for a recogniser, which is given ``recording`` some ten times."""

    async def call(recognizer: HostedRecognizer) -> HostedText:
        return await recognizer.recognise(file_name, recording, language)

    return _checks_of(_Recognizer(make, call, broken))


def synthesizer_checks(
    make: Callable[[], SpeechSynthesizer],
    *,
    text: str = "Hello little friend.",
    broken: Callable[[], SpeechSynthesizer] | None = None,
) -> list[Check]:
    """The checks for a synthesiser, which speaks ``text`` some ten times; it must be one that it can pronounce."""

    async def call(synthesizer: SpeechSynthesizer) -> Spoken | None:
        return await synthesizer.speak(text)

    return _checks_of(_Synthesizer(make, call, broken))


def emotion_analyzer_checks(
    make: Callable[[], EmotionAnalyzer],
    *,
    request: EmotionRequest = EMOTION_REQUEST,
    broken: Callable[[], EmotionAnalyzer] | None = None,
) -> list[Check]:
    """The checks for an emotion analyser."""

    async def call(analyzer: EmotionAnalyzer) -> EmotionFinding:
        return await analyzer.analyse(request)

    return _checks_of(_EmotionAnalyzer(make, call, broken, request))


def moderator_checks(
    make: Callable[[], Moderator],
    harmful: str,
    *,
    harmless: str = "hello teddy",
    broken: Callable[[], Moderator] | None = None,
) -> list[Check]:
    """The checks for a moderator, which must stop ``harmful`` and let ``harmless`` pass, at both stages."""

    async def call(moderator: Moderator) -> Verdict:
        return await moderator.judge(harmful, "input")

    return _checks_of(_Moderator(make, call, broken, harmful, harmless))


def image_generator_checks(
    make: Callable[[], ImageGenerator],
    *,
    request: PictureRequest = PICTURE_REQUEST,
    broken: Callable[[], ImageGenerator] | None = None,
) -> list[Check]:
    """The checks for an image generator."""

    async def call(generator: ImageGenerator) -> GeneratedPicture:
        return await generator.generate(request)

    return _checks_of(_ImageGenerator(make, call, broken))


class _Common(Generic[P]):
    """Every method without an underscore is a check."""

    def __init__(
        self, make: Callable[[], P], call: Callable[[P], Awaitable[object]], broken: Callable[[], P] | None
    ) -> None:
        self._make = make
        self._call = call
        self._broken = broken

    async def it_has_a_name(self) -> None:
        first, second = self._make(), self._make()
        _require(str(first.provider).strip() != "", "provider must be a name")
        _require(first.provider == second.provider, "two of its kind must have the same name")
        for provider in (first, second):
            await provider.aclose()

    async def it_says_that_it_can_work(self) -> None:
        provider = self._make()
        await provider.check()
        await provider.aclose()

    async def what_it_gives_is_labelled(self) -> None:
        provider = self._make()
        result = await self._call(provider)
        await provider.aclose()
        _require(_label(result, "provider") == provider.provider, "a result must carry the provider's name")
        _require(
            isinstance(_label(result, "offline"), bool), "a result must say in 'offline' whether anything was sent"
        )
        model = _label(result, "model")
        _require(model is None or (isinstance(model, str) and model != ""), "'model' must be a name, or None")

    async def several_calls_may_be_under_way_at_once(self) -> None:
        provider = self._make()
        results = await asyncio.gather(*(self._call(provider) for _ in range(3)))
        await provider.aclose()
        _require(len({type(result) for result in results}) == 1, "all calls must give the same type")

    async def it_may_be_closed_before_its_first_call_and_twice(self) -> None:
        provider = self._make()
        await provider.aclose()
        await self._call(provider)
        await provider.aclose()
        await provider.aclose()

    async def it_works_again_after_it_was_closed(self) -> None:
        provider = self._make()
        for _ in range(2):
            await self._call(provider)
            await provider.aclose()

    async def a_cancelled_call_ends_at_once_and_leaves_nothing_behind(self) -> None:
        provider = self._make()
        await self._call(provider)  # what is opened once may stay
        # After how many turns of the loop it is cancelled: at its start, and somewhere in the middle.
        for turns in (0, 1, 3, 10):
            before = asyncio.all_tasks()
            call = asyncio.ensure_future(self._call(provider))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            done, _pending = await asyncio.wait([call], timeout=AT_ONCE_S)
            _require(bool(done), "a cancelled call must end at once")
            _require(call.cancelled() or call.exception() is None, "a cancelled call must end as cancelled")
            await _gone(before)
        await self._call(provider)
        await provider.aclose()

    async def a_failure_is_one_of_the_library_s_errors(self) -> None:
        if self._broken is None:
            return
        provider = self._broken()
        try:
            await self._call(provider)
        except AsyncProcessorError as error:
            _require(str(error).strip() != "", "an error must say what was wrong")
        except Exception as error:
            raise ContractBroken(f"a failure must be an AsyncProcessorError, not {type(error).__name__}") from error
        else:
            raise ContractBroken("a provider that cannot work must raise")
        finally:
            await provider.aclose()


class _ChatModel(_Common[ChatModel]):
    def __init__(
        self,
        make: Callable[[], ChatModel],
        call: Callable[[ChatModel], Awaitable[object]],
        broken: Callable[[], ChatModel] | None,
        request: ChatRequest,
    ) -> None:
        super().__init__(make, call, broken)
        self._request = request

    async def a_reply_is_complete(self) -> None:
        model = self._make()
        reply = await self._call(model)
        await model.aclose()
        if not isinstance(reply, ChatReply):
            raise ContractBroken(f"reply() must give a ChatReply, not {type(reply).__name__}")
        _require(reply.text.strip() == reply.text != "", "a reply must have words, without space around them")
        _require(reply.finish_reason in get_args(FinishReason), f"finish_reason {reply.finish_reason!r} is none")
        _require(isinstance(reply.generated, bool), "'generated' must say whether a language model made it")
        tokens = reply.tokens_used
        _require(tokens is None or (type(tokens) is int and tokens > 0), "tokens are counted, or None: never made up")
        _require(reply.generated or tokens is None, "where no model was asked, nobody counted tokens")

    async def a_form_asked_for_keeps_it_from_no_answer(self) -> None:
        model = self._make()
        schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        reply: object = await model.reply(replace(self._request, schema=schema))
        await model.aclose()
        _require(isinstance(reply, ChatReply), "a request with a schema must be answered too")


class _Notifier(_Common[Notifier]):
    def __init__(
        self,
        make: Callable[[], Notifier],
        call: Callable[[Notifier], Awaitable[object]],
        broken: Callable[[], Notifier] | None,
        notification: Notification,
    ) -> None:
        super().__init__(make, call, broken)
        self._notification = notification

    async def a_delivery_accounts_for_every_recipient(self) -> None:
        notifier = self._make()
        delivery = await self._call(notifier)
        await notifier.aclose()
        if not isinstance(delivery, Delivery):
            raise ContractBroken(f"send() must give a Delivery, not {type(delivery).__name__}")
        told = len(delivery.delivered) + len(delivery.refused)
        wanted = len(set(self._notification.recipients))
        _require(told == wanted, f"of {wanted} recipients {told} were accounted for")
        _require(all(item.reason for item in delivery.refused), "who is refused is refused for a reason")

    async def the_same_message_has_the_same_id(self) -> None:
        notifier = self._make()
        ids = {_label(await self._call(notifier), "message_id") for _ in range(2)}
        await notifier.aclose()
        _require(len(ids) == 1, "a message that is sent again must carry the same message_id")


class _Labelled(_Common[P]):
    """Kinds whose provider says itself what results carry."""

    async def what_it_gives_is_labelled(self) -> None:
        provider = self._make()
        before = await self._labels(provider)
        await self._call(provider)
        after = await self._labels(provider)
        await provider.aclose()
        _require(before == after, "'provider', 'offline' and 'model' must stay what they were")

    async def _labels(self, provider: P) -> tuple[object, ...]:
        _require(is_labelled(provider), "it must have 'offline', a bool, and 'model', a name or None")
        return tuple(_label(provider, name) for name in ("provider", "offline", "model"))


class _Recognizer(_Labelled[HostedRecognizer]):
    async def what_is_heard_is_a_text(self) -> None:
        recognizer = self._make()
        heard = await self._call(recognizer)
        await recognizer.aclose()
        if not isinstance(heard, HostedText):
            raise ContractBroken(f"recognise() must give a HostedText, not {type(heard).__name__}")
        _require(isinstance(heard.text, str), 'what was heard must be a text, and "" where nobody speaks')
        _require(heard.text == heard.text.strip(), "a text must have no space around it")
        language: object = heard.language
        _require(
            language is None or (isinstance(language, str) and language != ""), "a language has a name, or is None"
        )


class _Synthesizer(_Labelled[SpeechSynthesizer]):
    async def what_is_spoken_is_a_sound(self) -> None:
        synthesizer = self._make()
        spoken = await self._call(synthesizer)
        await synthesizer.aclose()
        if not isinstance(spoken, Spoken):
            raise ContractBroken(f"speak() must give a Spoken, not {type(spoken).__name__}")
        _require(isinstance(spoken.wav, bytes), f"wav must be bytes, not {type(spoken.wav).__name__}")
        voice: object = spoken.voice
        _require(voice is None or (isinstance(voice, str) and voice != ""), "a voice has a name, or is None")
        try:
            sound = read_wav(spoken.wav)
        except WavError as error:
            raise ContractBroken(f"it gave {error}") from error
        _require(any(sound.pcm), "what is spoken must be heard: all of its samples are zero")


class _EmotionAnalyzer(_Labelled[EmotionAnalyzer]):
    def __init__(
        self,
        make: Callable[[], EmotionAnalyzer],
        call: Callable[[EmotionAnalyzer], Awaitable[object]],
        broken: Callable[[], EmotionAnalyzer] | None,
        request: EmotionRequest,
    ) -> None:
        super().__init__(make, call, broken)
        self._request = request

    async def a_finding_is_within_bounds_and_rests_on_what_was_given(self) -> None:
        analyzer = self._make()
        finding = await self._call(analyzer)
        await analyzer.aclose()
        if not isinstance(finding, EmotionFinding):
            raise ContractBroken(f"analyse() must give an EmotionFinding, not {type(finding).__name__}")
        fault = fault_in(finding, self._request)
        _require(fault is None, str(fault))


class _Moderator(_Common[Moderator]):
    def __init__(
        self,
        make: Callable[[], Moderator],
        call: Callable[[Moderator], Awaitable[object]],
        broken: Callable[[], Moderator] | None,
        harmful: str,
        harmless: str,
    ) -> None:
        super().__init__(make, call, broken)
        self._harmful = harmful
        self._harmless = harmless

    async def what_it_gives_is_labelled(self) -> None:
        # A verdict carries no labels: results take them from the moderator.
        moderator = self._make()
        _require(isinstance(moderator.offline, bool), "a moderator must say in 'offline' whether anything is sent")
        await moderator.aclose()

    async def a_verdict_is_complete(self) -> None:
        for verdict in [*await self._judged(self._harmful), *await self._judged(self._harmless)]:
            _require(isinstance(verdict.allowed, bool), "'allowed' must be True or False: nothing that looks like it")
            named: object = verdict.categories
            _require(
                isinstance(named, tuple) and all(isinstance(item, str) and item for item in named),
                "'categories' must be a tuple of names",
            )

    async def what_is_harmful_is_stopped(self) -> None:
        for verdict in await self._judged(self._harmful):
            _require(not verdict.allowed, "what is harmful must be stopped")
            _require(self._harmful not in verdict.categories, "a category is never what was said")

    async def what_is_harmless_passes(self) -> None:
        for verdict in await self._judged(self._harmless):
            _require(verdict.allowed, "what is harmless must pass")
            _require(not verdict.categories, "of what passes nothing is wrong, so it has no categories")

    async def _judged(self, text: str) -> list[Verdict]:
        """What is said of a text at each stage."""
        moderator = self._make()
        given: list[object] = [await moderator.judge(text, stage) for stage in get_args(Stage)]
        await moderator.aclose()
        verdicts = [verdict for verdict in given if isinstance(verdict, Verdict)]
        _require(len(verdicts) == len(given), f"judge() must give a Verdict, not {type(given[0]).__name__}")
        return verdicts


class _ImageGenerator(_Common[ImageGenerator]):
    async def it_says_what_it_takes(self) -> None:
        generator = self._make()
        takes: object = generator.takes
        await generator.aclose()
        _require(
            isinstance(takes, Collection) and not isinstance(takes, str) and set(takes) <= set(OPTIONAL),
            f"'takes' must be a collection of {', '.join(OPTIONAL)}",
        )

    async def a_picture_is_complete(self) -> None:
        picture = await self._picture()
        _require(isinstance(picture.generated, bool), "'generated' must say whether an image model made it")
        seed = picture.seed
        _require(seed is None or (type(seed) is int and 0 <= seed <= MAX_SEED), f"a seed is 0 to {MAX_SEED}, or None")

    async def a_picture_is_what_it_says(self) -> None:
        picture = await self._picture()
        _require(isinstance(picture.data, bytes), f"data must be bytes, not {type(picture.data).__name__}")
        try:
            header = read_header(picture.data)
        except HeaderError as error:
            raise ContractBroken(f"the picture {error}") from error
        _require(header.format != GIF, "a picture is a PNG, JPEG or WebP")
        said = ImageHeader(picture.format, picture.width, picture.height, header.frames)
        _require(said == header, f"it says {said}, and its header {header}")

    async def _picture(self) -> GeneratedPicture:
        generator = self._make()
        picture = await self._call(generator)
        await generator.aclose()
        if not isinstance(picture, GeneratedPicture):
            raise ContractBroken(f"generate() must give a GeneratedPicture, not {type(picture).__name__}")
        return picture


def _checks_of(case: _Common[Any]) -> list[Check]:
    # In the order they are written in: what all providers have, then what their kind has.
    names = dict.fromkeys(name for kind in reversed(type(case).__mro__) for name in vars(kind))
    return [Check(name, getattr(case, name)) for name in names if not name.startswith("_")]


async def _gone(before: set[asyncio.Task[Any]]) -> None:
    """Wait until no task is left but those there were."""
    deadline = asyncio.get_running_loop().time() + AT_ONCE_S
    while left := asyncio.all_tasks() - before:
        if asyncio.get_running_loop().time() > deadline:
            raise ContractBroken(f"a cancelled call left {len(left)} tasks behind")
        await asyncio.sleep(0)


def _label(result: object, name: str) -> object:
    return result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)


def _require(holds: bool, demand: str) -> None:
    if not holds:
        raise ContractBroken(demand)
