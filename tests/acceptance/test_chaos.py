"""A program with all lanes is killed at random moments and goes on with its store; the same as ``benchmarks.chaos``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.source_code import ROOT


def chaos(folder: Path, *options: str, timeout: float) -> dict:
    """Run it in an interpreter of its own, for it forks."""
    report = folder / "report.json"
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *options, "--json", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(report.read_text())


def held(report: dict, kills: int) -> None:
    assert report["kills"] == kills
    assert (report["lost"], report["changed"], report["repeated_attempts"]) == ([], [], [])
    assert 0 < report["reruns"] <= kills * 16
    assert len(report["recovery_ms"]) > kills / 2


@pytest.mark.parametrize("durability", ["power", "process"])
def test_kill_9_loses_nothing_and_repeats_no_more_than_what_ran(durability: str, tmp_path: Path):  # S1
    kills = 25

    report = chaos(tmp_path, "--kills", str(kills), "--tasks", "1500", "--durability", durability, timeout=55)

    held(report, kills)


@pytest.mark.nightly
def test_two_hundred_kills_lose_nothing(tmp_path: Path):  # S1
    report = chaos(tmp_path, "--kills", "200", "--tasks", "5000", timeout=1_200)

    held(report, 200)
