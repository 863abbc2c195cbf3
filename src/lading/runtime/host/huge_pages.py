"""Huge pages for weights: when each run reads many megabytes, page walks cost as much as reading.

Linux only, and only if its administrator lets programs ask (`transparent_hugepage/enabled`).
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

log = logging.getLogger("lading.runtime")

WORTHWHILE_BYTES = 4 << 20
"""Models smaller than this gain nothing from huge pages."""

_PAGE = 4096
_HUGE_PAGE = 2 << 20
_HUGE_PAGES_PER_CALL = 16
_TRIES = 3
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # https://man7.org/linux/man-pages/man2/madvise.2.html
_PRESENT = np.uint64(1 << 63)  # https://docs.kernel.org/admin-guide/mm/pagemap.html
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PROC = Path("/proc/self")


def use_huge_pages(within_s: float = 0.5, *, switch: Path = _SWITCH, proc: Path = _PROC) -> int:
    """Collapse memory of this process that fills whole huge pages into such; return the bytes collapsed.

    Huge pages of which a part is not in use stay as they are: the process does not grow. After `within_s` the
    rest is left alone. `switch` and `proc` are passed by tests.
    """
    madvise = getattr(ctypes.CDLL(None, use_errno=True), "madvise", None)
    if madvise is None or not _allowed(switch):
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    deadline, collapsed = time.monotonic() + within_s, 0
    try:
        ranges = list(_full_ranges(proc))
    except OSError as error:
        # Not every process may read its page map, nor does every kernel have one.
        log.debug("no huge pages: %s", error)
        return 0
    for begin, end in ranges:
        for address in range(begin, end, _HUGE_PAGES_PER_CALL * _HUGE_PAGE):
            size = min(end - address, _HUGE_PAGES_PER_CALL * _HUGE_PAGE)
            done = _collapse(madvise, address, size)
            collapsed += done
            # Before Linux 6.1 the kernel only takes advice, and collapses when it has time.
            if not done and madvise(address, size, _MADV_HUGEPAGE) != 0:
                return collapsed
            if time.monotonic() > deadline:
                return collapsed
    return collapsed


def _collapse(madvise: Callable[[int, int, int], int], address: int, size: int) -> int:
    """Return how many bytes of a range, of whole huge pages, are huge now."""
    if madvise(address, size, _MADV_COLLAPSE) == 0:
        return size
    if ctypes.get_errno() != errno.EAGAIN:
        return 0
    # The call collapses what it can, and fails if one small page was held elsewhere for a moment.
    pages = range(address, address + size, _HUGE_PAGE)
    huge = [any(madvise(at, _HUGE_PAGE, _MADV_COLLAPSE) == 0 for _ in range(_TRIES)) for at in pages]
    return sum(huge) * _HUGE_PAGE


def _allowed(switch: Path) -> bool:
    try:
        return "[never]" not in switch.read_text() and os.sysconf("SC_PAGE_SIZE") == _PAGE
    except OSError:
        return False


def _full_ranges(proc: Path) -> Iterator[tuple[int, int]]:
    """Return the address ranges, in whole huge pages, of which every small page is present."""
    pages_per_huge = _HUGE_PAGE // _PAGE
    with (proc / "pagemap").open("rb") as pagemap:
        for line in (proc / "maps").read_text().splitlines():
            addresses, mode, _, _, inode, *name = line.split(maxsplit=5)
            # Anonymous private memory only: the heap and large allocations, not files and not stacks.
            if mode != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
                continue
            low, high = (int(address, 16) for address in addresses.split("-"))
            begin = -(-low // _HUGE_PAGE) * _HUGE_PAGE  # rounded up to a huge page
            count = high // _HUGE_PAGE - begin // _HUGE_PAGE
            if count <= 0:
                continue
            pagemap.seek(begin // _PAGE * 8)  # one entry of 64 bits per page
            entries = np.frombuffer(pagemap.read(count * pages_per_huge * 8), np.uint64)
            full = ((entries & _PRESENT) != 0).reshape(-1, pages_per_huge).all(axis=1)  # [huge pages]
            # Where a run of full huge pages begins (+1) and ends (-1).
            edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
            for first, past in edges.reshape(-1, 2).tolist():  # [runs, 2]
                yield begin + first * _HUGE_PAGE, begin + past * _HUGE_PAGE
