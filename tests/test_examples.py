"""Every example is run as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.source_code import ROOT

EXAMPLES = ROOT / "examples"
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("ASYNC_PROCESSOR_") and not name.endswith(("_API_KEY", "_BASE_URL"))
}

OUTPUT = {
    "quickstart.py": "completed GOOD NIGHT\n",
    "dependencies.py": (
        "a walk in Bath: take an umbrella\n"
        "task 'advice-Atlantis' was cancelled because its dependency 'weather-Atlantis' ended failed: "
        "there is no weather station in Atlantis\n"
    ),
    "lanes.py": (
        "loop: in lane async, here\n"
        "thread: in lane thread, here\n"
        "process: in lane process, in a process of its own\n"
        "endless: timeout\n"
    ),
    "durable.py": (
        "life 1 ended with SIGKILL\n"
        "20 bookings done, 1 of them in a second attempt\n"
        "life 2 ended with exit code 0\n"
        "20 stars of 20\n"
    ),
    "observing.py": (
        "attempt 1 failed with RetryableError\n"
        "90% smells good\n"
        "completed after 2 attempts\n"
        "here is your round cake\n"
        "a star cake, 1 to come\n"
        "a moon cake, 0 to come\n"
        "3 tasks, 100 % well\n"
    ),
}


def run(program: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program, *arguments],
        env=ENVIRONMENT,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_every_example_is_run_here_and_listed():
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert programs == set(OUTPUT)
    assert [name for name in programs if f"({name})" not in listed] == []


# S21: the key of durable.py's tasks is the same in every attempt and life.
@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_prints_what_it_is_there_to_show(name: str, tmp_path: Path):
    ran = run(EXAMPLES / name, cwd=tmp_path)

    assert (ran.stdout, ran.stderr, ran.returncode) == (OUTPUT[name], "", 0)


def test_the_teddy_bear_answers_under_the_import_path_of_the_guide():
    ran = run(Path("teddy.py"), cwd=EXAMPLES / "teddy_bear")

    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"teddy: \S.+\nanswered in \d+\.\d\d s\n", ran.stdout), ran.stdout
    program = (EXAMPLES / "teddy_bear" / "teddy.py").read_text(encoding="utf-8")
    assert "\nfrom src.infrastructure.processing.async_processor import (" in program


def test_the_teddy_bear_answers_any_recording():
    sample = ROOT.parent / "shared" / "samples" / "one-two-three.wav"
    if not sample.exists():
        pytest.skip(f"no recordings at {sample.parent}")

    ran = run(Path("teddy.py"), sample, cwd=EXAMPLES / "teddy_bear")

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("teddy: ")
