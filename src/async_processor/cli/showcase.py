"""``async-processor showcase``: an example task of each type that works here without keys, in one table."""

from __future__ import annotations

from dataclasses import replace

from ..config import ProcessorConfig
from .columns import in_columns
from .doctor import carry_out
from .exit_code import ExitCode
from .findings import NO_FUNCTION, Finding, find_out, in_short, provider_of, try_out
from .output import print_line

_RESULT_CHARS = 100


def run_showcase() -> ExitCode:
    """Do the examples and print the table; says what went wrong on standard error."""
    return carry_out("showcase", _showcase())


async def _showcase() -> ExitCode:
    config = ProcessorConfig.from_env()
    # What can be done without a key, also where there is one.
    config = replace(config, ai=replace(config.ai, provider="scripted"))
    findings = await find_out(config)
    tried = [finding async for finding in try_out(config, findings, hosted=False)]
    for line in in_columns([("type", "provider", "time", "result"), *map(_row, tried)]):
        print_line(line)
    return ExitCode.FAILED if any(finding.failed for finding in tried) else ExitCode.OK


def _row(finding: Finding) -> tuple[str, str, str, str]:
    trial = finding.trial
    if trial is None:
        return finding.task_type, provider_of(finding), "", f"({_why_not(finding)})"
    told = in_short(trial.result, _RESULT_CHARS) if trial.ok else f"({trial.status.value}: {trial.error})"
    return finding.task_type, provider_of(finding), f"{trial.execution_time:.3f} s", told


def _why_not(finding: Finding) -> str:
    if finding.spec is None:
        return NO_FUNCTION
    if finding.readiness is not None and finding.readiness.problem is not None:
        return finding.readiness.problem
    return "there is no example" if finding.offline else "hosted: left out here"
