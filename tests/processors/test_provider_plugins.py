"""Providers that other code brings: by decorator, and by a package installed for the test, used in a real processor."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processors import pictures as make

from async_processor import (
    AdvancedAsyncProcessor,
    AIConfig,
    ProcessorConfig,
    SpeechConfig,
    TaskResult,
    TaskStatus,
    create_task,
)
from async_processor.config import ImageConfig, ImageGenerationConfig, NotifyConfig
from async_processor.errors import ConfigurationError
from async_processor.processors import provider_registry
from async_processor.processors.ai_response import Responder
from async_processor.processors.image_generation import Artist
from async_processor.processors.moderation import OTHER_REPLY
from async_processor.processors.notifier import Notification
from async_processor.processors.provider_registry import BUILT_IN, ProviderKind, ProviderRegistry
from async_processor.testing.provider_contracts import (
    chat_model_checks,
    notifier_checks,
    run_checks,
    synthesizer_checks,
)

PACKAGE = '''
"""A package of somebody else's."""
from async_processor.errors import ProviderError
from async_processor.processors.chat import ChatReply
from async_processor.processors.moderation import Verdict
from async_processor.processors.notifier import Delivery
from async_processor.processors.picture_request import GeneratedPicture
from async_processor.processors.samples import to_wav
from async_processor.processors.synthesis import Spoken


class ParrotChat:
    provider = "parrot"

    def __init__(self, settings):
        self.settings = settings

    async def reply(self, request):
        return ChatReply(
            text=f"You said: {request.words or request.message}", provider=self.provider, model=request.model,
            tokens_used=None, finish_reason="stop", offline=True, generated=False,
        )

    async def check(self):
        pass

    async def aclose(self):
        closed.append(self)


class PigeonPost:
    provider = "pigeon"

    def __init__(self, url, settings):
        self.loft = url.removeprefix("pigeon://")

    async def send(self, notification):
        if self.loft == "empty":
            raise ProviderError("no pigeon is at home")
        sent.append((self.loft, notification))
        return Delivery(
            provider=self.provider, delivered=notification.recipients, message_id=notification.key, offline=True
        )

    async def check(self):
        pass

    async def aclose(self):
        pass


def wrong(settings):
    return object()


def failing(settings):
    raise KeyError("the words of whoever wrote it")


class Liar(ParrotChat):
    async def reply(self, request):
        return "just a text"


class Strict:
    provider, offline = "strict", False

    def __init__(self, settings):
        sent.append(settings)

    async def judge(self, text, stage):
        if text.endswith("lookup"):
            raise LookupError
        return Verdict(False, ("carrots",)) if "carrot" in text else Verdict(True)

    async def check(self):
        raise ProviderError("the judge is asleep")

    async def aclose(self):
        closed.append(self)


class Sly(Strict):
    offline = True
    given = {
        "text": "yes", "none": None, "dict": {"allowed": True}, "truthy": Verdict("no"), "one": Verdict(1),
        "categories": Verdict(True, ["a list"]), "category": Verdict(False, (b"bytes",)),
    }

    async def judge(self, text, stage):
        return self.given[text.split()[-1]]


class Vague(Strict):
    offline = None


class Painter:
    provider, takes = "painter", ("seed",)

    def __init__(self, settings, images):
        self.settings, self.images = settings, images

    async def generate(self, request):
        sent.append(request)
        return self.painted(**paintings)

    def painted(self, data, **more):
        labels = {"format": "JPEG", "width": 1, "height": 2, "provider": self.provider, "offline": True}
        return GeneratedPicture(data=data, **(labels | {"model": None, "seed": 4} | more))

    async def check(self):
        raise ProviderError("the paint is dry")

    async def aclose(self):
        closed.append(self)


class Poet(Painter):
    def painted(self, **_):
        return {"image_data": b"a poem"}


class Mute(Painter):
    takes = None


class Squawk:
    provider, model, offline = "squawk", None, True

    def __init__(self, settings):
        self.settings = settings

    async def speak(self, text):
        sent.append(text)
        return Spoken(wav=to_wav(b"\\1\\0" * 800, 16_000), voice=self.settings.synthesizer_voice)

    async def check(self):
        pass

    async def aclose(self):
        closed.append(self)


paintings = {}
sent, closed = [], []
constant = 7
'''
ENTRY_POINTS = """
[async_processor.providers]
chat_model.parrot = parrot_bear:ParrotChat
chat_model.wrong = parrot_bear:wrong
chat_model.failing = parrot_bear:failing
chat_model.liar = parrot_bear:Liar
chat_model.constant = parrot_bear:constant
chat_model.absent = parrot_bear.nowhere:Thing
notifier.pigeon = parrot_bear:PigeonPost
moderator.strict = parrot_bear:Strict
moderator.sly = parrot_bear:Sly
moderator.vague = parrot_bear:Vague
text_to_speech.squawk = parrot_bear:Squawk
image_generator.painter = parrot_bear:Painter
image_generator.poet = parrot_bear:Poet
image_generator.mute = parrot_bear:Mute
clairvoyant.later = parrot_bear:ParrotChat
[other.group]
chat_model.other = parrot_bear:ParrotChat
"""


def install(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """What pip leaves of a package: its modules, and a folder that says what it is."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install(tmp_path, "parrot-bear", ENTRY_POINTS, parrot_bear=PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("parrot_bear", None)


@pytest.fixture
def registry() -> ProviderRegistry:
    return ProviderRegistry()


def parrot_bear() -> Any:
    return importlib.import_module("parrot_bear")


async def run(config: ProcessorConfig, task_type: str, payload: dict[str, Any]) -> TaskResult:
    async with AdvancedAsyncProcessor(1, 1, 1, config=config, enable_monitoring=False) as processor:
        task = create_task(task_type, payload, max_retries=0)
        await processor.submit_task(task)
        return await processor.wait_for_task(task.id, timeout=30.0)


def chat(name: str) -> ProcessorConfig:
    return ProcessorConfig(ai=AIConfig(provider=name))


# ---- a package, in a real processor


async def test_a_package_s_chat_model_answers_a_task(installed: Path):
    result = (await run(chat("parrot"), "ai_response", {"prompt": "hello", "model": "grey"})).unwrap()

    assert "hello" in result.pop("response")
    assert result == {
        "provider": "parrot",
        "model": "grey",
        "tokens_used": None,
        "generated": False,
        "offline": True,
        "finish_reason": "stop",
        "warnings": [],
        "time_to_first_token_s": None,
        "moderation": {"provider": "words", "stage": None, "categories": [], "error": None},
    }
    assert len(parrot_bear().closed) == 1, "it is closed with the processor"


async def test_a_package_s_chat_model_needs_no_model_s_name_and_gets_the_settings(installed: Path):
    config = ProcessorConfig(ai=AIConfig(provider="parrot", api_key="k", base_url="parrot:any address of its own"))

    assert (await run(config, "ai_response", {"prompt": "hello"})).unwrap()["model"] is None

    assert parrot_bear().closed[0].settings == config.ai


async def test_a_package_s_notifier_sends_by_its_scheme(installed: Path):
    config = ProcessorConfig(notify=NotifyConfig(channels={"loft": "pigeon://tower"}))
    payload = {"message": "Hello", "recipients": ["the baker"], "subject": "Bread"}

    result = (await run(config, "notification", payload)).unwrap()

    assert (result["provider"], result["delivered"], result["offline"]) == ("pigeon", ["the baker"], True)
    ((loft, notification),) = parrot_bear().sent
    assert (loft, notification.recipients, notification.subject) == ("tower", ("the baker",), "Bread")


async def test_a_package_s_synthesiser_speaks_with_the_voice_of_the_settings(installed: Path):
    config = ProcessorConfig(speech=SpeechConfig(synthesizer="squawk", synthesizer_voice="polly"))

    result = (await run(config, "spoken_answer", {"text": "Guten Abend"})).unwrap()

    assert (result["provider"], result["voice"], result["duration"]) == ("squawk", "polly", 0.05)
    assert parrot_bear().sent == ["Guten Abend"]
    assert len(parrot_bear().closed) == 1, "it is closed with the processor"
    await run_checks(synthesizer_checks(lambda: parrot_bear().Squawk(config.speech)))


async def test_a_package_is_imported_at_first_use_and_only_then(installed: Path):
    async with AdvancedAsyncProcessor(1, 1, 1, config=chat("parrot"), enable_monitoring=False):
        assert "parrot_bear" not in sys.modules
    assert "parrot" in provider_registry.registry.names("chat_model")
    assert "parrot_bear" not in sys.modules

    await run(chat("parrot"), "ai_response", {"prompt": "hello"})

    assert "parrot_bear" in sys.modules


def test_importing_the_package_reads_no_entry_points(tmp_path: Path):
    program = "import async_processor, sys; print('importlib.metadata' in sys.modules)"

    ran = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {program}"], check=True,
                         capture_output=True, text=True, timeout=50, cwd=tmp_path)  # fmt: skip

    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("parot", "there is no chat_model 'parot'; there are: auto, anthropic, openai, scripted, absent, constant"),
        ("", "there is no chat_model ''"),
        ("x" * 500, "there is no chat_model 'xxx"),
        ("other", "there is no chat_model 'other'"),
        ("wrong", r"chat_model 'wrong' lacks reply\(\), check\(\), aclose\(\)"),
        ("failing", "chat_model 'failing' could not be made: KeyError"),
        ("constant", "provider 'chat_model.constant' of package 'parrot-bear' is not callable"),
        ("absent", "package 'parrot-bear' cannot be imported: ModuleNotFoundError"),
    ],
)
async def test_a_provider_that_is_not_there_is_a_matter_of_configuration(installed: Path, name: str, says: str):
    result = await run(chat(name), "ai_response", {"prompt": "hello"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ConfigurationError")
    with pytest.raises(ConfigurationError, match=says):
        raise ConfigurationError(result.error or "")
    assert "the words of" not in (result.error or "")


async def test_a_scheme_that_nobody_brings_is_refused_with_those_there_are(installed: Path):
    config = ProcessorConfig(notify=NotifyConfig(channels={"loft": "owl://tower/secret"}))

    result = await run(config, "notification", {"message": "Hello"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ConfigurationError")
    assert "'owl'" in (result.error or "")
    assert "smtp, smtps" in (result.error or "")
    assert "pigeon" in (result.error or "")
    assert "secret" not in (result.error or "")


async def test_a_provider_that_gives_back_something_else_fails_for_good(installed: Path):
    result = await run(chat("liar"), "ai_response", {"prompt": "hello"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "PermanentError")
    assert "gave back str in place of ChatReply" in (result.error or "")


def test_two_packages_that_bring_one_name_are_told(installed: Path, registry: ProviderRegistry):
    install(installed, "magpie", "[async_processor.providers]\nchat_model.parrot = magpie:Chat\n", magpie="")

    with pytest.raises(ConfigurationError, match=r"'parrot': magpie, parrot-bear; uninstall all but one"):
        registry.find("chat_model", "parrot")


def test_a_package_that_is_on_the_path_twice_is_one(
    installed: Path,
    registry: ProviderRegistry,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    again = tmp_path_factory.mktemp("again")
    install(again, "parrot_bear_old", ENTRY_POINTS)
    monkeypatch.syspath_prepend(again)

    assert registry.find("chat_model", "parrot") is parrot_bear().ParrotChat


# ---- moderators


def judged_by(name: str) -> ProcessorConfig:
    return ProcessorConfig(ai=AIConfig(provider="parrot", moderation=name))


async def test_a_package_s_moderator_judges_before_and_after(installed: Path):
    config = judged_by("strict")

    good = (await run(config, "ai_response", {"prompt": "hello"})).unwrap()
    stopped = (await run(config, "ai_response", {"prompt": "a carrot"})).unwrap()

    assert (good["provider"], good["offline"]) == ("parrot", False), "the moderator says that texts leave the process"
    assert good["moderation"] == {"provider": "strict", "stage": None, "categories": [], "error": None}
    assert (stopped["provider"], stopped["response"]) == ("fixed", OTHER_REPLY)
    assert stopped["moderation"] == {"provider": "strict", "stage": "input", "categories": ["carrots"], "error": None}
    assert parrot_bear().sent == [config.ai] * 2, "one for each processor, made with the settings"
    assert sum(type(item).__name__ == "Strict" for item in parrot_bear().closed) == 2


@pytest.mark.parametrize("given", ["text", "none", "dict", "truthy", "one", "categories", "category"])
async def test_what_is_no_verdict_is_no_leave_to_pass(installed: Path, given: str):
    result = (await run(judged_by("sly"), "ai_response", {"prompt": given})).unwrap()

    assert (result["provider"], result["response"]) == ("fixed", OTHER_REPLY)
    assert result["moderation"] == {
        "provider": "strict", "stage": "input", "categories": [], "error": "PermanentError",
    }  # fmt: skip


async def test_a_moderator_that_breaks_lets_nothing_pass(installed: Path):
    result = (await run(judged_by("strict"), "ai_response", {"prompt": "lookup"})).unwrap()

    assert (result["provider"], result["finish_reason"]) == ("fixed", "moderated")
    assert (result["moderation"]["stage"], result["moderation"]["error"]) == ("input", "LookupError")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("strikt", "there is no moderator 'strikt'; there are: offline, openai, off, sly, strict, vague"),
        ("", "there is no moderator ''"),
        ("vague", r"moderator 'vague' lacks 'offline' \(bool\);"),
    ],
)
async def test_a_moderator_that_is_not_there_is_a_matter_of_configuration(installed: Path, name: str, says: str):
    result = await run(judged_by(name), "ai_response", {"prompt": "hello"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, "ConfigurationError")
    with pytest.raises(ConfigurationError, match=says):
        raise ConfigurationError(result.error or "")
    problem = (await Responder(judged_by(name).ai, environ={}).readiness()).problem
    with pytest.raises(ConfigurationError, match=says):
        raise ConfigurationError(problem or "")


async def test_readiness_asks_a_brought_moderator(installed: Path):
    assert (await Responder(judged_by("strict").ai, environ={}).readiness()).problem == "the judge is asleep"


# ---- image generators

WISHES = {"prompt": "a bear", "size": "64x48", "seed": 9, "steps": 3, "model": "dall-e-3"}


def painted_by(name: str, **images: int) -> ProcessorConfig:
    return ProcessorConfig(image_generation=ImageGenerationConfig(provider=name), images=ImageConfig(**images))


async def test_a_package_s_generator_makes_the_picture(installed: Path):
    data = make.png(64, 48)
    parrot_bear().paintings.update(data=data, generated=False)
    config = painted_by("painter")

    result = (await run(config, "image_generation", WISHES)).unwrap()

    assert result == {
        "image_data": data, "format": "PNG", "width": 64, "height": 48, "seed": 4, "provider": "painter",
        "model": None, "generated": False, "offline": True,
        "warnings": ["provider 'painter' takes no 'steps': it was left out"],
    }  # fmt: skip
    (request,) = parrot_bear().sent
    assert (request.model, request.seed, request.width) == ("dall-e-3", 9, 64), "a name that ended is no concern here"
    (generator,) = parrot_bear().closed
    assert (generator.settings, generator.images) == (config.image_generation, config.images)


async def test_a_brought_generator_gets_the_settings_model_and_says_what_it_did(installed: Path):
    parrot_bear().paintings.update(data=make.png(8, 8), offline=False, model="oil")
    config = ProcessorConfig(image_generation=ImageGenerationConfig(provider="painter", model="watercolour"))

    result = (await run(config, "image_generation", {"prompt": "a bear"})).unwrap()

    assert (result["offline"], result["generated"], result["model"]) == (False, True, "oil")
    assert parrot_bear().sent[0].model == "watercolour"


async def test_words_in_a_brought_picture_are_taken_out(installed: Path):
    plain = make.png(8, 8)
    parrot_bear().paintings.update(data=make.png(8, 8, make.png_chunk(b"tEXt", b"parameters\0a bear")))

    assert (await run(painted_by("painter"), "image_generation", WISHES)).unwrap()["image_data"] == plain


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("painter", b"no picture", "ProviderError", "something that is no picture"),
        ("painter", make.saved(make.gradient(), "GIF"), "ProviderError", "something that is no picture"),
        ("painter", make.png(20, 20), "ProviderError", "larger than 300 pixels"),
        ("painter", "a text", "PermanentError", "'painter' gave back str in place of bytes"),
        ("poet", b"", "PermanentError", "'painter' gave back dict in place of GeneratedPicture"),
        ("mute", b"", "ConfigurationError", "image_generator 'mute' lacks 'takes' (Collection)"),
        ("panter", b"", "ConfigurationError", "auto, openai, a1111, diffusers, procedural, mute, painter, poet"),
    ],
)  # fmt: skip
async def test_what_is_no_picture_and_who_is_no_generator_is_refused(
    installed: Path, name: str, data: Any, error: str, says: str
):
    parrot_bear().paintings.update(data=data)

    result = await run(painted_by(name, max_pixels=300), "image_generation", {"prompt": "a bear"})

    assert (result.status, result.error_type) == (TaskStatus.FAILED, error)
    assert says in (result.error or "")


@pytest.mark.parametrize(("name", "says"), [("painter", "the paint is dry"), ("panter", "no image_generator 'panter'")])
async def test_readiness_asks_a_brought_generator(installed: Path, name: str, says: str):
    config = painted_by(name)

    readiness = await Artist(config.image_generation, config.images, environ={}).readiness()

    assert readiness.provider == name
    assert says in (readiness.problem or "")


# ---- by decorator


class Local:
    provider = "local"
    offline = True

    async def judge(self, text: str, stage: str) -> None: ...

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("kind", ProviderKind)
def test_a_provider_of_every_kind_can_be_registered_found_and_listed(registry: ProviderRegistry, kind: ProviderKind):
    factory = registry.provider(kind, "mine")(Local)

    assert factory is Local
    assert registry.find(kind.value, "mine") is Local
    assert registry.names(kind) == [*BUILT_IN.get(kind, ()), "mine"]


def test_a_factory_is_called_with_the_settings_of_its_kind(registry: ProviderRegistry):
    @registry.provider("moderator", "strict")
    def make(settings: object) -> Local:
        made = Local()
        made.provider = str(settings)
        return made

    assert registry.make("moderator", "strict", "the settings").provider == "the settings"


def test_what_code_registers_goes_before_what_is_installed(installed: Path, registry: ProviderRegistry):
    registry.provider("chat_model", "parrot")(Local)

    assert registry.find("chat_model", "parrot") is Local
    assert registry.names("chat_model").count("parrot") == 1


@pytest.mark.parametrize("name", ["", "Mine", "my provider", "1st", "a/b", "x" * 64, "мой", "a\n"])
def test_a_name_that_cannot_be_one_is_refused(registry: ProviderRegistry, name: str):
    with pytest.raises(ConfigurationError, match="a provider's name begins with a letter"):
        registry.provider("chat_model", name)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names])
def test_the_library_s_own_names_cannot_be_taken(registry: ProviderRegistry, kind: ProviderKind, name: str):
    with pytest.raises(ConfigurationError, match="comes with the library"):
        registry.provider(kind, name)


def test_a_name_is_taken_once_but_by_the_same_factory(registry: ProviderRegistry):
    registry.provider("chat_model", "mine")(Local)
    registry.provider("chat_model", "mine")(Local)

    with pytest.raises(ConfigurationError, match=r"'mine' is taken by .*Local"):
        registry.provider("chat_model", "mine")(ProviderRegistry)


def test_a_kind_that_is_none_is_refused_with_those_there_are(registry: ProviderRegistry):
    for ask in (lambda: registry.provider("oracle", "mine"), lambda: registry.find("oracle", "mine")):
        with pytest.raises(ConfigurationError, match=r"one of speech_to_text, .*, moderator, not 'oracle'"):
            ask()


def test_a_provider_without_a_name_cannot_be_used(registry: ProviderRegistry):
    class Nameless(Local):
        provider = None  # type: ignore[assignment]

    registry.provider("moderator", "nameless")(Nameless)

    with pytest.raises(ConfigurationError, match=r"lacks 'provider' \(str\);"):
        registry.make("moderator", "nameless")


# ---- the contract


async def test_the_package_s_providers_keep_the_contract(installed: Path):
    module = parrot_bear()
    settings = NotifyConfig()
    notification = Notification(key="k", message="Hello", recipients=("a", "b"))

    ran = await run_checks(chat_model_checks(lambda: module.ParrotChat(AIConfig())))
    ran += await run_checks(
        notifier_checks(
            lambda: module.PigeonPost("pigeon://tower", settings),
            notification,
            broken=lambda: module.PigeonPost("pigeon://empty", settings),
        )
    )

    assert "a_reply_is_complete" in ran
    assert "a_delivery_accounts_for_every_recipient" in ran
    assert len(ran) == len(set(ran)) + 8, "eight checks are those of every provider"
