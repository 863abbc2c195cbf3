"""Huge pages for the memory of a process, as the kernel reports them."""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lading.runtime.host.huge_pages import use_huge_pages

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
REPORT = """
import re
from pathlib import Path
import mmap
from lading.runtime.host.huge_pages import use_huge_pages

def report():
    text = Path("/proc/self/smaps_rollup").read_text()
    print(*(re.search(rf"^{name}: +(\\d+)", text, re.MULTILINE)[1] for name in ("Rss", "AnonHugePages")))

SETUP
report()
print(use_huge_pages(WITHIN) >> 10)
report()
CHECK
"""


def gives_huge_pages() -> bool:
    """Return whether this kernel collapses memory when asked: from Linux 6.1 on, if it is allowed."""
    if not SWITCH.is_file() or "[never]" in SWITCH.read_text():
        return False
    with mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE) as area:
        area.write(b"1" * len(area))
        try:
            area.madvise(25, 2 << 20, 4 << 20)  # holds at least one whole huge page
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(not gives_huge_pages(), reason="this kernel gives no huge pages")


def measure(setup: str, check: str = "", within_s: float = 30) -> tuple[int, int, int, int, int]:
    """Return kilobytes: resident and huge before, collapsed, resident and huge after."""
    program = REPORT.replace("SETUP", setup).replace("CHECK", check).replace("WITHIN", str(within_s))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kilobytes = [int(number) for number in re.findall(r"\d+", done.stdout)]
    assert len(kilobytes) == 5
    return tuple(kilobytes)


@pytest.mark.slow
def test_memory_in_use_is_collapsed_unchanged_without_growing_the_process():
    # Not an array of numpy, which asks for huge pages itself.
    setup = "weights = bytearray(range(256)) * (32 << 12)"
    resident, huge, collapsed, resident_after, huge_after = measure(
        setup, "assert weights == bytes(range(256)) * (32 << 12)"
    )
    assert collapsed >= 24 << 10
    assert huge_after >= huge + (24 << 10)
    assert resident_after < resident + (4 << 10)


@pytest.mark.slow
def test_sparsely_used_memory_is_left_alone():
    setup = "area = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE)\narea[::8192] = b'1' * 8192"
    resident, _, collapsed, resident_after, huge_after = measure(setup)
    assert collapsed < 8 << 10
    assert resident_after < resident + (4 << 10)
    assert huge_after < 8 << 10


def test_nothing_is_collapsed_if_the_administrator_forbids_it(tmp_path):
    switch = tmp_path / "enabled"
    switch.write_text("always madvise [never]\n")
    assert use_huge_pages(switch=switch) == 0


@pytest.mark.slow
def test_collapsing_stops_at_its_deadline():
    setup = "weights = bytearray(range(256)) * (256 << 12)"
    _, _, collapsed, _, _ = measure(setup, within_s=-1)
    assert 0 < collapsed <= 32 << 10  # One call for sixteen huge pages.


def test_a_process_that_cannot_read_its_page_map_goes_without(tmp_path):
    (tmp_path / "pagemap").mkdir()  # fails to open even for root, whom permissions do not stop
    assert use_huge_pages(proc=tmp_path) == 0
