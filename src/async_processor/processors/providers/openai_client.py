"""The client of OpenAI's library, for whatever is asked of a server that speaks its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..extras import needs_extra
from .bounded_http import bounded_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def open_client(*, api_key: str, base_url: str | None, timeout_s: float, max_bytes: int) -> AsyncOpenAI:
    """A client within bounds, that does not retry. Takes a second to load its library: call it in a thread.

    Args:
        api_key: the key; any text for a server that wants none.
        base_url: address of the server, usually ending in ``/v1``; None for OpenAI's own.
        timeout_s: seconds without a byte after which a call is given up.
        max_bytes: largest answer read.

    Raises:
        MissingExtraError: the library is not installed.
    """
    with needs_extra("ai", needed_for="asking a server by OpenAI's protocol"):
        from openai import AsyncOpenAI
    return AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout_s,
        max_retries=0,  # the processor's own retries know the deadline, the jitter and the other tasks
        http_client=bounded_client(timeout_s=timeout_s, max_bytes=max_bytes),
    )
