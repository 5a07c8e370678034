"""What a reply is asked for with and answered with, whoever answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length", "content_filter", "refusal", "other"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Feeling:
    """How the child seems to feel. What is not known is None.

    Attributes:
        name: one word, e.g. ``"sad"``.
        valence: -1.0 (bad) to 1.0 (good).
        arousal: -1.0 (quiet) to 1.0 (excited).
    """

    name: str | None = None
    valence: float | None = None
    arousal: float | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class ChatRequest:
    """One reply wanted. Models that generate language read the first five, scripted ones the others and ``max_tokens``.

    Attributes:
        system: who the model is to be and the rules it keeps.
        message: what it is to answer. Words that were heard stand in it as marked data.
        model: name of the model; None where the provider has none to choose from.
        max_tokens: longest reply, in tokens.
        schema: JSON schema that the reply is to keep to; None for a reply in plain words. Not every server heeds it.
        words: what was said to the companion; "" if nothing was understood.
        feeling: how the speaker seems to feel.
        age: the speaker's age in years, or None.
        from_outside: the texts in ``message`` that came with the task, as they were before they were put in there:
            for whoever must judge them.
    """

    system: str
    message: str
    model: str | None
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    words: str
    feeling: Feeling = field(default_factory=Feeling)
    age: float | None = None
    from_outside: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class ChatReply:
    """One reply.

    Attributes:
        text: the reply; empty only when ``finish_reason`` is "content_filter" or "refusal".
        provider: who answered: "scripted", "openai" (any compatible server) or "anthropic".
        model: the model that answered, as the provider names it; None where there is none.
        tokens_used: tokens of request and reply as the provider counted them; None where nobody counted.
        finish_reason: why the reply ended.
        offline: whether it was made inside this process, without any request.
        generated: whether a language model made it.
        time_to_first_token_s: seconds from sending the request to the first words; None where nothing was streamed.
    """

    text: str
    provider: str
    model: str | None
    tokens_used: int | None
    finish_reason: FinishReason
    offline: bool
    generated: bool
    time_to_first_token_s: float | None = None


class ChatModel(Protocol):
    """Whoever answers. Used on one event loop only."""

    @property
    def provider(self) -> str:
        """The name that its replies carry."""
        ...

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Answer one request. Several may be under way at once; cancelling one ends it at once.

        Raises:
            ProviderError: it did not answer, or not usefully; another attempt may help.
            PermanentError: no other attempt would help. ``AuthenticationError`` when it refused the key.
            MissingExtraError: its library is not installed.
        """
        ...

    async def check(self) -> None:
        """Find out whether it could answer now, at the cost of at most one small request.

        Raises:
            AsyncProcessorError: as ``reply`` would.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. May be called twice."""
        ...
