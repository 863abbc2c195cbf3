"""Huge pages for what a process has in memory, seen in what the kernel says of it."""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lading.runtime.host import huge_pages as pages
from lading.runtime.host.huge_pages import use_huge_pages

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
REPORT = """
import re
from pathlib import Path
import mmap
from lading.runtime.host.huge_pages import use_huge_pages

def say():
    text = Path("/proc/self/smaps_rollup").read_text()
    print(*(re.search(rf"^{name}: +(\\d+)", text, re.MULTILINE)[1] for name in ("Rss", "AnonHugePages")))

MADE
say()
print(use_huge_pages(WITHIN) >> 10)
say()
CHECKED
"""


def gives_huge_pages() -> bool:
    """Whether this kernel moves memory into huge pages when asked: from Linux 6.1 on, where it is allowed."""
    if not SWITCH.is_file() or "[never]" in SWITCH.read_text():
        return False
    with mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE) as area:
        area.write(b"1" * len(area))
        try:
            area.madvise(25, 2 << 20, 4 << 20)  # At least one huge page lies in it whole.
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(not gives_huge_pages(), reason="this kernel gives no huge pages")


def told(made: str, checked: str = "", within_s: float = 30) -> tuple[int, int, int, int, int]:
    """Give kilobytes: resident and huge before, moved, resident and huge after."""
    program = REPORT.replace("MADE", made).replace("CHECKED", checked).replace("WITHIN", str(within_s))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    one = [int(number) for number in re.findall(r"\d+", done.stdout)]
    return one[0], one[1], one[2], one[3], one[4]


def test_what_is_in_use_is_moved_as_it_is_and_takes_no_more_memory():
    # Not of numpy, which asks for huge pages itself.
    made = "weights = bytearray(range(256)) * (32 << 12)"
    resident, huge, moved, resident_after, huge_after = told(
        made, "assert weights == bytes(range(256)) * (32 << 12)"
    )
    assert moved >= 24 << 10
    assert huge_after >= huge + (24 << 10)
    assert resident_after < resident + (4 << 10)


def test_what_is_in_use_here_and_there_stays_as_it_is():
    made = "area = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE)\narea[::8192] = b'1' * 8192"
    resident, _, moved, resident_after, huge_after = told(made)
    assert moved < 8 << 10
    assert resident_after < resident + (4 << 10)
    assert huge_after < 8 << 10


def test_nothing_is_moved_where_the_administrator_forbids_it(tmp_path, monkeypatch):
    switch = tmp_path / "enabled"
    switch.write_text("always madvise [never]\n")
    monkeypatch.setattr(pages, "_SWITCH", switch)
    assert use_huge_pages() == 0


def test_it_ends_in_time():
    made = "weights = bytearray(range(256)) * (256 << 12)"
    _, _, moved, _, _ = told(made, within_s=-1)
    assert 0 < moved <= 32 << 10  # One go of sixteen.


def test_a_process_that_may_not_read_of_its_memory_goes_without(monkeypatch):
    def refused() -> None:
        raise PermissionError(13, "Permission denied", "/proc/self/pagemap")

    monkeypatch.setattr(pages, "_in_use", refused)
    assert use_huge_pages() == 0
