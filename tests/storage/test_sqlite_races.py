"""Two processes want one store at the same moment, a thousand times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from async_processor.errors import StoreLockedError
from async_processor.storage.sqlite_lock import StoreLock

lock = StoreLock(sys.argv[1])
for line in sys.stdin:
    if line == "take\\n":
        try:
            lock.take()
            print("took", flush=True)
        except StoreLockedError:
            print("locked", flush=True)
    else:
        lock.release()
        print("released", flush=True)
"""


class Rival:
    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_of_two_that_want_a_store_at_once_one_gets_it_a_thousand_times(tmp_path: Path):  # S7
    rivals = [Rival(tmp_path / "store.db") for _ in range(2)]
    wins = [0, 0]
    try:
        for trial in range(1_000):
            # Each is asked first half of the time.
            for rival in rivals if trial % 2 else reversed(rivals):
                rival.ask("take")
            answers = [rival.answer() for rival in rivals]
            assert sorted(answers) == ["locked", "took"], trial
            winner = answers.index("took")
            wins[winner] += 1
            rivals[winner].ask("release")
            assert rivals[winner].answer() == "released"
    finally:
        for rival in rivals:
            rival.close()

    assert min(wins) > 0, "it was no race"
