"""Programs of the command, which no test leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Launch, Program


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts programs on the test's own folder; those still there at its end are killed."""
    programs: list[Program] = []

    def start(function: str, *options: str, **how: Any) -> Program:
        programs.append(Program(tmp_path, function, *options, **how))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
