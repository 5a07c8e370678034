"""From what a provider answered, or did not, to this library's errors: permanent or worth another attempt.

A server may put anything into its answer, the key and the child's words included. So no text of a server's goes into
an error: only its status, and its error code where that looks like one. The text goes to the log at DEBUG, with the
key taken out.
"""

from __future__ import annotations

import logging
import math
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ...errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from ..model_names import ending_model

logger = logging.getLogger("async_processor.providers")

# Statuses below 500 that another attempt may mend: timeout, conflict, too early, too many requests.
_RETRYABLE = frozenset({408, 409, 425, 429})
_NO_MONEY = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
# What vendors call an error in a stream, and the status that it would have come with before one. Others are 500.
_STATUS_OF = {
    "invalid_request_error": 400, "authentication_error": 401, "invalid_api_key": 401, "billing_error": 402,
    "permission_error": 403, "not_found_error": 404, "model_not_found": 404, "request_too_large": 413,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429, "overloaded_error": 529,
}  # fmt: skip
_CODE = re.compile(r"[a-z][a-z0-9_.]{1,63}", re.ASCII)
_LONGEST_WAIT_S = 1e9
_SHOWN_CHARS = 500
_MAX_CHAIN = 20


@dataclass(slots=True, frozen=True, kw_only=True)
class Call:
    """One call of a provider, as far as its errors need to know.

    Attributes:
        provider: its name.
        model: the model asked for, or None.
        secret: the key; whatever text holds it is not shown.
        where_to_name: where a model is named, for the error that a server does not know one.
    """

    provider: str
    model: str | None = None
    secret: str = field(default="", repr=False)
    where_to_name: str = "payload['model'] or AIConfig.model (ASYNC_PROCESSOR_AI_MODEL)"

    def failure(self, error: BaseException) -> AsyncProcessorError:
        """The error to raise in place of one that a client library raised."""
        own = next((item for item in chain(error) if isinstance(item, AsyncProcessorError)), None)
        if own is not None:
            return own
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            headers = getattr(getattr(error, "response", None), "headers", {})
            return self.refusal(status, getattr(error, "body", None), headers)
        if any(isinstance(item, ssl.SSLCertVerificationError) for item in chain(error)):
            return PermanentError(
                f"{self.provider}: the server's certificate could not be verified; check base_url, and that the "
                "machine has certificate authorities installed (package ca-certificates)"
            )
        kinds = dict.fromkeys(type(item).__name__ for item in chain(error))
        return ProviderError(f"{self.provider} gave no usable answer ({', '.join(kinds)})")

    def refusal(self, status: int, body: object, headers: Mapping[str, str]) -> AsyncProcessorError:
        """The error for an HTTP status other than success."""
        code, text = _code_and_text(body)
        logger.debug("%s answered with status %d: %s", self.provider, status, self._without_secret(text))
        code = code if code and not self._holds_secret(code) else None
        shown = f"{self.provider} refused the request (status {status}{f', {code}' if code else ''})"
        if status in (401, 403):
            model = "" if self.model is None else f", and that it may use model {self.model!r}"
            return AuthenticationError(f"{shown}: check the key{model}")
        if code in _NO_MONEY:
            return PermanentError(f"{shown}: the account has no credit left")
        if status in _RETRYABLE or status >= 500:
            return ProviderError(shown, retry_after=retry_after(headers))
        return PermanentError(f"{shown}{self._hint(status, code, body)}")

    def streamed_failure(self, body: object) -> AsyncProcessorError:
        """The error for one that came in the middle of an answer, where the status has already been success."""
        code, _ = _code_and_text(body)
        return self.refusal(_STATUS_OF.get(code or "", 500), body, {})

    def _hint(self, status: int, code: str | None, body: object) -> str:
        if 300 <= status < 400:
            return ": it redirects, which is not followed; set base_url to the address it redirects to"
        if self.model is None:
            return "; check base_url, and turn on DEBUG logging for what it said"
        if status == 404 or code in ("model_not_found", "not_found_error"):
            return self._unknown_model()
        if code in ("unsupported_parameter", "invalid_request_error") and "max_" in str(_part(body, "param")):
            return ": it takes the limit by another name; set AIConfig.max_tokens_parameter"
        if code == "context_length_exceeded" or status == 413:
            return ": what was sent is too long for the model"
        return "; turn on DEBUG logging for what it said"

    def _unknown_model(self) -> str:
        ending = None if self.model is None else ending_model(self.model)
        known = f" (its vendor's date for switching it off: {ending.ends.isoformat()})" if ending else ""
        return (
            f": it knows no model {self.model!r}{known}. Name one that it has, in {self.where_to_name}; "
            "if it has it, check base_url, which usually ends in /v1"
        )

    def _holds_secret(self, text: str) -> bool:
        return bool(self.secret) and self.secret.lower() in text.lower()

    def _without_secret(self, text: str) -> str:
        # Cut only after the key is out: half a key must not be left at the cut.
        cleaned = re.sub(re.escape(self.secret), "[key]", text, flags=re.IGNORECASE) if self.secret else text
        return ascii(cleaned[:_SHOWN_CHARS])


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3): a number, or a date.

    Returns:
        0.0 for what lies in the past; None if it cannot be read.
    """
    text = value.strip()[:64]
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST_WAIT_S)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer's headers ask to wait; None if they do not, or not readably."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        wait = retry_after_seconds(milliseconds, datetime.now(UTC))
        return None if wait is None else wait / 1000
    value = headers.get("retry-after")
    return None if value is None else retry_after_seconds(value, datetime.now(UTC))


def _seconds_until(text: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is one in UTC: HTTP has no other.
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):  # the parser of mail dates meets anything with these
        return math.nan


def _code_and_text(body: object) -> tuple[str | None, str]:
    """An error's code, and all text to log. OpenAI: code, type, message; Anthropic: the same under ``error``."""
    for name in ("code", "type"):
        code = _part(body, name)
        if isinstance(code, str) and _CODE.fullmatch(code):
            break
    else:
        code = None
    text = body if isinstance(body, str) else _part(body, "message")
    return code, text if isinstance(text, str) else ""


def _part(body: object, name: str) -> Any:
    inner = body.get("error") if isinstance(body, Mapping) else None
    for part in (inner, body):
        if isinstance(part, Mapping) and part.get(name) is not None:
            return part[name]
    return None


def chain(error: BaseException, *wrapped_as: str) -> Iterator[BaseException]:
    """An error and what it came from, at most so many.

    Args:
        wrapped_as: attributes under which a library keeps the error that it wraps; looked at first.
    """
    item: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if item is None:
            return
        yield item
        links = (getattr(item, name, None) for name in (*wrapped_as, "__cause__", "__context__"))
        item = next((link for link in links if link is not None), None)
