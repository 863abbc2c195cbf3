"""How far a build is, as people see it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

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


def test_a_build_tells_the_bytes_of_all_blobs_that_are_copied_and_of_no_others(tmp_path):
    part = from_bundle(large_bundle(tmp_path / "large.bundle"))
    base = open_source(tiny_base(tmp_path / "base"))
    told: list[tuple[int, int]] = []
    for tag in ("one", "two"):
        told.clear()
        target = LayoutImage(tmp_path / "out", tag)
        built = build(base, [part], with_progress(target, lambda done, total: told.append((done, total))))
        manifest_bytes = len(target.root().data)
        if tag == "one":
            assert told[-1] == (built.bytes_sent - manifest_bytes,) * 2
            assert all(done <= total for done, total in told)
            assert len({done for done, _ in told}) > 3
    assert told == [], "the second found everything there"


def test_a_terminal_shows_a_bar_of_bytes(tmp_path):
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
        shown = file.read(1 << 16).decode()
    assert "building oci:" in shown
    assert "2.1/2.1 MB" in shown
