"""A folder seen through a mount that is read-only, also for root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path, at: Path) -> Iterator[Path]:
    """Mount `folder` read-only at `at` for a while; the test is left out where that is not allowed."""
    at.mkdir()
    bound = subprocess.run(["mount", "--bind", folder, at], capture_output=True, text=True, check=False)
    if bound.returncode:
        pytest.skip(f"needs the right to mount: {bound.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", at], check=True)
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)
