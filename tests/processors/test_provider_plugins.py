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

from async_processor import AdvancedAsyncProcessor, AIConfig, ProcessorConfig, TaskResult, TaskStatus, create_task
from async_processor.config import NotifyConfig
from async_processor.errors import ConfigurationError
from async_processor.processors import provider_registry
from async_processor.processors.notifier import Notification
from async_processor.processors.provider_registry import BUILT_IN, ProviderKind, ProviderRegistry
from async_processor.testing.provider_contracts import (
    chat_model_checks,
    notifier_checks,
    run_checks,
)

PACKAGE = '''
"""A package of somebody else's."""
from async_processor.errors import ProviderError
from async_processor.processors.chat import ChatReply
from async_processor.processors.notifier import Delivery


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


# ---- by decorator


class Local:
    provider = "local"

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

    with pytest.raises(ConfigurationError, match="lacks a text 'provider'"):
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
