"""What glibc does with memory that is freed; on other C libraries nothing is asked of it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

# From malloc.h; https://man7.org/linux/man-pages/man3/mallopt.3.html
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

KEPT_BYTES = 16 << 20
"""How much free memory at its end the heap keeps for what comes next."""
MAPPED_BYTES = 1 << 20
"""From this size on an allocation is a mapping of its own, which goes back to the system when it is freed."""


def keep_freed_memory(environ: Mapping[str, str] = os.environ) -> bool:
    """Have freed memory stay for the next request; return whether it is so.

    By itself glibc gives the memory of a request of some 100 KB back, and the system zeroes it again for the
    next, page by page: a good part of what such a request costs. Whoever has set the allocator by the
    environment has chosen.
    """
    if "GLIBC_TUNABLES" in environ or any(name.startswith("MALLOC_") for name in environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    return bool(mallopt(_MMAP_THRESHOLD, MAPPED_BYTES) and kept)


def trim_heap() -> None:
    """Return what is freed back to the system."""
    # glibc keeps freed memory: after 20 loads of a 20 MB model 75 MB more stay resident without this, none
    # with it.
    # musl and macOS have no such function, and return what is free by themselves.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
