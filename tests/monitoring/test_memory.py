"""Control groups of version 2 and their ancestors on a fake tree; what this machine has, for real."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from async_processor.monitoring.memory import MemoryReader, process_tree, resident_bytes

MIB = 1024 * 1024
UNLIMITED_V1 = 9_223_372_036_854_771_712


class FakeRoot:
    """A file system with just the files that tell of memory."""

    def __init__(self, root: Path, *, total: int, available: int) -> None:
        self.path = root
        self.write(
            "proc/meminfo", f"MemTotal: {total // 1024} kB\nMemFree: 1 kB\nMemAvailable: {available // 1024} kB\n"
        )

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def belongs_to(self, memberships: str, mounts: str) -> None:
        self.write("proc/self/cgroup", memberships)
        self.write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda rw\n" + mounts)

    def group_v2(self, directory: str, *, limit: int | str, current: int, inactive_file: int = 0) -> None:
        self.write(f"{directory}/memory.max", f"{limit}\n")
        self.write(f"{directory}/memory.current", f"{current}\n")
        stat = f"anon 1\nfile {inactive_file}\nactive_file 7\ninactive_file {inactive_file}\ninactive_anon 9\n"
        self.write(f"{directory}/memory.stat", stat)

    def group_v1(
        self, directory: str, *, limit: int, usage: int, inactive_file: int = 0, above: int = UNLIMITED_V1
    ) -> None:
        self.write(f"{directory}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{directory}/memory.usage_in_bytes", f"{usage}\n")
        stat = f"inactive_file 3\nhierarchical_memory_limit {above}\ntotal_inactive_file {inactive_file}\n"
        self.write(f"{directory}/memory.stat", stat)

    def reader(self) -> MemoryReader:
        return MemoryReader(self.path)


@pytest.fixture
def root(tmp_path):
    return FakeRoot(tmp_path, total=8_000 * MIB, available=6_000 * MIB)


V2_MOUNT = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "33 32 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "34 32 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def test_without_control_groups_the_machine_is_the_limit(root):
    reader = root.reader()

    assert reader.limit_bytes() == 8_000 * MIB
    assert reader.used_bytes() == 2_000 * MIB


def test_version_2_gives_the_limit_of_the_own_group_less_what_can_be_had_back(root):
    root.belongs_to("0::/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/app", limit=500 * MIB, current=300 * MIB, inactive_file=100 * MIB)

    reader = root.reader()

    assert reader.limit_bytes() == 500 * MIB
    assert reader.used_bytes() == 200 * MIB


def test_version_2_without_a_limit_leaves_the_machine(root):
    root.belongs_to("0::/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/app", limit="max", current=300 * MIB)

    assert root.reader().limit_bytes() == 8_000 * MIB


def test_a_limit_of_any_ancestor_holds(root):
    root.belongs_to("0::/pod/app/worker\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/pod", limit=400 * MIB, current=350 * MIB)
    root.group_v2("sys/fs/cgroup/pod/app", limit="max", current=250 * MIB)
    root.group_v2("sys/fs/cgroup/pod/app/worker", limit=600 * MIB, current=50 * MIB)

    reader = root.reader()

    assert reader.limit_bytes() == 400 * MIB
    assert reader.used_bytes() == 350 * MIB


def test_the_room_left_is_that_of_whichever_group_is_nearest_to_its_limit(root):
    root.belongs_to("0::/pod/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/pod", limit=4_000 * MIB, current=3_980 * MIB)
    root.group_v2("sys/fs/cgroup/pod/app", limit=500 * MIB, current=100 * MIB)

    reader = root.reader()

    assert reader.limit_bytes() == 500 * MIB
    assert reader.limit_bytes() - reader.used_bytes() == 20 * MIB


def test_a_container_that_sees_only_its_own_part_of_the_tree_reads_what_is_mounted(root):
    root.belongs_to("0::/docker/abc\n", "30 22 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n")
    root.group_v2("sys/fs/cgroup", limit=256 * MIB, current=56 * MIB)

    assert root.reader().limit_bytes() == 256 * MIB


def test_a_group_outside_of_what_is_mounted_falls_back_to_the_mount_itself(root):
    root.belongs_to("0::/../other\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup", limit=256 * MIB, current=56 * MIB)

    assert root.reader().limit_bytes() == 256 * MIB


def test_a_mount_point_with_a_blank_in_its_name_is_found(root):
    root.belongs_to("0::/app\n", "30 22 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n")
    root.group_v2("my groups/app", limit=128 * MIB, current=1 * MIB)

    assert root.reader().limit_bytes() == 128 * MIB


def test_version_1_is_read_with_its_ancestors_and_its_own_names(root):
    root.belongs_to("4:memory:/pod/app\n1:cpu:/\n0::/\n", V1_MOUNTS)
    root.group_v1("sys/fs/cgroup/memory", limit=UNLIMITED_V1, usage=7_000 * MIB)
    root.group_v1("sys/fs/cgroup/memory/pod", limit=300 * MIB, usage=250 * MIB, inactive_file=50 * MIB)
    root.group_v1("sys/fs/cgroup/memory/pod/app", limit=UNLIMITED_V1, usage=90 * MIB, above=300 * MIB)

    reader = root.reader()

    assert reader.limit_bytes() == 300 * MIB
    assert reader.used_bytes() == 200 * MIB


def test_version_1_knows_the_limit_of_a_group_that_cannot_be_seen(root):
    root.belongs_to("4:memory:/\n", V1_MOUNTS)
    root.group_v1("sys/fs/cgroup/memory", limit=UNLIMITED_V1, usage=90 * MIB, above=200 * MIB)

    assert root.reader().limit_bytes() == 200 * MIB


def test_of_both_versions_side_by_side_the_one_that_holds_memory_is_read(root):
    hybrid = V1_MOUNTS + "41 32 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    root.belongs_to("9:name=systemd:/app\n4:memory,hugetlb:/app\n0::/app\n", hybrid)
    root.group_v1("sys/fs/cgroup/memory/app", limit=700 * MIB, usage=7 * MIB)
    root.write("sys/fs/cgroup/unified/app/cgroup.procs", "1\n")

    assert root.reader().limit_bytes() == 700 * MIB


def test_a_limit_above_the_machine_is_no_limit(root):
    root.belongs_to("0::/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/app", limit=64_000 * MIB, current=MIB)

    assert root.reader().limit_bytes() == 8_000 * MIB


def test_a_limit_that_is_changed_is_seen_at_the_next_reading(root):
    root.belongs_to("0::/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/app", limit=500 * MIB, current=MIB)
    reader = root.reader()

    root.group_v2("sys/fs/cgroup/app", limit=100 * MIB, current=MIB)

    assert reader.limit_bytes() == 100 * MIB


@pytest.mark.parametrize("name", ["memory.max", "memory.current", "memory.stat"])
def test_a_group_that_vanishes_or_is_broken_is_left_out(root, name):
    root.belongs_to("0::/app\n", V2_MOUNT)
    root.group_v2("sys/fs/cgroup/app", limit=500 * MIB, current=MIB)
    reader = root.reader()

    (root.path / "sys/fs/cgroup/app" / name).unlink()

    assert reader.limit_bytes() == 8_000 * MIB
    assert reader.used_bytes() == 2_000 * MIB


def test_a_system_without_proc_is_read_by_psutil(tmp_path):
    reader = MemoryReader(tmp_path)

    assert reader.limit_bytes() == psutil.virtual_memory().total
    assert 0 < reader.used_bytes() <= reader.limit_bytes()


def test_on_this_machine_limit_and_use_are_of_a_sensible_size():
    reader = MemoryReader()

    assert 64 * MIB < reader.limit_bytes() <= psutil.virtual_memory().total
    assert MIB < reader.used_bytes() <= reader.limit_bytes()


def test_use_grows_with_what_this_process_allocates():
    reader = MemoryReader()
    before = reader.used_bytes()
    blocks = []

    # Others on the machine may free some at the same moment, but hardly as much as this.
    while (grown := reader.used_bytes() - before) < 80 * MIB and len(blocks) < 6:
        blocks.append(b"x" * (100 * MIB))

    assert grown >= 80 * MIB


def test_the_memory_of_the_process_tree_counts_children():
    code = "block = b'x' * (80 * 1024 * 1024); print('ready', flush=True); input()"
    before = resident_bytes(process_tree())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        during = resident_bytes(process_tree())
        child.communicate(b"\n")

    assert during - before > 75 * MIB


def test_a_child_that_vanishes_after_it_was_listed_is_left_out():
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        listed = process_tree()
        child.communicate(b"\n")

    assert child.pid in [process.pid for process in listed]
    assert resident_bytes([process for process in listed if process.pid == child.pid]) == 0
    assert resident_bytes(listed) > MIB
