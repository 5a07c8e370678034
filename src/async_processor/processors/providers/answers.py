"""Reading a server's answer. It is data of a stranger: every shape is possible, and only one is a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...errors import PermanentError, ProviderError
from ..chat import ChatReply, FinishReason

_MAX_TOKEN_COUNT = 10**12
_MAX_MODEL_CHARS = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")


def json_object(content: bytes, provider: str) -> Mapping[str, Any]:
    """The JSON object that an answer is.

    Raises:
        ProviderError: it is something else: a page, a list, half an object.
    """
    value: Any = None
    is_json = True
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # invalid UTF-8 and numbers of 5,000 digits are ValueErrors, too
        is_json = False
    if not is_json:
        # Raised out here, because the JSON error carries the whole answer.
        raise ProviderError(f"{provider} answered with something that is not JSON")
    if not isinstance(value, Mapping):
        raise unusable(provider)
    return value


def unusable(provider: str) -> ProviderError:
    """The error for JSON that is no reply."""
    return ProviderError(f"{provider} answered with JSON that holds no reply")


def ended_early(provider: str) -> ProviderError:
    """The error for a stream that ended before the reply did."""
    return ProviderError(f"{provider} ended its answer in the middle")


def reply(
    *, provider: str, text: str, finish_reason: FinishReason, asked: str | None, model: object, tokens: int | None
) -> ChatReply:
    """A reply of a hosted model.

    Args:
        asked: the model that was asked for.
        model: what the server calls the model that answered; may be anything.

    Raises:
        PermanentError: the reply ended at its limit before a word was said.
        ProviderError: there is no text, and no reason for that.
    """
    said = clean(text)
    if not said and finish_reason == "length":
        raise PermanentError(f"{provider}: the model used up max_tokens before it said a word; allow more of them")
    if not said and finish_reason not in ("content_filter", "refusal"):
        raise ProviderError(f"{provider} answered with an empty reply")
    named = isinstance(model, str) and 0 < len(model) <= _MAX_MODEL_CHARS and model.isprintable()
    return ChatReply(
        text=said,
        provider=provider,
        model=str(model) if named else asked,
        tokens_used=tokens,
        finish_reason=finish_reason,
        offline=False,
        generated=True,
    )


def clean(text: str) -> str:
    """Text that can be written as UTF-8, without control characters and space around it."""
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8")).strip()


def token_count(usage: object, *names: str) -> int | None:
    """The sum of the counts of these names; None if one is missing or no count."""
    total = 0
    for name in names:
        count = usage.get(name) if isinstance(usage, Mapping) else None
        if type(count) is not int or not 0 <= count <= _MAX_TOKEN_COUNT:
            return None
        total += count
    return total


def finish(reason: object, known: Mapping[str, FinishReason]) -> FinishReason:
    """A provider's word for why a reply ended, in ours."""
    return known.get(reason, "other") if isinstance(reason, str) else "other"
