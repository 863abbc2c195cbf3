"""The CPUs that a cgroup and the affinity allow, on trees of /proc and /sys from real containers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading.runtime.host.cpus import cpu_limit
from support.cgroups import write_proc

V2 = "29 23 0:26 / MNT rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


V1 = "32 31 0:29 / MNT/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("9900000 100000", 8),
    ],
)
def test_a_cgroup_v2_quota_limits_the_cpus(tmp_path, quota, cpus):
    proc = write_proc(tmp_path, "0::/\n", [V2], {"sys/cpu.max": f"{quota}\n"})
    assert cpu_limit(proc, available=8) == cpus


def test_the_smallest_quota_among_parent_groups_counts(tmp_path):
    files = {"sys/pod/cpu.max": "300000 100000\n", "sys/pod/one/cpu.max": "max 100000\n"}
    proc = write_proc(tmp_path, "0::/pod/one\n", [V2], files)
    assert cpu_limit(proc, available=8) == 3


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("200000", 2), ("150000", 1), ("0", 8)])
def test_a_cgroup_v1_quota_limits_the_cpus(tmp_path, quota, cpus):
    at = "sys/cpu,cpuacct/kubepods/pod1"
    files = {f"{at}/cpu.cfs_quota_us": f"{quota}\n", f"{at}/cpu.cfs_period_us": "100000\n"}
    groups = "5:cpu,cpuacct:/kubepods/pod1\n1:name=systemd:/init\n0::/\n"
    assert cpu_limit(write_proc(tmp_path, groups, [V1], files), available=8) == cpus


def test_a_container_without_a_cgroup_namespace_finds_its_quota(tmp_path):
    # Docker on cgroup v1: the path is the host's, but the mount shows the container's own group only.
    mount = V1.replace(" / ", " /docker/abc ")
    files = {"sys/cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "sys/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    proc = write_proc(tmp_path, "4:cpu,cpuacct:/docker/abc\n", [mount], files)
    assert cpu_limit(proc, available=8) == 3
    elsewhere = write_proc(tmp_path, "4:cpu,cpuacct:/docker/other\n", [mount], files)
    assert cpu_limit(elsewhere, available=8) == 3


def test_without_cgroups_the_affinity_counts(tmp_path):
    assert cpu_limit(tmp_path, available=5) == 5
    assert cpu_limit(tmp_path, available=0) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="affinity")
def test_the_affinity_of_this_process_counts(tmp_path):
    code = (
        "import os; os.sched_setaffinity(0, {0})\n"
        "from lading.runtime.host.cpus import cpu_limit; print(cpu_limit())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
