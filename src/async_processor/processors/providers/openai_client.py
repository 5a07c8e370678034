"""The client library for OpenAI's protocol, with the bounds that every hosted provider has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..extras import needs_extra
from .bounded_http import bounded_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def make_client(
    *, api_key: str, base_url: str | None, timeout_s: float, max_response_bytes: int, needed_for: str
) -> AsyncOpenAI:
    """A client that is sent nowhere else, reads no more and waits no longer than told, and does not retry.

    Args:
        needed_for: what does not work where the library is not installed; begins the message.

    Raises:
        MissingExtraError: it is not.
    """
    with needs_extra("ai", needed_for=needed_for):
        from openai import AsyncOpenAI
    return AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout_s,
        max_retries=0,  # the processor's own retries know the deadline, the jitter and the other tasks
        http_client=bounded_client(timeout_s=timeout_s, max_bytes=max_response_bytes),
    )
