"""``async-processor doctor``: what each type of task needs here, and with ``--run`` whether it works."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from ..config import ProcessorConfig
from ..errors import AsyncProcessorError, ConfigurationError
from . import event_loop
from .columns import in_columns
from .exit_code import ExitCode
from .findings import NO_FUNCTION, Finding, find_out, in_short, provider_of, try_out
from .interruption import InterruptedBySignal, interruptible
from .output import complain, print_line

_RESULT_CHARS = 120


def run_doctor(*, try_all: bool, as_json: bool) -> ExitCode:
    """Look, try if asked to, and report; says what went wrong on standard error."""
    return carry_out("doctor", _doctor(try_all=try_all, as_json=as_json))


def carry_out(command: str, work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run a command's work to its end, or until a signal ends it."""
    try:
        with interruptible() as interruption:
            return event_loop.run(interruption.run(work))
    except ConfigurationError as error:
        complain(command, error)
        return ExitCode.USAGE
    except InterruptedBySignal as error:
        complain(command, f"stopped by {error}")
        return ExitCode(128 + error.number)
    except AsyncProcessorError as error:
        complain(command, error)
        return ExitCode.FAILED


async def _doctor(*, try_all: bool, as_json: bool) -> ExitCode:
    config = ProcessorConfig.from_env()
    findings = await find_out(config)
    if try_all:
        findings = [finding async for finding in try_out(config, findings)]
    if as_json:
        print_line(json.dumps([_plain(finding) for finding in findings]))
    else:
        for line in _report(findings, tried=try_all):
            print_line(line)
    return ExitCode.FAILED if any(finding.failed for finding in findings) else ExitCode.OK


def _report(findings: Sequence[Finding], *, tried: bool) -> Iterator[str]:
    yield from in_columns(
        [("type", "ready", "provider", "where", "what is missing")]
        + [(item.task_type, _ready(item), _provider(item), _where(item), _missing(item)) for item in findings]
    )
    remarks = [(item.task_type, remark) for item in findings if item.readiness for remark in item.readiness.remarks]
    if remarks:
        yield ""
        yield from in_columns(remarks)
    if tried:
        yield ""
        yield from in_columns(
            [("type", "example", "time", "result"), *(_tried(item) for item in findings if item.spec is not None)]
        )


def _ready(finding: Finding) -> str:
    return "yes" if finding.ready else "no"


def _provider(finding: Finding) -> str:
    return "-" if finding.readiness is None else finding.readiness.provider


def _where(finding: Finding) -> str:
    if finding.readiness is None:
        return "-"
    return "offline" if finding.readiness.offline else "hosted"


def _missing(finding: Finding) -> str:
    if finding.spec is None:
        return NO_FUNCTION
    if finding.readiness is None:
        return "it does not tell what it needs"
    return finding.readiness.problem or ""


def _tried(finding: Finding) -> tuple[str, str, str, str]:
    trial = finding.trial
    if trial is None:
        return finding.task_type, "left out", "", "there is no example" if finding.ready else "it is not ready"
    told = in_short(trial.result, _RESULT_CHARS) if trial.ok else f"{trial.error_type}: {trial.error}"
    return finding.task_type, "works" if trial.ok else trial.status.value, f"{trial.execution_time:.3f} s", told


def _plain(finding: Finding) -> dict[str, Any]:
    readiness, trial = finding.readiness, finding.trial
    return {
        "type": finding.task_type,
        "ready": finding.ready,
        "built_in": finding.spec is not None,
        "provider": None if readiness is None else readiness.provider,
        "offline": None if readiness is None else readiness.offline,
        "problem": _missing(finding) or None,
        "remarks": [] if readiness is None else list(readiness.remarks),
        "example": None
        if trial is None
        else {
            "ok": trial.ok,
            "status": trial.status.value,
            "seconds": trial.execution_time,
            "worker": trial.worker_id,
            "provider": provider_of(finding),
            "result": in_short(trial.result, _RESULT_CHARS) if trial.ok else None,
            "error": trial.error,
        },
    }
