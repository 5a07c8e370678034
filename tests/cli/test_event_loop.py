"""``async-processor run`` without uvloop, which the other tests have: it works and ends the same."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.cli.running import Launch

from async_processor.storage.sqlite_view import StoreView

WITHOUT_UVLOOP = [
    sys.executable,
    "-c",
    "import sys; sys.modules['uvloop'] = None; from async_processor.cli import main; main()",
]


def test_it_works_on_the_loop_of_asyncio(launch: Launch, tmp_path: Path):
    code, _, error = launch("few", "--until-idle", command=WITHOUT_UVLOOP).end()

    assert (code, error) == (0, "")
    assert StoreView(str(tmp_path / "tasks.db")).counts().of_status("completed") == 5


def test_a_signal_ends_it_on_the_loop_of_asyncio(launch: Launch):
    program = launch("few", command=WITHOUT_UVLOOP)
    program.until(lambda: program.store.exists() and StoreView(str(program.store)).counts().of_status("completed") == 5)

    program.process.send_signal(signal.SIGTERM)

    code, _, error = program.end()
    assert code == 143
    assert "stopped by SIGTERM" in error
