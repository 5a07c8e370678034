"""What each type of task needs here, and how an example of it went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..config import ProcessorConfig
from ..errors import InvalidPayloadError
from ..model import ProcessingType, TaskPriority, TaskResult, TaskStatus, create_task
from ..processor import AdvancedAsyncProcessor
from ..processors.builtin import builtin_registry
from ..processors.registry import ProcessorSpec, Readiness
from .printable import printable

TRIAL_TIMEOUT_S = 60.0
_ASKING_TIMEOUT_S = 60.0
NO_FUNCTION = "no built-in function; register one of your own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known of one type of task.

    Attributes:
        task_type: its name.
        spec: its built-in function; None where there is none.
        readiness: what the function says of itself; None where it says nothing.
        trial: how the example went; None where none was tried.
    """

    task_type: str
    spec: ProcessorSpec | None = None
    readiness: Readiness | None = None
    trial: TaskResult | None = None

    @property
    def ready(self) -> bool:
        """Whether tasks of the type could be done, as far as is known."""
        return self.spec is not None and (self.readiness is None or self.readiness.problem is None)

    @property
    def offline(self) -> bool:
        """Whether an example is known to stay on this machine."""
        return self.readiness is not None and self.readiness.offline

    @property
    def can_be_tried(self) -> bool:
        """Whether there is an example, and what it needs."""
        return self.ready and self.spec is not None and self.spec.example is not None

    @property
    def failed(self) -> bool:
        """Whether an example was tried and did not complete."""
        return self.trial is not None and not self.trial.ok


async def find_out(config: ProcessorConfig) -> list[Finding]:
    """Ask every built-in function what it needs, all at the same time.

    In the order of ``ProcessingType``; what is no member of it comes last.

    Raises:
        ConfigurationError: a setting cannot be used by any of them.
    """
    registry = builtin_registry(config)
    try:
        types = dict.fromkeys([*(item.value for item in ProcessingType), *registry.types()])
        return list(await asyncio.gather(*(_find_out(item, registry.get(item)) for item in types)))
    finally:
        await registry.aclose()


async def _find_out(task_type: str, spec: ProcessorSpec | None) -> Finding:
    if spec is None or spec.readiness is None:
        return Finding(task_type=task_type, spec=spec)
    try:
        async with asyncio.timeout(_ASKING_TIMEOUT_S):
            readiness = await spec.readiness()
    except Exception as error:  # noqa: BLE001 - a border: one that cannot tell must not keep the others from it
        problem = f"could not be found out: {type(error).__name__}: {error}"
        readiness = Readiness(provider="unknown", offline=False, problem=problem)
    return Finding(task_type=task_type, spec=spec, readiness=readiness)


async def try_out(
    config: ProcessorConfig, findings: Iterable[Finding], *, hosted: bool = True
) -> AsyncIterator[Finding]:
    """Each finding again, with how its example went where it can be tried.

    One after the other in a processor of its own, so that the times are those of the examples alone. The time counts
    from when the function is called: the start of a worker process is not part of it.

    Args:
        hosted: whether to try what leaves the machine, too.
    """
    processor = AdvancedAsyncProcessor(config=config)
    try:
        await processor.start()
        for finding in findings:
            wanted = finding.can_be_tried and (hosted or finding.offline)
            yield replace(finding, trial=await _try(processor, finding)) if wanted else finding
    finally:
        await processor.shutdown(timeout=0)


async def _try(processor: AdvancedAsyncProcessor, finding: Finding) -> TaskResult:
    assert finding.spec is not None  # noqa: S101 - the caller looked
    assert finding.spec.example is not None  # noqa: S101
    try:
        # Making it may take a moment, such as for speaking a sentence.
        payload = await asyncio.to_thread(finding.spec.example)
    except Exception as error:  # noqa: BLE001 - a border: an example that cannot be made is one that failed
        return _failed(f"no example: {error}", error)
    task = create_task(finding.task_type, payload, TaskPriority.HIGH, max_retries=0, timeout=TRIAL_TIMEOUT_S)
    try:
        await processor.submit_task(task)
    except InvalidPayloadError as error:
        # Settings may allow less than the example asks for.
        return _failed(error.message, error)
    return await processor.wait_for_task(task.id)


def _failed(what: str, error: Exception) -> TaskResult:
    return TaskResult(task_id="", status=TaskStatus.FAILED, error=what, error_type=type(error).__name__)


def provider_of(finding: Finding) -> str:
    """What did the example, by its own words, or else would do tasks of the type."""
    result = finding.trial.result if finding.trial is not None and finding.trial.ok else None
    named = result.get("provider") if isinstance(result, Mapping) else None
    if isinstance(named, str):
        return named
    return "-" if finding.readiness is None else finding.readiness.provider


def in_short(result: Any, longest: int) -> str:
    """The beginning of a result in a line of about ``longest`` characters: names and values, as far as they fit.

    Of a value that is long itself it tells how large it is.
    """
    if not isinstance(result, Mapping):
        return printable(_value_in_short(result), longest)
    told = ""
    for key, value in result.items():
        if key in _TOLD_ELSEWHERE or value in _NOTHING:
            continue
        item = printable(f"{key}: {_value_in_short(value)}", longest)
        if told and len(told) + len(item) + 2 > longest:
            break
        told = f"{told}, {item}" if told else item
    return told


_TOLD_ELSEWHERE = ("provider", "model", "offline")
_NOTHING: tuple[Any, ...] = (None, [], {}, "")
_SHORT_CHARS = 60


def _value_in_short(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if len(text) <= _SHORT_CHARS or not isinstance(value, Mapping | list | tuple):
        return text
    return f"{len(value)} items"
