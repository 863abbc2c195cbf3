"""Memory that a process may take: cgroups, and folders whose files are memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.runtime.host.memory import is_memory_backed, memory_available, memory_limit
from support.cgroups import memory_group, why_no_groups, write_proc

V2 = "29 23 0:26 / MNT rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 / MNT/memory rw,relatime - cgroup cgroup rw,memory\n"
HYBRID = ["41 31 0:38 / MNT/unified rw,relatime - cgroup2 cgroup2 rw\n", V1]
UNLIMITED_V1 = "9223372036854771712\n"
needs_groups = pytest.mark.skipif(bool(why_no_groups()), reason=why_no_groups())


def test_a_tmpfs_is_memory_backed_and_a_disk_is_not(tmp_path):
    assert is_memory_backed(Path("/dev/shm")) == (" /dev/shm tmpfs " in Path("/proc/mounts").read_text())
    assert not is_memory_backed(Path("/proc"))


def test_reclaimable_page_cache_counts_as_available_memory(tmp_path):
    files = {"sys/memory.max": "1000\n", "sys/memory.current": "900\n"}
    proc = write_proc(tmp_path, "0::/\n", [V2], files)
    assert memory_available(proc) == 100
    (tmp_path / "sys/memory.stat").write_text("anon 200\nactive_file 50\ninactive_file 650\n")
    assert memory_available(proc) == 750


def test_without_a_limit_the_machine_is_the_limit(tmp_path):
    whole = memory_limit(tmp_path)
    assert whole > 100e6
    assert memory_limit(write_proc(tmp_path, "0::/\n", [V2], {"sys/memory.max": "max\n"})) == whole
    assert memory_limit(write_proc(tmp_path, "0::/\n", [V2], {"sys/memory.max": "50000000\n"})) == 50_000_000


def test_the_smallest_limit_of_nested_v2_groups_counts(tmp_path):
    files = {
        "sys/kubepods/memory.max": "8000\n",
        "sys/kubepods/memory.current": "7900\n",
        "sys/kubepods/pod/memory.max": "4000\n",
        "sys/kubepods/pod/memory.current": "3000\n",
        "sys/kubepods/pod/one/memory.max": "max\n",
        "sys/kubepods/pod/one/memory.current": "3000\n",
    }
    proc = write_proc(tmp_path, "0::/kubepods/pod/one\n", [V2], files)
    assert memory_limit(proc) == 4000
    # The group above has a higher limit, and less left of it.
    assert memory_available(proc) == 100


def test_the_smallest_limit_of_nested_v1_groups_counts(tmp_path):
    at = "sys/memory/kubepods"
    files = {
        "sys/memory/memory.limit_in_bytes": UNLIMITED_V1,
        "sys/memory/memory.usage_in_bytes": "9000\n",
        f"{at}/memory.limit_in_bytes": "5000\n",
        f"{at}/memory.usage_in_bytes": "4800\n",
        f"{at}/memory.stat": "inactive_file 0\ntotal_inactive_file 300\n",
        f"{at}/pod/memory.limit_in_bytes": "6000\n",
        f"{at}/pod/memory.usage_in_bytes": "100\n",
    }
    groups = "4:memory:/kubepods/pod\n1:cpu:/other\n0::/\n"
    proc = write_proc(tmp_path, groups, HYBRID, files)
    assert (memory_limit(proc), memory_available(proc)) == (5000, 500)


def test_a_container_without_a_cgroup_namespace_finds_its_limit(tmp_path):
    # Docker on cgroup v1: the path is the host's, but the mount shows the container's own group only.
    mount = V1.replace(" / ", " /docker/abc ")
    proc = write_proc(
        tmp_path, "4:memory:/docker/abc\n", [mount], {"sys/memory/memory.limit_in_bytes": "7000\n"}
    )
    assert memory_limit(proc) == 7000


@needs_groups
def test_the_limit_of_a_real_group_counts_for_the_groups_in_it():
    code = (
        "from lading.runtime.host.memory import memory_available, memory_limit\n"
        "print(memory_limit(), memory_available())"
    )
    with memory_group(200_003_584) as outer, outer.inner() as middle, middle.inner(2**40) as inner:
        done = subprocess.run(
            inner.command(sys.executable, "-c", code), capture_output=True, text=True, check=True
        )
    limit, available = map(int, done.stdout.split())
    assert limit == 200_003_584
    assert 100e6 < available < limit
