#!/usr/bin/env python3
"""Draw docs/monitor-report.png: parts of a report about an example model, in Chromium.

`python scripts/monitor_report_picture.py [PAGE]` writes the picture, and the whole page to PAGE if named.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from lading.monitor.report import report_html  # noqa: E402 - after the path of the tests
from support.chromium import measured, photographed  # noqa: E402
from support.model_statuses import UNTIL, credit_status  # noqa: E402

_WIDTH, _SCALE, _COLOURS = 1160, 1.5, 48
_TALL = 9000
# From where to where parts of the page are shown: its top, what changed, accuracy, and the first columns.
_PARTS = (("", "facts"), ("order", "unknown"), ("metrics", "checks"), ("inputs", "inputs-3"))
_GAP = 24


def main() -> None:
    """Write the picture."""
    page = report_html(credit_status(), now=UNTIL + 60, generated_by="lading")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page, "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path, photo = Path(folder) / "page.html", Path(folder) / "page.png"
        path.write_text(page, "utf-8")
        tops = {"": 0, **measured(page, _WIDTH, Path(folder), height=_TALL)["tops"]}
        photographed(path, photo, width=_WIDTH, height=_TALL, scale=_SCALE)
        whole = Image.open(photo).convert("RGB")
        spans = [(round(tops[first] * _SCALE), round((tops[last] - _GAP) * _SCALE)) for first, last in _PARTS]
    height = sum(end - start + _GAP for start, end in spans)
    picture = Image.new("RGB", (whole.width, height), "white")
    y = 0
    for start, end in spans:
        picture.paste(whole.crop((0, start, whole.width, end)), (0, y))
        y += end - start + _GAP
    target = ROOT / "docs" / "monitor-report.png"
    picture.quantize(_COLOURS).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
