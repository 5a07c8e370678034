"""What health endpoints answer, as status code and body. Knows nothing of web frameworks.

Kubernetes' own endpoints are the model of ``verbose`` and ``exclude``; the shape of the detail is that of
``application/health+json``, an internet draft that has expired and has no successor.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ..monitoring.health import HealthCheck, HealthReport
from ..processor import AdvancedAsyncProcessor

ANSWER_S = 0.8
"""Less than the second after which Kubernetes gives a probe up, unless it was told otherwise."""

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_OK, _UNAVAILABLE = 200, 503


@dataclass(slots=True, frozen=True, kw_only=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=lambda: dict(_HEADERS))


async def ask(processor: AdvancedAsyncProcessor, question: Callable[[], Awaitable[HealthReport]]) -> HealthReport:
    """A report, with a check ``loop`` before the others: whether the processor's event loop answered.

    On that loop itself, to be here is the proof: a blocked one answers no request. On another loop, that of a server
    in another thread, it is asked, and not waited for longer than ``ANSWER_S``.
    """
    try:
        report = await _asked_on_its_loop(processor, question)
    except TimeoutError:
        reason = f"the processor's event loop did not answer within {ANSWER_S:g} s"
        return HealthReport((HealthCheck("loop", "fail", reason),))
    return HealthReport((HealthCheck("loop"), *report.checks))


async def _asked_on_its_loop(
    processor: AdvancedAsyncProcessor, question: Callable[[], Awaitable[HealthReport]]
) -> HealthReport:
    loop = processor.loop
    if loop is None or loop is asyncio.get_running_loop() or not loop.is_running():
        # Where nothing runs, nothing changes while it is looked at.
        return await question()

    async def asked() -> HealthReport:
        return await question()

    future = asyncio.run_coroutine_threadsafe(asked(), loop)
    async with asyncio.timeout(ANSWER_S):
        return await asyncio.wrap_future(future)


def probe_answer(probe: str, report: HealthReport, *, verbose: bool, exclude: Collection[str]) -> Answer:
    """The answer to a machine, which needs no permission to ask: so it says what fails, and never why.

    Args:
        probe: name of the endpoint, e.g. ``"readyz"``.
        report: the checks; "warn" passes.
        verbose: whether to list them.
        exclude: names of checks that do not count.
    """
    checks = [check for check in report.checks if check.name not in exclude]
    well = HealthReport(tuple(checks)).status != "fail"
    lines = [_line(check) for check in checks] if verbose else []
    if verbose and (unknown := sorted(set(exclude) - {check.name for check in report.checks})):
        lines.append(f"there is no check {', '.join(map(ascii, unknown))} to exclude")
    lines.append(f"{probe} check {'passed' if well else 'failed'}" if verbose or not well else "ok")
    body = "\n".join(lines) + "\n"
    return Answer(
        status=_OK if well else _UNAVAILABLE, body=body.encode("utf-8"), media_type="text/plain; charset=utf-8"
    )


def _line(check: HealthCheck) -> str:
    return f"[-]{check.name} failed: reason withheld" if check.status == "fail" else f"[+]{check.name} ok"


def detail_answer(report: HealthReport, *, release: str, exclude: Collection[str]) -> Answer:
    """The answer to people and dashboards: each check, and what is wrong in words."""
    report = replace(report, checks=tuple(check for check in report.checks if check.name not in exclude))
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    detail = {
        "status": report.status,
        "health": report.word,
        "description": "background work inside the application's own process",
        "releaseId": release,
        "output": "; ".join(report.reasons),
        "checks": {check.name: [_checked(check, now)] for check in report.checks},
    }
    return Answer(
        status=_UNAVAILABLE if report.status == "fail" else _OK,
        body=json.dumps(detail).encode("ascii"),
        media_type="application/health+json",
    )


def _checked(check: HealthCheck, now: str) -> dict[str, Any]:
    kind = "datastore" if check.name == "store" else "component"
    found: dict[str, Any] = {"componentType": kind, "status": check.status, "time": now}
    if check.observed is not None:
        found |= {"observedValue": check.observed, "observedUnit": check.unit}
    return found | ({"output": check.reason} if check.reason else {})
