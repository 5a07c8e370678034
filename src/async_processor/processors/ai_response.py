"""AI_RESPONSE: a reply to what a child said, or to any prompt.

The result is a dict: ``response``, ``provider``, ``model``, ``tokens_used``, ``generated``, ``offline``,
``finish_reason`` and ``warnings``. See ``docs/ai-response.md``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import date
from typing import Any
from weakref import WeakKeyDictionary

from ..clock import Clock, SystemClock
from ..config import AIConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import ConfigurationError, PermanentError
from ..model import LaneName, ProcessingTask
from .chat import ChatModel, ChatReply
from .chat_providers import Endpoint, choose, open_model
from .model_names import ending_model
from .prompting import compose, read_payload
from .provider_registry import checked
from .registry import ProcessorSpec

_NAME_ONE = "name one in payload['model'], AIConfig.model or ASYNC_PROCESSOR_AI_MODEL"


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """The processor function for AI_RESPONSE.

    Raises:
        ConfigurationError: a bound in ``config.ai`` leaves no room for any reply.
    """
    responder = Responder(config.ai)
    return ProcessorSpec(
        func=responder, is_async=True, wants_context=True, lane=LaneName.ASYNC, aclose=responder.aclose
    )


class Responder:
    """The processor function. Keeps one chat model, and so one pool of connections, per event loop.

    Args:
        settings: provider, model and bounds.
        environ: where keys and addresses are looked up; the process's environment unless given.
        clock: tells today's date, for names of models that end.
    """

    def __init__(
        self, settings: AIConfig, *, environ: Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        for name in ("max_tokens", "max_tokens_limit", "request_timeout_s", "max_prompt_chars", "max_response_bytes"):
            if getattr(settings, name) == 0:
                raise ConfigurationError(f"AIConfig.{name} must be above 0")
        self._settings = settings
        self._environ = os.environ if environ is None else environ
        self._clock: Clock = SystemClock() if clock is None else clock
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Endpoint, ChatModel]] = WeakKeyDictionary()

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Answer one task.

        Raises:
            InvalidPayloadError: before anything is sent.
            ConfigurationError: a key, a model name or the extra is missing; says which.
            ProviderError: the provider gave no usable answer; another attempt may help.
            PermanentError: no other attempt would help.
        """
        wish = read_payload(task.payload, self._settings)
        endpoint, chat_model = self._model()
        model, warnings = choose_model(wish.model, self._settings.model, endpoint, self._clock.wall().date())
        request, unused = compose(wish, context.dependencies, model)
        if warnings:
            # Not the warnings themselves: they name the model, which is part of the payload.
            context.logger.warning("there is a warning about the model asked for: see 'warnings' in the result")
        reply = checked(await chat_model.reply(request), ChatReply, endpoint.provider)
        return _result(reply, [*warnings, *unused, *_remarks(reply)])

    async def check(self) -> None:
        """Find out whether a reply could be had now: that key and address are set, and the provider takes them.

        Raises:
            AsyncProcessorError: what would go wrong.
        """
        await self._model()[1].check()

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        opened = self._open.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened[1].aclose()

    def _model(self) -> tuple[Endpoint, ChatModel]:
        loop = asyncio.get_running_loop()
        opened = self._open.get(loop)
        if opened is None:
            endpoint = choose(self._settings, self._environ)
            opened = self._open[loop] = (endpoint, open_model(endpoint, self._settings))
        return opened


def choose_model(
    wished: str | None, configured: str | None, endpoint: Endpoint, today: date
) -> tuple[str | None, tuple[str, ...]]:
    """Which model to ask, and what to warn of.

    A payload's wish goes first, then the configured name. A name that its vendor has switched off gives way to the
    configured one, with a warning; at the vendor's own service, without another name, it is refused before it is sent.
    The script answers in place of a named model only where it was chosen, or where nobody has that model any more.
    A provider that another package brings knows its own models.

    Raises:
        ConfigurationError: no model is named at all; or one is, and there is nobody who might have it.
        PermanentError: the one that is named was switched off.
    """
    if endpoint.provider == "scripted":
        if endpoint.for_want_of_another:
            _refuse_current(wished, configured, today)
        return None, _scripted_warnings(wished or configured, today)
    name = wished or configured
    if endpoint.brought:
        return name, ()
    if name is None:
        raise ConfigurationError(f"provider {endpoint.provider!r} needs the name of a model: {_NAME_ONE}")
    ending = ending_model(name)
    if ending is None:
        return name, ()
    if not ending.has_ended(today):
        return name, (ending.notice(today),) if endpoint.at_vendor else ()
    if configured is not None and not _has_ended(configured, today):
        return configured, (f"{ending.notice(today)}: used {configured!r} from the configuration instead",)
    if endpoint.at_vendor:
        raise PermanentError(f"{ending.notice(today)}: {_NAME_ONE}")
    return name, ()  # a server of one's own may call its model so


def _has_ended(name: str, today: date) -> bool:
    ending = ending_model(name)
    return ending is not None and ending.has_ended(today)


def _refuse_current(wished: str | None, configured: str | None, today: date) -> None:
    """A script in place of a model that can be had is not what was asked for, however it is labelled."""
    name = next((item for item in (wished, configured) if item is not None and not _has_ended(item, today)), None)
    if name is not None:
        raise ConfigurationError(
            f"model {name!r} was asked for, but no provider is configured: set OPENAI_API_KEY, ANTHROPIC_API_KEY or "
            "AIConfig.base_url; or set AIConfig.provider to 'scripted' to do without a model"
        )


def _scripted_warnings(name: str | None, today: date) -> tuple[str, ...]:
    if name is None:
        return ()
    ending = ending_model(name)
    answered = (
        f"model {name!r} was asked for, but no provider that has models: the scripted companion answered; "
        "set OPENAI_API_KEY, ANTHROPIC_API_KEY or AIConfig.base_url"
    )
    return (answered,) if ending is None else (answered, ending.notice(today))


def _remarks(reply: ChatReply) -> list[str]:
    if reply.finish_reason == "length":
        return ["the reply was cut at max_tokens"]
    if reply.finish_reason in ("content_filter", "refusal"):
        return ["the provider withheld or declined the reply: have something else to say"]
    return []


def _result(reply: ChatReply, warnings: list[str]) -> dict[str, Any]:
    return {
        "response": reply.text,
        "provider": reply.provider,
        "model": reply.model,
        "tokens_used": reply.tokens_used,
        "generated": reply.generated,
        "offline": reply.offline,
        "finish_reason": reply.finish_reason,
        "warnings": warnings,
    }
