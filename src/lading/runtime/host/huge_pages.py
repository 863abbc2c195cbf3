"""Huge pages for weights: where each run reads many megabytes, finding the pages costs as much as reading.

Linux only, and only where its administrator lets programs ask (`transparent_hugepage/enabled`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

log = logging.getLogger("lading.runtime")

LEAST_BYTES = 4 << 20
"""From this size of a model on it is worth looking."""

_HUGE = 2 << 20
_AT_ONCE = 16
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # https://man7.org/linux/man-pages/man2/madvise.2.html
_PRESENT = np.uint64(1 << 63)  # https://docs.kernel.org/admin-guide/mm/pagemap.html
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages(within_s: float = 0.5) -> int:
    """Move the memory of this process that is in use by whole huge pages into such; return the bytes in them.

    What is not in use stays so: the process does not grow. After `within_s` the rest is left as it is.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None or not _allowed():
        return 0
    until, moved = time.monotonic() + within_s, 0
    try:
        stretches = list(_in_use())
    except OSError as error:
        # Not every process may read what the kernel says of it, nor does every kernel say it.
        log.debug("no huge pages: %s", error)
        return 0
    for begin, end in stretches:
        for at in range(begin, end, _AT_ONCE * _HUGE):
            size = min(end - at, _AT_ONCE * _HUGE)
            if madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), _MADV_COLLAPSE) == 0:
                moved += size
            elif madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), _MADV_HUGEPAGE) != 0:
                return moved  # Before Linux 6.1 the kernel moves them when it has time; here it cannot.
            if time.monotonic() > until:
                return moved
    return moved


def _allowed() -> bool:
    try:
        return "[never]" not in _SWITCH.read_text() and os.sysconf("SC_PAGE_SIZE") == 4096
    except OSError:
        return False


def _in_use() -> Iterator[tuple[int, int]]:
    """List the stretches of memory, by whole huge pages, of which every page is present."""
    small = _HUGE // 4096
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        for line in Path("/proc/self/maps").read_text().splitlines():
            where, mode, _, _, inode, *name = line.split(maxsplit=5)
            if mode != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
                continue
            low, high = (int(part, 16) for part in where.split("-"))
            begin, count = -(-low // _HUGE) * _HUGE, high // _HUGE - -(-low // _HUGE)
            if count <= 0:
                continue
            pagemap.seek(begin // 4096 * 8)
            entries = np.frombuffer(pagemap.read(count * small * 8), np.uint64)
            full = ((entries & _PRESENT) != 0).reshape(-1, small).all(axis=1)
            edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
            for first, past in edges.reshape(-1, 2).tolist():
                yield begin + first * _HUGE, begin + past * _HUGE
