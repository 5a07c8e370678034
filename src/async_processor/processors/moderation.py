"""Whether words are fit for a child: judged before they go to a model, and when they come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..errors import ConfigurationError
from .provider_registry import checked

Stage = Literal["input", "output"]

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


@dataclass(slots=True, frozen=True, kw_only=True)
class Moderation:
    """What came of the moderation of one task.

    Attributes:
        provider: who judged.
        stage: where it stopped, "input" or "output"; None where all passed.
        categories: why.
        error: the type of the error that kept a text from being judged, or None.
    """

    provider: str
    stage: Stage | None = None
    categories: tuple[str, ...] = ()
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every text so far was allowed."""
        return self.stage is None

    @property
    def reply(self) -> str:
        """What is said in place of a reply."""
        told = self.stage == "input" and not NEEDS_GROWN_UP.isdisjoint(self.categories)
        return HELP_REPLY if told else OTHER_REPLY

    def as_dict(self) -> dict[str, Any]:
        """The same, as plain data."""
        return {
            "provider": self.provider,
            "stage": self.stage,
            "categories": list(self.categories),
            "error": self.error,
        }


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
