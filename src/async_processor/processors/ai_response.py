"""AI_RESPONSE: a reply to what a child said, or to any prompt.

The result is that of ``AIResponseResult``. See ``docs/ai-response.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from ..clock import Clock, SystemClock
from ..config import AIConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, ConfigurationError
from ..model import LaneName, ProcessingTask
from ..results.ai_response import AIResponseResult, Moderation, Stage
from .chat import ChatModel, ChatReply
from .chat_providers import Endpoint, choose, open_model
from .model_names import ending_model, first_current, hosted_model
from .moderation import Moderator, fixed_reply, moderate
from .moderation_providers import open_moderator
from .per_loop import PerLoop
from .prompting import check_payload, compose, read_payload
from .provider_registry import checked
from .registry import ProcessorSpec, Readiness

_ABOVE_ZERO = (
    "max_tokens", "max_tokens_limit", "request_timeout_s", "max_prompt_chars", "max_response_bytes",
    "moderation_timeout_s",
)  # fmt: skip
_NAME_ONE = (
    "name one in payload['model'], AIConfig.model or ASYNC_PROCESSOR_AI_MODEL (for emotions also EmotionConfig.model)"
)


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """The processor function for AI_RESPONSE.

    Raises:
        ConfigurationError: a bound in ``config.ai`` leaves no room for any reply.
    """
    responder = Responder(config.ai)
    return ProcessorSpec(
        func=responder,
        is_async=True,
        wants_context=True,
        lane=LaneName.ASYNC,
        check=lambda task: check_payload(task.payload, config.ai, alone=not task.depends_on),
        aclose=responder.aclose,
        readiness=responder.readiness,
        example=example,
    )


def example() -> dict[str, Any]:
    """What a child might say. Whoever is configured answers; without anybody, the script."""
    return {"prompt": "Hello teddy, tell me a story"}


class _Opened(NamedTuple):
    """Who answers and who judges on one event loop."""

    endpoint: Endpoint
    model: ChatModel
    moderator: Moderator


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
        for name in _ABOVE_ZERO:
            if getattr(settings, name) == 0:
                raise ConfigurationError(f"AIConfig.{name} must be above 0")
        self._settings = settings
        self._environ = os.environ if environ is None else environ
        self._clock: Clock = SystemClock() if clock is None else clock
        self._opened = PerLoop(self._open, _close)

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Answer one task.

        Raises:
            InvalidPayloadError: before anything is sent.
            ConfigurationError: a key, a model name or the extra is missing; says which.
            ProviderError: the provider gave no usable answer; another attempt may help.
            PermanentError: no other attempt would help.
        """
        wish = read_payload(task.payload, self._settings)
        opened = self._opened.get()
        model, warnings = choose_model(wish.model, self._settings.model, opened.endpoint, self._clock.wall().date())
        request, unused = compose(wish, context.dependencies, model)
        if warnings:
            # Not the warnings themselves: they name the model, which is part of the payload.
            context.logger.warning("there is a warning about the model asked for: see 'warnings' in the result")
        notes = [*warnings, *unused]
        before = await self._judge(opened.moderator, "\n".join(request.from_outside), "input", context)
        if not before.passed:
            return _fixed_result(before, None, notes, offline=opened.moderator.offline).as_dict()
        reply = checked(await opened.model.reply(request), ChatReply, opened.endpoint.provider)
        after = await self._judge(opened.moderator, reply.text, "output", context)
        offline = reply.offline and opened.moderator.offline
        if not after.passed:
            return _fixed_result(after, reply, notes, offline=offline).as_dict()
        return _result(reply, after, [*notes, *_remarks(reply)], offline=offline).as_dict()

    async def check(self) -> None:
        """Find out whether a reply could be had now: that key and address are set, and the provider takes them.

        Raises:
            AsyncProcessorError: what would go wrong.
        """
        opened = self._opened.get()
        await opened.moderator.check()
        await opened.model.check()

    async def readiness(self) -> Readiness:
        """Who would answer, and whether they could; a hosted provider is asked, by one small request at most."""
        settings = self._settings
        try:
            opened = self._opened.get()
        except ConfigurationError as error:
            return Readiness(provider=settings.provider, offline=False, problem=str(error))
        endpoint, problem = opened.endpoint, None
        remarks: tuple[str, ...] = ()
        try:
            _, remarks = choose_model(None, settings.model, endpoint, self._clock.wall().date())
            await self.check()
        except AsyncProcessorError as error:
            problem = str(error)
        return Readiness(
            provider=endpoint.provider,
            offline=endpoint.provider == "scripted" and opened.moderator.offline,
            problem=problem,
            remarks=(*remarks, *_remarks_on(settings, endpoint)),
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._opened.aclose()

    async def _judge(self, moderator: Moderator, text: str, stage: Stage, context: TaskContext) -> Moderation:
        found = await moderate(moderator, text, stage, self._settings.moderation_timeout_s)
        if found.error is not None:
            context.logger.warning("moderation failed at the %s (%s): a fixed reply was given", stage, found.error)
        return found

    def _open(self) -> _Opened:
        endpoint = choose(self._settings, self._environ)
        moderator = open_moderator(self._settings, endpoint, self._environ)
        return _Opened(endpoint, open_model(endpoint, self._settings), moderator)


async def _close(opened: _Opened) -> None:
    try:
        await opened.moderator.aclose()
    finally:
        await opened.model.aclose()


def _remarks_on(settings: AIConfig, endpoint: Endpoint) -> Iterator[str]:
    if endpoint.for_want_of_another:
        yield (
            "no language model is configured, so a script answers: set OPENAI_API_KEY, ANTHROPIC_API_KEY or "
            "AIConfig.base_url"
        )
    if settings.moderation == "off":
        yield "nothing judges whether a reply is fit for a child: AIConfig.moderation is 'off'"


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
    if endpoint.brought:
        return wished or configured, ()
    if wished is None and configured is None:
        raise ConfigurationError(f"provider {endpoint.provider!r} needs the name of a model: {_NAME_ONE}")
    return hosted_model(wished, configured, today, at_vendor=endpoint.at_vendor, remedy=_NAME_ONE)


def _refuse_current(wished: str | None, configured: str | None, today: date) -> None:
    """A script in place of a model that can be had is not what was asked for, however it is labelled."""
    name = first_current((wished, configured), today)
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


def _result(reply: ChatReply, moderation: Moderation, warnings: list[str], *, offline: bool) -> AIResponseResult:
    return AIResponseResult(
        response=reply.text,
        provider=reply.provider,
        model=reply.model,
        tokens_used=reply.tokens_used,
        generated=reply.generated,
        offline=offline,
        finish_reason=reply.finish_reason,
        time_to_first_token_s=reply.time_to_first_token_s,
        moderation=moderation,
        warnings=tuple(warnings),
    )


def _fixed_result(
    moderation: Moderation, refused: ChatReply | None, warnings: list[str], *, offline: bool
) -> AIResponseResult:
    """The result where a fixed reply stands for one that was not asked for, or ``refused``."""
    failed = (
        [] if moderation.error is None else [f"the moderation failed ({moderation.error}): a fixed reply was given"]
    )
    return AIResponseResult(
        response=fixed_reply(moderation),
        provider="fixed",
        model=None,
        tokens_used=None if refused is None else refused.tokens_used,
        generated=False,
        offline=offline,
        finish_reason="moderated",
        time_to_first_token_s=None if refused is None else refused.time_to_first_token_s,
        moderation=moderation,
        warnings=(*warnings, *failed),
    )
