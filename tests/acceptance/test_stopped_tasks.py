"""Tasks of every built-in type, timed out and cancelled at any moment: nothing is left, and the next one works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.payloads import BUILT_IN
from tests.source_code import ROOT


def check_stopped_at(moments: int, task_type: str, folder: Path) -> None:
    shared_before = _shared()

    ran = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.stopping", str(task_type), str(moments)],
        env={**os.environ, "TMPDIR": str(folder)}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["good"], told["error"]) == ("completed", None)
    assert max(told["grown"].values()) <= 0, told["grown"]
    for stopped, ends in (("cancelled", told["ends"]["cancelled"]), ("timeout", told["ends"]["timed out"])):
        assert len(ends) == moments
        assert set(ends) <= {stopped, "completed"}
    assert told["ends"]["cancelled"][0] == "cancelled"
    assert told["files"] == []
    # Those that multiprocessing itself needs go with the process.
    assert list(folder.iterdir()) == []
    assert _shared() <= shared_before


def _shared() -> set[str]:
    """Shared memory by names that only multiprocessing gives; other tests that run now have theirs."""
    return {item.name for item in Path("/dev/shm").iterdir() if item.name.startswith("psm_")}


@pytest.mark.parametrize("task_type", BUILT_IN)
def test_stopped_at_random_moments_nothing_is_left_behind(task_type: str, tmp_path: Path):  # B22
    check_stopped_at(2, task_type, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("task_type", BUILT_IN)
def test_stopped_at_50_random_moments_nothing_is_left_behind(task_type: str, tmp_path: Path):  # B22
    check_stopped_at(50, task_type, tmp_path)
