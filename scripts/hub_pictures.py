#!/usr/bin/env python3
"""Take the pictures of docs/hub in Chromium, and write docs/hub-pages.md, which displays them.

`python scripts/hub_pictures.py` after every change of what pages look like; then look at them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.browsing import running_chromium, visiting
from support.hub_pictures import FOLDER, PAGES, STAMP, page_text, taken, taken_of


def main() -> None:
    """Write the pictures, what they were taken of, and their page."""
    total = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        running_chromium(Path(folder)) as address,
        visiting(address) as people,
    ):
        pictures = dict(taken(people, Path(folder)))
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    for name, picture in pictures.items():
        (FOLDER / name).write_bytes(picture)
        total += len(picture)
    STAMP.write_text(taken_of() + "\n", "utf-8")
    (FOLDER.parent / "hub-pages.md").write_text(page_text(), "utf-8")
    print(f"{len(pictures)} pictures of {len(PAGES)} pages, {total:,} bytes")


if __name__ == "__main__":
    main()
