from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "async-processor"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=50, check=False)


def test_without_the_extra_the_command_says_how_to_install_it():
    program = "import sys; sys.modules['typer'] = None; from async_processor.cli import main; main()"

    ran = subprocess.run(
        [sys.executable, "-c", program, "version"], capture_output=True, text=True, timeout=50, check=False
    )

    assert ran.returncode == 2
    assert "pip install 'advanced-async-processor[cli]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_version_names_package_python_and_platform():
    ran = command("version")

    assert ran.returncode == 0
    assert ran.stdout.startswith("advanced-async-processor 0.1.0, Python 3.")
    assert ran.stdout.count("\n") == 1


def test_help_shows_the_subcommands_and_the_exit_codes():
    assert "talk" in command("--help").stdout
    assert "130 ended by Ctrl-C" in " ".join(command("talk", "--help").stdout.split())


@pytest.mark.parametrize("arguments", [["sing"], ["talk"], ["talk", "--loud", "x.wav"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]):
    ran = command(*arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
