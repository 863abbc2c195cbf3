"""Memory that a process may take: cgroups, and folders whose files are memory."""

from __future__ import annotations

from pathlib import Path

from lading.runtime.host.memory import is_memory_backed, memory_available, memory_limit


def test_a_tmpfs_is_memory_backed_and_a_disk_is_not(tmp_path):
    assert is_memory_backed(Path("/dev/shm")) == (" /dev/shm tmpfs " in Path("/proc/mounts").read_text())
    assert not is_memory_backed(Path("/proc"))


def test_reclaimable_page_cache_counts_as_available_memory(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    group = [(str(tmp_path / "memory.max"), str(tmp_path / "memory.current"))]
    assert memory_available(group) == 100
    (tmp_path / "memory.stat").write_text("anon 200\nactive_file 50\ninactive_file 650\n")
    assert memory_available(group) == 750


def test_a_cgroup_limits_the_memory(tmp_path):
    (tmp_path / "max").write_text("50000000\n")
    assert memory_limit([(str(tmp_path / "max"), "")]) == 50_000_000
    (tmp_path / "max").write_text("max\n")
    assert memory_limit([(str(tmp_path / "max"), "")]) == memory_limit([])
