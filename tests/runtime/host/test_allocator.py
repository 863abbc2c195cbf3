"""Settings of glibc's allocator, seen in the page faults of a process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from lading.runtime.host.allocator import keep_freed_memory

FAULTS = """
import resource, sys
from lading.runtime.host.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
faults = []
for _ in range(200):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bodies = [bytearray(700_000) for _ in range(3)]
    del bodies
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[100:]))
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


@pytest.mark.slow
def test_memory_freed_by_one_request_serves_the_next_without_page_faults():
    assert faults("kept") < faults("returned") / 20


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_allocator_settings_in_the_environment_take_precedence(name):
    assert not keep_freed_memory({**os.environ, name: "1"})


def faults(how: str) -> int:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    if how == "returned":
        # glibc's initial values; by itself it raises them once something large has been freed.
        environ |= {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    out = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env=environ
    )
    return int(out.stdout)
