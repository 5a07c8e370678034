"""The result of AI_RESPONSE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .base import Record, Result

Stage = Literal["input", "output"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Moderation(Record):
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


@dataclass(slots=True, frozen=True, kw_only=True)
class AIResponseResult(Result):
    """A reply.

    Attributes:
        response: the words; "" only where the provider withheld them (see ``finish_reason``).
        provider: who answered; "fixed" for what is said in place of a reply that was stopped.
        model: the model that answered, as the provider names it; None where there is none.
        tokens_used: tokens of request and reply as the provider counted them; None where nobody counted.
        generated: whether a language model made it.
        offline: whether no text left the process.
        finish_reason: why the reply ended; "moderated" where it was stopped.
        time_to_first_token_s: seconds from sending the request to the first words; None where nothing was streamed.
        moderation: what came of the moderation.
        warnings: what was not done as asked, in words.
    """

    response: str
    provider: str
    model: str | None
    tokens_used: int | None
    generated: bool
    offline: bool
    finish_reason: Literal["stop", "length", "content_filter", "refusal", "other", "moderated"]
    time_to_first_token_s: float | None
    moderation: Moderation
    warnings: tuple[str, ...]
