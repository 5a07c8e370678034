"""The scripts behind `make demo` and `make test`, on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.source_code import ROOT

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory for PATH that holds next to nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env", "dirname", "rm"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def provide(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{folder}/bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def run(script: str, *arguments: str, programs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / script, *arguments],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_nothing_is_done_when_the_packages_are_there(programs: Path):
    provide(programs, "flite", "exit 0")

    ran = run("system-packages", "flite", programs=programs)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_package_may_bring_a_command_of_another_name(programs: Path):
    provide(programs, "pg_ctlcluster", "exit 0")

    there = run("system-packages", "postgresql:pg_ctlcluster", programs=programs)
    missing = run("system-packages", "postgresql:pg_other", programs=programs)

    assert there.stderr == ""
    assert "not installed: postgresql (" in missing.stderr


@pytest.mark.parametrize(
    ("user", "has_apt", "told"),
    [
        (1000, True, "not root, so as root: apt-get install flite"),
        (0, False, "install it with the package manager of this system"),
    ],
)
def test_what_cannot_be_installed_is_named_and_the_work_goes_on(user: int, has_apt: bool, told: str, programs: Path):
    provide(programs, "id", f"echo {user}")
    if has_apt:
        provide(programs, "apt-get", "exit 99")

    ran = run("system-packages", "flite", programs=programs)

    assert ran.returncode == 0
    assert told in ran.stderr
    assert "answers are shown as text" in ran.stderr


def test_as_root_packages_come_through_apt_with_fresh_lists_if_need_be(programs: Path, tmp_path: Path):
    calls = tmp_path / "calls"
    provide(programs, "id", "echo 0")
    # The first install fails, as where no package lists were ever fetched.
    provide(
        programs,
        "apt-get",
        f'for word; do case $word in install|update|flite) echo "$word" >> {calls};; esac; done\n'
        f"[[ $* == *install* && $(<{calls}) != *update* ]] && exit 100\nexit 0",
    )

    ran = run("system-packages", "flite", programs=programs)

    assert ran.returncode == 0
    assert calls.read_text().split() == ["install", "flite", "update", "install", "flite"]
    assert ran.stderr == ""


def test_a_failing_apt_is_reported_and_the_work_goes_on(programs: Path):
    provide(programs, "id", "echo 0")
    provide(programs, "apt-get", "echo 'no network' >&2; exit 100")

    ran = run("system-packages", "flite", programs=programs)

    assert ran.returncode == 0
    assert "no network" in ran.stderr
    assert "apt could not install it" in ran.stderr


def test_without_python_it_says_what_to_install(programs: Path, tmp_path: Path):
    ran = run("create-venv", "python3", str(tmp_path / "venv"), programs=programs)

    assert ran.returncode == 1
    assert "install Python 3.11 or later" in ran.stderr


def test_a_python_that_is_too_old_is_named_with_its_version(programs: Path, tmp_path: Path):
    provide(programs, "python3", '[[ $2 == *print* ]] && echo 3.9; [[ $2 == *"(3, 11)"* ]] && exit 1; exit 0')

    ran = run("create-venv", "python3", str(tmp_path / "venv"), programs=programs)

    assert ran.returncode == 1
    assert "python3 is Python 3.9; this project needs 3.11 or later" in ran.stderr


def test_a_python_that_cannot_make_environments_gets_its_package_or_names_it(programs: Path, tmp_path: Path):
    provide(programs, "id", "echo 1000")
    provide(programs, "apt-get", "exit 99")
    provide(programs, "python3", "[[ $2 == *ensurepip* ]] && exit 1; [[ $2 == *print* ]] && echo 3.11; exit 0")

    ran = run("create-venv", "python3", str(tmp_path / "venv"), programs=programs)

    assert ran.returncode == 1
    assert "apt-get install python3.11-venv" in ran.stderr


def test_an_environment_is_made_where_asked(tmp_path: Path):
    python = getattr(sys, "_base_executable", sys.executable)

    ran = subprocess.run(
        [SCRIPTS / "create-venv", python, tmp_path / "venv"], capture_output=True, text=True, timeout=50, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "venv" / "bin" / "python").exists()


def test_every_target_of_make_is_in_its_help():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = makefile.partition(".PHONY:")[2].partition("\n")[0].split()

    assert [name for name in targets if f"make {name}\t" not in shown] == []
