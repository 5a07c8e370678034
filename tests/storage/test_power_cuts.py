"""Power cuts at any moment: what was acknowledged is there. At "process" the newest may be gone; nothing is damaged."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from tests.source_code import ROOT
from tests.storage.power_disk import Call, Disk, can_record, record
from tests.storage.power_program import TASKS, store_of, task, value

from async_processor.model import TaskStatus

pytestmark = pytest.mark.skipif(
    not can_record(), reason="needs strace, and permission to trace: apt-get install strace"
)

Durability = Literal["power", "process"]
NAMES = [f"t{number}" for number in range(TASKS)]


class Recording:
    """What the program did to its files, and when it was told what."""

    def __init__(self, folder: Path, durability: Durability) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        program = str(ROOT / "tests" / "storage" / "power_program.py")
        self._notes = str(self.folder / "notes")
        self.calls = record(
            self.folder, folder / "log", program, str(self.folder / "tasks.db"), durability, self._notes
        )  # fmt: skip

    def noted(self, call: Call) -> tuple[str, int] | None:
        if call.path != self._notes or call.name != "write":
            return None
        what, number = call.data.decode("ascii").split()
        return what, int(number)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[Durability, Recording]:
    return {name: Recording(tmp_path_factory.mktemp(name), name) for name in ("power", "process")}


async def cuts(recording: Recording, count: int, folder: Path, *, seed: int) -> list[Found]:
    """Cut the power so often, at moments spread over the whole, and look at what is left each time."""
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(len(recording.calls)), min(count, len(recording.calls))))
    disk, told, found = Disk(), set(), []
    for moment, call in enumerate(recording.calls):
        disk.do(call)
        if (note := recording.noted(call)) is not None:
            told.add(note)
        if moment in moments:
            target = folder / f"cut-{moment}"
            target.mkdir()
            disk.cut(rng, recording.folder, target)
            found.append(Found(moment, frozenset(told), await look(target)))
            shutil.rmtree(target)
    return found


class Found:
    """What there was after a cut: the tasks told of before it, and those that are there with what they hold."""

    def __init__(self, moment: int, told: frozenset[tuple[str, int]], there: dict[str, TaskStatus]) -> None:
        self.moment = moment
        self.told = told
        self.there = there

    def lost(self) -> list[str]:
        """What was acknowledged and is not there."""
        lost = [f"t{number}" for what, number in self.told if what == "accepted" and f"t{number}" not in self.there]
        return lost + [
            f"end of t{number}"
            for what, number in self.told
            if what == "finished" and self.there.get(f"t{number}") is not TaskStatus.COMPLETED
        ]

    def gaps(self) -> list[str]:
        """What is not there although something that was accepted later is."""
        last = max((int(name[1:]) for name in self.there), default=-1)
        return [name for name in NAMES[: last + 1] if name not in self.there]


async def look(folder: Path) -> dict[str, TaskStatus]:
    """Open what is left with a store; everything that it holds must be whole."""
    path = folder / "tasks.db"
    store = store_of(str(path))
    keys = await store.open(lambda _: None)
    try:
        found = await store.find(NAMES)
        assert store.statistics().quarantined == 0
        for name, stored in found.items():
            number = int(name[1:])
            assert stored.task == task(number)
            assert keys[f"k{number}"] == name
            if stored.status is TaskStatus.COMPLETED:
                assert stored.value == value(number)
            else:
                assert stored.status is TaskStatus.PENDING
    finally:
        await store.aclose(5.0)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return {name: stored.status for name, stored in found.items()}


async def test_at_power_no_cut_loses_what_was_acknowledged(
    recordings: dict[Durability, Recording], tmp_path: Path
):  # S2
    found = await cuts(recordings["power"], 300, tmp_path, seed=1)

    assert len(found) == 300
    assert [(item.moment, item.lost()) for item in found if item.lost()] == []
    assert any(len(item.told) > TASKS for item in found)


async def test_at_process_a_cut_costs_the_newest_and_damages_nothing(
    recordings: dict[Durability, Recording], tmp_path: Path
):  # S2
    found = await cuts(recordings["process"], 300, tmp_path, seed=2)

    assert [(item.moment, item.gaps()) for item in found if item.gaps()] == []
    # And so it is seen that a store which does not wait for the disk would be found out above.
    assert sum(bool(item.lost()) for item in found) > 30


@pytest.mark.nightly
@pytest.mark.timeout(1_200)
async def test_three_thousand_cuts(recordings: dict[Durability, Recording], tmp_path: Path):  # S2
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for item in await cuts(recordings["power"], 300, folder, seed=100 + seed):
            assert item.lost() == [], (seed, item.moment)
