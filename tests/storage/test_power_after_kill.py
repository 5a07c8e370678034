"""A kill, a second life on what it left, and then the power cut.

What the first life wrote and did not sync is in the system's memory only. The second life cannot tell it from what is
on the disk, so it must sync whatever it tells of or builds on.
"""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.source_code import ROOT
from tests.storage.power_disk import Call, Disk, can_record, record
from tests.storage.test_power_cuts import look

pytestmark = pytest.mark.skipif(
    not can_record(), reason="needs strace, and permission to trace: apt-get install strace"
)

CUTS = 3
"""At one moment: each leaves something else."""
Told = set[tuple[str, int]]


class Machine:
    """Runs the program on a store and notes what it did; the first life is run at once."""

    def __init__(self, folder: Path) -> None:
        self._target = folder / "cut"
        self._log = folder / "log"
        self.folder = folder / "disk"
        self._notes = str(self.folder / "notes")
        self.folder.mkdir()
        self.first = self._live()

    def _live(self) -> list[Call]:
        arguments = (str(self.folder / "tasks.db"), "power", self._notes)
        return record(self.folder, self._log, "-m", "tests.storage.power_lives", *arguments)

    def before(self, name: str, place: str) -> list[int]:
        """The moments of the first life right before such a call."""
        return [moment for moment, call in enumerate(self.first) if call.name == name and place in call.path]

    async def lost(self, kill: int) -> list[str]:
        """Kill the first life at a moment, let a second one go on, and cut the power at moments of that."""
        rng = random.Random(kill)
        before = self.first[:kill]
        disk = Disk()
        for call in before:
            disk.do(call)
        self._leave_what_was_written(disk, before)
        second = self._live()
        # Right after something was told is when there is most to lose.
        telling = [number for number, call in enumerate(second) if self._is_note(call)]
        cuts = {telling[0], telling[-1], rng.choice(telling)}
        lost = []
        for number, call in enumerate(second):
            disk.do(call)
            if number in cuts:
                told = self._told(before) | self._told(second[: number + 1])
                found = [what for _ in range(CUTS) for what in await self._cut(disk, rng, told)]
                lost += [f"killed before call {kill}, cut after {number}: {what}" for what in found]
        return lost

    def _leave_what_was_written(self, disk: Disk, calls: Iterable[Call]) -> None:
        """The death of a process takes nothing that was written, synced or not."""
        whole = copy.deepcopy(disk)
        names = {name for call in calls for name in (call.path, call.target)}
        for name in names | {name.rpartition("/")[0] for name in names}:
            whole.do(Call("sync", name))
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        whole.cut(random.Random(0), self.folder, self.folder)

    async def _cut(self, disk: Disk, rng: random.Random, told: Told) -> list[str]:
        self._target.mkdir()
        disk.cut(rng, self.folder, self._target)
        try:
            there = await look(self._target)
        except AssertionError as error:
            return [f"damage, {str(error).splitlines()[0]}"]
        finally:
            shutil.rmtree(self._target)
        lost = [f"t{number}" for what, number in told if what == "accepted" and f"t{number}" not in there]
        return lost + [
            f"end of t{number}"
            for what, number in told
            if what == "finished" and there.get(f"t{number}", "pending") != "completed"
        ]

    def _told(self, calls: Iterable[Call]) -> Told:
        notes = [call.data.decode("ascii").split() for call in calls if self._is_note(call)]
        return {(what, int(number)) for what, number in notes}

    def _is_note(self, call: Call) -> bool:
        return call.name == "write" and call.path == self._notes


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.chdir(ROOT)  # from there the program finds this package
    return Machine(tmp_path)


async def test_a_task_that_a_second_life_has_found_survives_though_it_was_not_synced(machine: Machine):  # S2
    accepting = machine.before("sync", "-wal")[1:13:2]

    lost = [what for kill in accepting for what in await machine.lost(kill)]

    assert lost == []


async def test_a_result_file_that_was_there_already_is_synced_before_a_row_names_it(machine: Machine):  # S2
    naming = [moment + 1 for moment in machine.before("rename", "-results")]
    assert len(naming) == 4

    lost = [what for kill in naming for what in await machine.lost(kill)]

    assert lost == []


@pytest.mark.nightly
@pytest.mark.timeout(1_200)
async def test_no_cut_after_a_kill_at_any_moment_loses_what_was_told(machine: Machine):  # S2
    kills = random.Random(7).sample(range(1, len(machine.first)), 300)

    lost = [what for kill in kills for what in await machine.lost(kill)]

    assert lost == []
