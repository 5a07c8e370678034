"""Whether words are fit for a child: judged before they go to a model, and when they come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from ..errors import ConfigurationError
from ..results.ai_response import Moderation
from ..results.ai_response import Stage as Stage  # noqa: PLC0414 - plug-ins import it from here
from .provider_registry import checked

# Of what was said, it calls for a grown-up rather than for another subject.
NEEDS_GROWN_UP = frozenset({"self_harm", "abuse", "danger", "self-harm", "self-harm/intent", "self-harm/instructions"})
HELP_REPLY = (
    "Thank you for telling me. This is important, and it needs a grown-up. Please go to a grown-up you trust now and "
    "tell them. It is never wrong to tell."
)
OTHER_REPLY = (
    "Let us talk about something else, like animals or the stars. And if something worries you, a grown-up you trust "
    "will be glad to listen."
)


@dataclass(slots=True, frozen=True)
class Verdict:
    """What a moderator says of a text.

    Attributes:
        allowed: whether the text may go on.
        categories: what is wrong with it, in the moderator's own names; never words of the text.
    """

    allowed: bool
    categories: tuple[str, ...] = ()


class Moderator(Protocol):
    """Whoever judges texts. Used on one event loop only."""

    @property
    def provider(self) -> str:
        """The name that results carry."""
        ...

    @property
    def offline(self) -> bool:
        """Whether no text leaves the process."""
        ...

    async def judge(self, text: str, stage: Stage) -> Verdict:
        """Judge a text: what goes to a model ("input"), or what comes from one ("output").

        Raises:
            AsyncProcessorError: it could not be judged. Whoever asked must not let the text pass.
        """
        ...

    async def check(self) -> None:
        """Find out whether it could judge now.

        Raises:
            AsyncProcessorError: what would go wrong.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...


def fixed_reply(found: Moderation) -> str:
    """What is said in place of a reply."""
    told = found.stage == "input" and not NEEDS_GROWN_UP.isdisjoint(found.categories)
    return HELP_REPLY if told else OTHER_REPLY


# Whoever keeps the time itself can say what took so long.
_GRACE_S = 0.25


async def moderate(moderator: Moderator, text: str, stage: Stage, timeout_s: float) -> Moderation:
    """Judge a text, and take what cannot be judged for refused.

    A failure is not raised: the task would be tried again after some seconds, and a child waits for an answer. A fault
    of the configuration is: nobody is answered then, and the operator must hear of it.

    Args:
        timeout_s: seconds in which it should answer; a little later it counts as failed.

    Raises:
        ConfigurationError: the moderator cannot work as it is set up.
    """
    if not text.strip():
        return Moderation(provider=moderator.provider)
    try:
        async with asyncio.timeout(timeout_s + _GRACE_S):
            verdict = _checked_verdict(await moderator.judge(text, stage), moderator.provider)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - other packages bring moderators, and whatever happens in one, nothing passes
        return Moderation(provider=moderator.provider, stage=stage, error=type(error).__name__)
    if verdict.allowed:
        return Moderation(provider=moderator.provider)
    return Moderation(provider=moderator.provider, stage=stage, categories=verdict.categories)


def _checked_verdict(given: object, provider: str) -> Verdict:
    # To the last field: what merely looks true is no leave to pass.
    verdict = checked(given, Verdict, provider)
    checked(verdict.allowed, bool, provider)
    for category in checked(verdict.categories, tuple, provider):
        checked(category, str, provider)
    return verdict
