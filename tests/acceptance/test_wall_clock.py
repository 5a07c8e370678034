"""A wall clock that jumps and runs at another rate, made by libfaketime for a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.wall_clock_program import CHANGES, TIMEOUT_S
from tests.source_code import ROOT

# Where Debian's package `faketime` puts it, for any architecture.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
LONGEST_BACKOFF_S = 0.05
SLOW_MACHINE_S = 5.0

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt-get install faketime")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the program says of each change."""
    setting = tmp_path_factory.mktemp("clock") / "setting"
    setting.write_text("+0\n", encoding="ascii")
    environ = {
        **os.environ,
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, "-m", "tests.acceptance.wall_clock_program"]
    ran = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_wall_clock_that_is_set_ends_no_task_and_makes_no_duration_wrong(
    told: dict[str, dict[str, Any]], change: str
):  # E22
    seen = told[change]

    # The clock was changed in truth, by hours or by many times what had passed.
    assert all(abs(seen[lane][3]) > 1.0 for lane in ("async", "thread"))
    assert {lane: tuple(seen[lane][:2]) for lane in ("async", "thread", "retried")} == {
        "async": ("completed", 1),
        "thread": ("completed", 1),
        "retried": ("completed", 2),
    }
    durations = [seen[lane][2] for lane in ("async", "thread", "retried")]
    assert all(0.0 <= seconds < TIMEOUT_S for seconds in [*durations, seen["average"], seen["uptime"]])
    assert 0.0 <= seen["retry_after"] < LONGEST_BACKOFF_S + SLOW_MACHINE_S
