"""The client of OpenAI's library, bounded as every hosted provider is. For whatever protocol of theirs is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..extras import needs_extra
from .bounded_http import bounded_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def openai_client(
    api_key: str,
    base_url: str | None,
    *,
    needed_for: str,
    timeout_s: float,
    max_bytes: int,
    limit: str = "AIConfig.max_response_bytes",
) -> AsyncOpenAI:
    """A client that opens no connection yet. Takes a second at first: make it in a thread.

    Args:
        needed_for: what does not work without the library; begins the message.
        max_bytes: largest answer read; ``limit`` is the setting that it comes from.

    Raises:
        MissingExtraError: the library is not installed.
    """
    with needs_extra("ai", needed_for=needed_for):
        from openai import AsyncOpenAI
    return AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout_s,
        max_retries=0,  # the processor's own retries know the deadline, the jitter and the other tasks
        http_client=bounded_client(timeout_s=timeout_s, max_bytes=max_bytes, limit=limit),
    )
