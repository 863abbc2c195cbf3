"""The progress of a build, as it is reported and shown."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.layout import LayoutImage
from lading.image.progress import with_progress
from lading.image.references import open_source
from support.bundles import linear_bundle
from support.images import tiny_base


def large_bundle(path: Path) -> Bundle:
    return linear_bundle(path, features=1024, classes=512, labels=False, rows=2)


def test_progress_counts_the_bytes_of_copied_blobs_only(tmp_path):
    layer = from_bundle(large_bundle(tmp_path / "large.bundle"))
    base = open_source(tiny_base(tmp_path / "base"))
    reports: list[tuple[int, int]] = []
    for tag in ("one", "two"):
        reports.clear()
        target = LayoutImage(tmp_path / "out", tag)
        built = build(base, [layer], with_progress(target, lambda done, total: reports.append((done, total))))
        manifest_bytes = len(target.root().data)
        if tag == "one":
            assert reports[-1] == (built.bytes_sent - manifest_bytes,) * 2
            assert all(done <= total for done, total in reports)
            assert len({done for done, _ in reports}) > 3
    assert reports == [], "the second build copied nothing"


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar(tmp_path):
    base = tiny_base(tmp_path / "base")
    path = large_bundle(tmp_path / "large.bundle").path
    host, terminal = pty.openpty()
    command = (sys.executable, "-m", "lading", "image", "build", path, "--base", base)
    subprocess.run(
        [*command, "--to", f"oci:{tmp_path / 'out'}"],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "300"},
        check=True,
    )
    os.close(terminal)
    with os.fdopen(host, "rb", buffering=0) as file:
        output = file.read(1 << 16).decode()
    assert "building oci:" in output
    assert "2.1/2.1 MB" in output
